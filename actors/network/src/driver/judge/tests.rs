//! What passes, case by case.

use std::collections::BTreeSet;

use proptest::prelude::*;
use updraft_protocol::network::{
    AllowedPair,
    protocol_number::{ICMP, ICMP6, TCP, UDP},
};

use super::*;

const GROUP: Uuid = Uuid::from_u128(1);
const PEER: Uuid = Uuid::from_u128(2);

fn tap(address: &str, groups: &[Uuid]) -> TapSpec {
    TapSpec {
        port: Uuid::nil(),
        generation: 1,
        network: Uuid::nil(),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: vec![address.parse().unwrap()],
        mtu: 1450,
        secured: true,
        groups: groups.iter().copied().collect(),
        pairs: BTreeSet::new(),
    }
}

fn rule(direction: Direction, protocol: Option<u8>) -> FilterRule {
    let (ports, peer) = ((None, None), Peer::Any);
    FilterRule { direction, ethertype: EtherType::V4, protocol, ports, peer }
}

fn ingress(protocol: u8) -> FilterRule {
    rule(Direction::Ingress, Some(protocol))
}

fn group(rules: &[FilterRule]) -> FilterWant {
    FilterWant { present: true, rules: rules.to_vec(), ..FilterWant::absent(GROUP, 1) }
}

fn tcp(source: &str, destination: &str, port: u16) -> Connection {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Connection { source, destination, protocol: TCP, numbers: (40_000, port) }
}

fn echo() -> Connection {
    Connection { protocol: ICMP, numbers: (8, 0), ..tcp("10.0.0.9", "10.0.0.5", 0) }
}

/// Whether a connection from somewhere may be opened to 10.0.0.5, whose group has these rules.
fn enters(rules: &[FilterRule], connection: &Connection) -> bool {
    enters_group(group(rules), connection)
}

fn enters_group(group: FilterWant, connection: &Connection) -> bool {
    let groups = BTreeMap::from([(GROUP, group)]);
    may_open(&[&tap("10.0.0.5", &[GROUP])], &groups, connection).unwrap()
}

fn to_port(port: u16) -> Connection {
    tcp("10.0.0.9", "10.0.0.5", port)
}

#[test]
fn without_a_rule_nothing_enters_and_nothing_leaves() {
    assert!(!enters(&[], &to_port(80)));
    assert!(!enters(&[], &echo()));
    assert!(!enters(&[], &tcp("10.0.0.5", "10.0.0.9", 80)));
    assert!(enters(&[rule(Direction::Egress, None)], &tcp("10.0.0.5", "10.0.0.9", 80)));
}

#[test]
fn a_range_of_ports_has_both_its_ends() {
    let rule = FilterRule { ports: (Some(80), Some(90)), ..ingress(TCP) };
    let passing = [79, 80, 90, 91].map(|port| enters(std::slice::from_ref(&rule), &to_port(port)));
    assert_eq!(passing, [false, true, true, false]);
    let udp = Connection { protocol: UDP, ..to_port(80) };
    assert!(!enters(&[rule], &udp), "another protocol");
}

#[test]
fn icmp_has_types_and_codes() {
    let rules = [
        (ingress(ICMP), true),
        (FilterRule { ports: (Some(8), None), ..ingress(ICMP) }, true),
        (FilterRule { ports: (Some(8), Some(0)), ..ingress(ICMP) }, true),
        (FilterRule { ports: (Some(8), Some(1)), ..ingress(ICMP) }, false),
        (FilterRule { ports: (Some(13), None), ..ingress(ICMP) }, false),
        (ingress(ICMP6), false),
    ];
    for (rule, passes) in rules {
        assert_eq!(enters(std::slice::from_ref(&rule), &echo()), passes, "{rule:?}");
    }
}

#[test]
fn a_peer_is_anybody_a_prefix_or_a_group() {
    let nets = |text: &str| BTreeSet::from([text.parse().unwrap()]);
    let cases = [
        (Peer::Any, true),
        (Peer::Net("10.0.0.8/30".parse().unwrap()), true),
        (Peer::Net("10.0.0.12/30".parse().unwrap()), false),
        (Peer::Net("0.0.0.0/0".parse().unwrap()), true),
        (Peer::Net("::/0".parse().unwrap()), false),
        (Peer::Group(PEER), true),
        (Peer::Group(GROUP), false),
    ];
    for (peer, passes) in cases {
        let peers = BTreeMap::from([(PEER, nets("10.0.0.9/32"))]);
        let group = FilterWant { peers, ..group(&[FilterRule { peer, ..ingress(TCP) }]) };
        assert_eq!(enters_group(group, &to_port(80)), passes, "{peer:?}");
    }
}

#[test]
fn a_rule_is_about_one_internet_protocol() {
    let v6 = FilterRule { ethertype: EtherType::V6, ..rule(Direction::Ingress, None) };
    assert!(!enters(&[v6], &to_port(80)));
}

#[test]
fn what_leaves_one_port_must_enter_the_other() {
    let (one, two) = (tap("10.0.0.5", &[GROUP]), tap("10.0.0.6", &[PEER]));
    let out = rule(Direction::Egress, None);
    let connection = tcp("10.0.0.5", "10.0.0.6", 80);
    for (leaves, enters) in [(false, false), (false, true), (true, false), (true, true)] {
        let rules = |is: bool, rule: &FilterRule| {
            if is { group(std::slice::from_ref(rule)) } else { group(&[]) }
        };
        let groups =
            BTreeMap::from([(GROUP, rules(leaves, &out)), (PEER, rules(enters, &ingress(TCP)))]);
        let open = may_open(&[&one, &two], &groups, &connection);
        assert_eq!(open, Some(leaves && enters));
    }
}

