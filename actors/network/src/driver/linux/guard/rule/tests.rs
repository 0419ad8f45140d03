//! Rules in nft's language, case by case.

use std::collections::{BTreeMap, BTreeSet};

use updraft_protocol::network::{
    Peer,
    protocol_number::{TCP, UDP},
};
use uuid::Uuid;

use super::*;

const PEER: Uuid = Uuid::from_u128(2);

fn group(members: &[&str]) -> FilterWant {
    let nets: BTreeSet<_> = members.iter().map(|text| text.parse().unwrap()).collect();
    FilterWant { peers: BTreeMap::from([(PEER, nets)]), ..FilterWant::absent(Uuid::nil(), 1) }
}

fn any() -> FilterRule {
    FilterRule {
        direction: Direction::Ingress,
        ethertype: EtherType::V4,
        protocol: None,
        ports: (None, None),
        peer: Peer::Any,
    }
}

fn of(protocol: u8, first: Option<u16>, last: Option<u16>) -> FilterRule {
    FilterRule { protocol: Some(protocol), ports: (first, last), ..any() }
}

fn v6(mut rule: FilterRule) -> FilterRule {
    rule.ethertype = EtherType::V6;
    rule
}

fn with(peer: Peer, direction: Direction) -> FilterRule {
    FilterRule { peer, direction, ..any() }
}

#[test]
fn a_rule_names_what_a_packet_must_be_like() {
    let members = group(&["10.0.0.4/32", "10.0.0.5/32", "10.0.0.9/32", "fd00::5/128"]);
    let net = |text: &str| Peer::Net(text.parse().unwrap());
    let cases = [
        (any(), "ether type ip"),
        (v6(any()), "ether type ip6"),
        (of(TCP, Some(22), Some(22)), "ether type ip meta l4proto 6 th dport 22-22"),
        (of(UDP, Some(53), Some(67)), "ether type ip meta l4proto 17 th dport 53-67"),
        (of(TCP, None, None), "ether type ip meta l4proto 6"),
        (of(89, None, None), "ether type ip meta l4proto 89"),
        (of(ICMP, Some(8), None), "ether type ip meta l4proto 1 icmp type 8"),
        (of(ICMP, Some(3), Some(4)), "ether type ip meta l4proto 1 icmp type 3 icmp code 4"),
        (v6(of(ICMP6, Some(128), None)), "ether type ip6 meta l4proto 58 icmpv6 type 128"),
        (v6(of(IPV6_FRAGMENT, None, None)), "ether type ip6 exthdr frag exists"),
        (of(IPV6_FRAGMENT, None, None), "ether type ip meta l4proto 44"),
        (with(net("192.0.2.0/24"), Direction::Ingress), "ether type ip ip saddr { 192.0.2.0/24 }"),
        (with(net("192.0.2.0/24"), Direction::Egress), "ether type ip ip daddr { 192.0.2.0/24 }"),
        (with(net("0.0.0.0/0"), Direction::Ingress), "ether type ip"),
        (
            with(Peer::Group(PEER), Direction::Ingress),
            "ether type ip ip saddr { 10.0.0.4/31, 10.0.0.9/32 }",
        ),
        (
            v6(with(Peer::Group(PEER), Direction::Egress)),
            "ether type ip6 ip6 daddr { fd00::5/128 }",
        ),
    ];
    for (rule, condition) in cases {
        assert_eq!(super::condition(&rule, &members).as_deref(), Some(condition), "{rule:?}");
    }
}

#[test]
fn a_rule_about_nobody_is_left_out() {
    let nobody = [
        with(Peer::Group(PEER), Direction::Ingress),
        with(Peer::Group(Uuid::from_u128(3)), Direction::Ingress),
        with(Peer::Net("::/0".parse().unwrap()), Direction::Ingress),
    ];
    for rule in nobody {
        assert_eq!(condition(&rule, &group(&["fd00::5/128"])), None, "{rule:?}");
    }
}
