//! The plan of a port, case by case.

use std::collections::BTreeMap;

use serde_json::Map;
use updraft_protocol::compute::Goal;
use updraft_runtime::rpc::TraceContext;

use super::*;
use crate::rows::{Fixed, Nic, Standard};

const NOW: UnixMicros = UnixMicros(1_000_000);
const SUBNET: Uuid = Uuid::from_u128(2);
const GUEST: Uuid = Uuid::from_u128(3);

fn facts() -> Facts {
    Facts { mtu: Some(1_500), served: BTreeSet::from([SUBNET]), ..Facts::default() }
}

/// A port of a server that nobody has planned yet.
fn fresh() -> PortRow {
    PortRow {
        id: Uuid::from_u128(1),
        project_id: "p".to_owned(),
        name: String::new(),
        network: Uuid::from_u128(4),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        fixed_ips: vec![Fixed { subnet: SUBNET, address: "10.0.0.5".parse().unwrap() }],
        admin_state_up: true,
        device_id: GUEST.to_string(),
        device_owner: "compute:nova".to_owned(),
        security_groups: BTreeSet::new(),
        port_security_enabled: true,
        allowed_address_pairs: Vec::new(),
        vnic_type: "normal".to_owned(),
        profile: Map::new(),
        status: PortStatus::Down,
        standard: Standard::new(None, NOW),
        goal: Goal::Present,
        host: Some("a".to_owned()),
        nic: Some(Nic { server: GUEST, index: 0, hostname: "s".to_owned(), made: true }),
        taken_from: Vec::new(),
        generation: 0,
        bindings: BTreeMap::new(),
        told_generation: 0,
        floating_changes: 0,
        floating_told: 0,
        trace: TraceContext::default(),
    }
}

/// The row when its plan keeps it, and what the plan then asks for; `None` when the row is gone.
fn settle(row: PortRow, facts: &Facts) -> Option<(PortRow, Vec<Effect>)> {
    let mut row = row;
    for _ in 0..4 {
        match plan(&row, facts, NOW) {
            Next::Write(next) => row = *next,
            Next::Delete => return None,
            Next::Act(effects) => return Some((row, effects)),
        }
    }
    panic!("its plan never settles: {row:?}");
}

fn plugged(row: &mut PortRow, host: &str) {
    let binding = &row.bindings[host];
    let device = binding.want.present.then(|| "tap0".to_owned());
    let generation = binding.want.generation;
    assert!(learn(row, Learned::Plugged { host: host.to_owned(), generation, device }));
}

fn served(row: &mut PortRow, host: &str) {
    let all = leases(row, &facts());
    row.bindings.get_mut(host).unwrap().leases = all;
}

/// A port that works on host `a`, of which the compute node knows.
fn working() -> PortRow {
    let (mut row, _) = settle(fresh(), &facts()).unwrap();
    plugged(&mut row, "a");
    served(&mut row, "a");
    row.told_generation = row.generation;
    settle(row, &facts()).unwrap().0
}

fn plug(host: &str, generation: u64) -> Effect {
    Effect::Plug { host: host.to_owned(), generation }
}

#[test]
fn a_new_port_is_wanted_and_plugged() {
    let (row, effects) = settle(fresh(), &facts()).unwrap();
    assert_eq!((row.status, row.generation), (PortStatus::Build, 1));
    assert_eq!(row.bindings["a"].want.addresses, ["10.0.0.5".parse::<IpAddr>().unwrap()]);
    assert_eq!(effects, [plug("a", 1)]);
}

#[test]
fn a_port_that_no_server_has_wants_nothing() {
    let row = PortRow { host: None, nic: None, device_owner: String::new(), ..fresh() };
    let (row, effects) = settle(row, &facts()).unwrap();
    assert_eq!((row.status, row.bindings.len(), effects), (PortStatus::Down, 0, vec![]));
}

#[test]
fn a_port_works_when_both_agents_have_said_so() {
    let (mut row, _) = settle(fresh(), &facts()).unwrap();
    plugged(&mut row, "a");
    let (mut row, effects) = settle(row, &facts()).unwrap();
    assert_eq!((row.status, effects), (PortStatus::Build, vec![]), "DHCP has not spoken");
    served(&mut row, "a");
    let (row, effects) = settle(row, &facts()).unwrap();
    let told = Effect::TellNode { host: "a".to_owned(), generation: 1 };
    assert_eq!((row.status, effects), (PortStatus::Active, vec![told]));
}