#[test]
fn what_a_guest_always_needs_passes_without_a_rule() {
    let dhcp = Connection { protocol: UDP, numbers: (68, 67), ..tcp("10.0.0.5", "10.0.0.2", 0) };
    let answer = Connection { protocol: UDP, numbers: (67, 68), ..tcp("10.0.0.2", "10.0.0.5", 0) };
    let metadata = tcp("10.0.0.5", "169.254.169.254", 80);
    for connection in [dhcp, answer, metadata] {
        assert!(enters(&[], &connection), "{connection:?}");
    }
    assert!(!enters(&[], &tcp("10.0.0.5", "169.254.169.254", 81)));
}

#[test]
fn a_port_that_is_not_checked_lets_everything_pass() {
    let open = TapSpec { secured: false, ..tap("10.0.0.5", &[]) };
    assert_eq!(may_open(&[&open], &BTreeMap::new(), &to_port(80)), Some(true));
}

#[test]
fn an_allowed_address_is_the_ports_too() {
    let net = "10.0.0.96/29".parse().unwrap();
    let pair = AllowedPair { mac_address: "fa:16:3e:00:00:01".to_owned(), net };
    let tap = TapSpec { pairs: BTreeSet::from([pair]), ..tap("10.0.0.5", &[]) };
    let open = may_open(&[&tap], &BTreeMap::new(), &tcp("10.0.0.9", "10.0.0.99", 80));
    assert_eq!(open, Some(false));
}

#[test]
fn a_group_of_which_nothing_is_known_decides_nothing() {
    let tap = tap("10.0.0.5", &[GROUP, PEER]);
    let known = |rules: &[FilterRule]| BTreeMap::from([(GROUP, group(rules))]);
    assert_eq!(may_open(&[&tap], &known(&[]), &to_port(80)), None);
    assert_eq!(may_open(&[&tap], &known(&[ingress(TCP)]), &to_port(80)), Some(true));
}

prop_compose! {
    fn any_rule()(
        ingress in any::<bool>(), v4 in any::<bool>(), protocol in prop_oneof![
            Just(None), Just(Some(ICMP)), Just(Some(TCP)), Just(Some(UDP)), Just(Some(ICMP6))],
        first in proptest::option::of(0_u16..4), more in 0_u16..3,
        peer in prop_oneof![
            Just(Peer::Any), Just(Peer::Group(PEER)), Just(Peer::Group(GROUP)),
            (0_u8..4).prop_map(|last| Peer::Net(format!("10.0.0.{last}/31").parse().unwrap()))],
    ) -> FilterRule {
        let direction = if ingress { Direction::Ingress } else { Direction::Egress };
        let ethertype = if v4 { EtherType::V4 } else { EtherType::V6 };
        let ports = (first, first.map(|first| first + more));
        FilterRule { direction, ethertype, protocol, ports, peer }
    }
}

prop_compose! {
    fn any_connection()(
        source in 0_u8..4, destination in 0_u8..4,
        protocol in prop_oneof![Just(ICMP), Just(TCP), Just(UDP)], numbers in (0_u16..5, 0_u16..5),
    ) -> Connection {
        let (source, destination) = ([10, 0, 0, source].into(), [10, 0, 0, destination].into());
        Connection { source, destination, protocol, numbers }
    }
}

proptest! {
    #[test]
    fn more_rules_and_more_members_never_let_less_pass(
        rules in proptest::collection::vec(any_rule(), 0..6), fewer in 0_usize..6,
        connection in any_connection(), members in proptest::collection::btree_set(0_u8..4, 0..4),
    ) {
        let nets = |last: &u8| IpNet::from(IpAddr::from([10, 0, 0, *last]));
        let with = |rules: &[FilterRule], count: usize| FilterWant {
            peers: BTreeMap::from([(PEER, members.iter().take(count).map(nets).collect())]),
            ..group(rules)
        };
        let taps = [tap("10.0.0.1", &[GROUP]), tap("10.0.0.2", &[GROUP])];
        let open = |want: FilterWant| {
            let groups = BTreeMap::from([(GROUP, want)]);
            may_open(&taps.each_ref(), &groups, &connection).unwrap()
        };
        let all = open(with(&rules, members.len()));
        let less = open(with(&rules[..fewer.min(rules.len())], members.len()));
        let smaller = open(with(&rules, members.len() / 2));
        prop_assert!(all || !(less || smaller));
    }

    #[test]
    fn addresses_that_are_joined_are_the_same_addresses(
        nets in proptest::collection::btree_set((0_u8..16, 28_u8..=32), 0..8), asked in 0_u8..32,
    ) {
        let nets: BTreeSet<IpNet> = nets
            .into_iter()
            .map(|(last, length)| format!("10.0.0.{last}/{length}").parse::<IpNet>().unwrap().trunc())
            .collect();
        let group = FilterWant { peers: BTreeMap::from([(PEER, nets.clone())]), ..group(&[]) };
        let rule = FilterRule { peer: Peer::Group(PEER), ..ingress(TCP) };
        let joined = super::nets(&rule, &group).unwrap();
        let asked = IpAddr::from([10, 0, 0, asked]);
        prop_assert_eq!(
            joined.iter().any(|net| net.contains(&asked)),
            nets.iter().any(|net| net.contains(&asked))
        );
    }
}
