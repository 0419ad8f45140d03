//! The plan of a network on a host, case by case.

use serde_json::Map;
use updraft_protocol::compute::Goal;
use updraft_runtime::{env::UnixMicros, rpc::TraceContext};

use super::*;
use crate::{
    plan::port::converge as converge_port,
    rows::{Fixed, Nic, PortStatus, Standard},
};

const NETWORK: Uuid = Uuid::from_u128(4);
const SUBNET: Uuid = Uuid::from_u128(2);
const NOW: UnixMicros = UnixMicros(1);

fn port(number: u8, host: &str) -> PortRow {
    let row = PortRow {
        id: Uuid::from_u128(u128::from(number)),
        project_id: "p".to_owned(),
        name: String::new(),
        network: NETWORK,
        mac_address: format!("fa:16:3e:00:00:{number:02x}"),
        fixed_ips: vec![Fixed { subnet: SUBNET, address: [10, 0, 0, number].into() }],
        admin_state_up: true,
        device_id: String::new(),
        device_owner: "compute:nova".to_owned(),
        security_groups: BTreeSet::new(),
        port_security_enabled: true,
        allowed_address_pairs: Vec::new(),
        vnic_type: "normal".to_owned(),
        profile: Map::new(),
        status: PortStatus::Down,
        standard: Standard::new(None, NOW),
        goal: Goal::Present,
        host: Some(host.to_owned()),
        nic: Some(Nic {
            server: Uuid::from_u128(9),
            index: 0,
            hostname: "guest".to_owned(),
            made: true,
        }),
        taken_from: Vec::new(),
        generation: 0,
        bindings: BTreeMap::new(),
        told_generation: 0,
        floating_changes: 0,
        floating_told: 0,
        trace: TraceContext { trace_id: [number; 16], ..TraceContext::default() },
    };
    let facts = port::Facts {
        mtu: Some(1_500),
        served: BTreeSet::from([SUBNET]),
        ..port::Facts::default()
    };
    converge_port(&row, &facts, NOW)
}

fn facts(ports: Vec<PortRow>) -> Facts {
    let subnet = SubnetRow {
        id: SUBNET,
        project_id: "p".to_owned(),
        name: String::new(),
        network: NETWORK,
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: Some([10, 0, 0, 1].into()),
        pools: Vec::new(),
        enable_dhcp: true,
        dns_servers: vec![[9, 9, 9, 9].into()],
        host_routes: Vec::new(),
        ipv6_ra_mode: None,
        ipv6_address_mode: None,
        standard: Standard::new(None, NOW),
    };
    Facts { mtu: Some(1_500), subnets: vec![(subnet, [10, 0, 0, 2].into())], ports }
}

fn row() -> DhcpRow {
    DhcpRow::new(NETWORK, "a")
}

fn written(row: &DhcpRow, facts: &Facts) -> DhcpRow {
    match plan(row, facts) {
        Next::Write(next) => *next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_port_on_the_host_is_served_with_all_it_needs() {
    let facts = facts(vec![port(5, "a")]);
    let row = written(&row(), &facts);
    assert_eq!((row.want.generation, row.want.mtu), (1, 1_500));
    let subnet = &row.want.subnets[0];
    assert_eq!(subnet.agent_address, IpAddr::from([10, 0, 0, 2]));
    assert_eq!(subnet.dns_servers, [IpAddr::from([9, 9, 9, 9])]);
    let lease = &row.want.leases[0];
    assert_eq!((lease.address, &*lease.hostname), (IpAddr::from([10, 0, 0, 5]), "guest"));
    assert_eq!(row.trace.trace_id, [5; 16], "it belongs to the request that asked for the port");
    assert_eq!(plan(&row, &facts), Next::Act(vec![Serve { generation: 1 }]));
}

#[test]
fn a_port_elsewhere_is_not_served_here() {
    assert_eq!(plan(&row(), &facts(vec![port(5, "b")])), Next::Act(vec![]));
}

#[test]
fn the_last_port_that_goes_stops_the_server() {
    let row = written(&row(), &facts(vec![port(5, "a")]));
    let row = written(&row, &facts(vec![]));
    assert_eq!((row.want.generation, row.want.subnets.len()), (2, 0));
}

#[test]
fn the_same_ports_are_the_same_generation() {
    let facts = facts(vec![port(5, "a"), port(6, "a")]);
    let row = written(&row(), &facts);
    assert_eq!(plan(&row, &facts), Next::Act(vec![Serve { generation: 1 }]));
}

#[test]
fn an_older_answer_counts_for_what_was_in_it() {
    let first = written(&row(), &facts(vec![port(5, "a")]));
    let mut both = written(&first, &facts(vec![port(5, "a"), port(6, "a")]));
    assert!(learn(&mut both, Served { generation: 1, leases: first.leases.clone() }));
    assert_eq!(both.served, first.leases);
    assert!(!both.is_served(), "the newer want is not served yet");
    assert!(!learn(&mut both, Served { generation: 1, leases: BTreeSet::new() }));
}

#[test]
fn an_answer_to_what_was_never_wanted_is_nothing() {
    let mut row = written(&row(), &facts(vec![port(5, "a")]));
    assert!(!learn(&mut row, Served { generation: 2, leases: BTreeSet::new() }));
}

#[test]
fn the_row_of_a_network_that_is_gone_goes_when_nothing_is_served() {
    let mut row = written(&row(), &facts(vec![port(5, "a")]));
    row.served_generation = 1;
    let mut row = written(&row, &Facts::default());
    assert_eq!(plan(&row, &Facts::default()), Next::Act(vec![Serve { generation: 2 }]));
    assert!(learn(&mut row, Served { generation: 2, leases: BTreeSet::new() }));
    assert_eq!(plan(&row, &Facts::default()), Next::Delete);
}