#[test]
fn without_dhcp_the_l2_agent_is_enough() {
    let nothing_served = Facts { served: BTreeSet::new(), ..facts() };
    let (mut row, _) = settle(fresh(), &nothing_served).unwrap();
    plugged(&mut row, "a");
    assert_eq!(settle(row, &nothing_served).unwrap().0.status, PortStatus::Active);
}

#[test]
fn a_port_that_works_asks_for_nothing() {
    let row = working();
    let (after, effects) = settle(row.clone(), &facts()).unwrap();
    assert_eq!((after, effects), (row, vec![]));
}

#[test]
fn only_a_changed_want_has_a_new_generation() {
    let row = working();
    let renamed = PortRow { name: "other".to_owned(), ..row.clone() };
    assert_eq!(settle(renamed, &facts()).unwrap().0.generation, 1);
    let larger = Facts { mtu: Some(9_000), ..facts() };
    let (after, effects) = settle(row, &larger).unwrap();
    assert_eq!((after.generation, after.status), (2, PortStatus::Build));
    assert_eq!(effects, [plug("a", 2)]);
}

#[test]
fn an_answer_for_another_generation_changes_nothing() {
    let (mut row, _) = settle(fresh(), &facts()).unwrap();
    for generation in [0, 2] {
        let host = "a".to_owned();
        let device = Some("tap0".to_owned());
        assert!(!learn(&mut row, Learned::Plugged { host, generation, device }));
    }
    let unknown = Learned::Plugged { host: "b".to_owned(), generation: 1, device: None };
    assert!(!learn(&mut row, unknown));
}

#[test]
fn a_second_host_waits_until_the_first_has_let_go() {
    let moved = PortRow { host: Some("b".to_owned()), ..working() };
    let (mut row, effects) = settle(moved, &facts()).unwrap();
    let (to_a, to_b) = (row.bindings["a"].want.generation, row.bindings["b"].want.generation);
    assert_eq!(effects, [plug("a", to_a)], "only the unplugging");
    plugged(&mut row, "a");
    let (mut row, effects) = settle(row, &facts()).unwrap();
    assert_eq!(effects, [], "DHCP on the first host still answers");
    row.bindings.get_mut("a").unwrap().leases.clear();
    let (row, effects) = settle(row, &facts()).unwrap();
    assert_eq!(row.bindings.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(effects, [plug("b", to_b)]);
}

#[test]
fn a_second_host_does_not_wait_for_one_that_is_down_by_an_operators_word() {
    assert_eq!(left(&working(), "a"), None, "the host is still to have it");
    let moved = PortRow { host: Some("b".to_owned()), ..working() };
    let (row, _) = settle(moved, &facts()).unwrap();
    let (to_a, to_b) = (row.bindings["a"].want.generation, row.bindings["b"].want.generation);
    let (row, effects) = settle(left(&row, "a").unwrap(), &facts()).unwrap();
    assert_eq!(effects, [plug("a", to_a), plug("b", to_b)], "what is left there is still to go");
    let again = PortRow { host: Some("a".to_owned()), ..row };
    let (row, effects) = settle(again, &facts()).unwrap();
    assert!(!row.bindings["a"].down, "it is wanted there again");
    let to_b = row.bindings["b"].want.generation;
    assert_eq!(effects, [plug("b", to_b)], "and waits for the other one");
}

#[test]
fn a_deleted_port_goes_when_its_host_has_let_go() {
    let row = PortRow { goal: Goal::Absent, ..working() };
    let (mut row, effects) = settle(row, &facts()).unwrap();
    assert_eq!(effects, [plug("a", 2)]);
    assert!(!row.bindings["a"].want.present);
    plugged(&mut row, "a");
    let (mut row, _) = settle(row, &facts()).unwrap();
    row.bindings.get_mut("a").unwrap().leases.clear();
    assert_eq!(settle(row, &facts()), None, "gone");
}

#[test]
fn a_deleted_port_outlives_its_network() {
    let row = PortRow { goal: Goal::Absent, ..working() };
    let (row, effects) = settle(row, &Facts::default()).unwrap();
    assert_eq!((row.bindings["a"].want.mtu, effects), (1_500, vec![plug("a", 2)]));
}

#[test]
fn a_deleted_port_that_was_never_bound_goes_at_once() {
    let row = PortRow { goal: Goal::Absent, ..fresh() };
    assert_eq!(settle(row, &facts()), None);
}

#[test]
fn compute_is_told_of_floating_addresses_until_it_knows() {
    let row = PortRow { floating_changes: 2, ..working() };
    let (mut row, effects) = settle(row, &facts()).unwrap();
    assert_eq!(effects, [Effect::TellCompute { changes: 2 }]);
    assert!(learn(&mut row, Learned::ComputeTold(1)));
    assert_eq!(settle(row.clone(), &facts()).unwrap().1.len(), 1, "there was one more");
    assert!(learn(&mut row, Learned::ComputeTold(2)));
    assert_eq!(settle(row, &facts()).unwrap().1, []);
}

#[test]
fn a_port_that_is_administratively_down_is_down() {
    let row = PortRow { admin_state_up: false, ..working() };
    let (row, effects) = settle(row, &facts()).unwrap();
    assert_eq!((row.status, effects), (PortStatus::Down, vec![]));
}

const GROUP: Uuid = Uuid::from_u128(5);

fn filtered() -> PortRow {
    PortRow { security_groups: BTreeSet::from([GROUP]), ..working() }
}

#[test]
fn a_port_works_only_where_its_groups_are_in_force() {
    let (mut row, _) = settle(filtered(), &facts()).unwrap();
    plugged(&mut row, "a");
    let (row, _) = settle(row, &facts()).unwrap();
    assert_eq!(row.status, PortStatus::Build, "the group is not in force");
    let in_force = Facts { in_force: BTreeSet::from([GROUP]), ..facts() };
    assert_eq!(settle(row, &in_force).unwrap().0.status, PortStatus::Active);
}

#[test]
fn a_port_works_only_where_its_network_reaches_other_hosts() {
    let cut_off = Facts { cut_off: true, ..facts() };
    let (row, _) = settle(working(), &cut_off).unwrap();
    assert_eq!(row.status, PortStatus::Build);
    assert_eq!(settle(row, &facts()).unwrap().0.status, PortStatus::Active);
}

#[test]
fn other_groups_are_another_want() {
    let (row, effects) = settle(filtered(), &facts()).unwrap();
    assert_eq!(row.bindings["a"].want.groups, BTreeSet::from([GROUP]));
    assert_eq!(effects, [plug("a", 2)]);
}

#[test]
fn a_port_without_port_security_has_no_groups_on_its_host() {
    let row = PortRow { port_security_enabled: false, ..filtered() };
    let (row, _) = settle(row, &facts()).unwrap();
    let want = &row.bindings["a"].want;
    assert_eq!((want.secured, want.groups.len()), (false, 0));
}

#[test]
fn allowed_pairs_reach_the_host_as_prefixes() {
    let pair = |ip: &str| AddressPair {
        ip_address: ip.to_owned(),
        mac_address: "fa:16:3e:00:00:02".to_owned(),
    };
    let allowed_address_pairs = vec![pair("10.0.0.9"), pair("10.9.1.1/16")];
    let (row, _) = settle(PortRow { allowed_address_pairs, ..working() }, &facts()).unwrap();
    let nets = row.bindings["a"].want.pairs.iter().map(|pair| pair.net.to_string());
    assert_eq!(nets.collect::<Vec<_>>(), ["10.0.0.9/32", "10.9.0.0/16"]);
}

#[test]
fn a_port_that_a_client_took_away_stays_until_compute_knows() {
    let nic = fresh().nic.unwrap();
    let row = PortRow { goal: Goal::Absent, taken_from: vec![nic.clone()], ..fresh() };
    let (mut row, effects) = settle(row, &facts()).unwrap();
    assert_eq!(effects, [Effect::TellTaken(nic.clone())]);
    assert!(!learn(&mut row, Learned::TakenTold(Nic { index: 1, ..nic.clone() })), "another");
    assert!(learn(&mut row, Learned::TakenTold(nic)));
    assert_eq!(settle(row, &facts()), None, "gone");
}
