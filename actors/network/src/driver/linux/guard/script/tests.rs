//! What nft is told, as far as it can be seen without a kernel; what really passes is tested on one.

use updraft_protocol::network::{AllowedPair, EtherType, FilterRule, Peer};

use super::*;

const PORT: Uuid = Uuid::from_u128(0xDEAD_BEEF_CAFE_4000_8000_0000_0000_0001);
const GROUP: Uuid = Uuid::from_u128(7);

fn spec(addresses: &[&str]) -> TapSpec {
    TapSpec {
        port: PORT,
        generation: 1,
        network: Uuid::nil(),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        mtu: 1450,
        secured: true,
        groups: BTreeSet::from([GROUP]),
        pairs: BTreeSet::new(),
    }
}

fn rules_of<'a>(script: &'a str, chain: &str) -> Vec<&'a str> {
    let prefix = format!("add rule bridge t {chain} ");
    script.lines().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

#[test]
fn a_guest_is_held_to_its_own_addresses_of_each_version() {
    let script = hold("t", &spec(&["10.1.0.11", "fd00::11"]));
    let rules = rules_of(&script, &names::tap(PORT));
    let mac = "fa:16:3e:00:00:01";
    for expected in [
        format!("ether saddr != {{ {mac} }} drop"),
        format!("ether saddr . ip saddr != {{ {mac} . 10.1.0.11/32 }} drop"),
        format!(
            "arp saddr ether . arp saddr ip != {{ {mac} . 0.0.0.0/32, {mac} . 10.1.0.11/32 }} drop"
        ),
        format!(
            "ether saddr . ip6 saddr != {{ {mac} . ::/128, {mac} . fd00::11/128, {mac} . fe80::/10 }} drop"
        ),
        "icmpv6 type nd-neighbor-advert @th,64,128 != 0xfd000000000000000000000000000011 \
         @th,64,10 != 0x3fa drop"
            .to_owned(),
    ] {
        assert!(rules.contains(&&*expected), "{expected} is not in {rules:#?}");
    }
}

#[test]
fn a_guest_without_addresses_may_ask_for_one_and_send_nothing_else() {
    let script = hold("t", &spec(&[]));
    let rules = rules_of(&script, &names::tap(PORT));
    let at = |rule: &str| rules.iter().position(|it| *it == rule).unwrap();
    assert!(at("ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept") < at("ether type ip drop"));
}

#[test]
fn allowed_pairs_are_joined_to_what_a_guest_may_use() {
    let pair = |mac: &str, net: &str| AllowedPair {
        mac_address: format!("fa:16:3e:00:00:{mac}"),
        net: net.parse().unwrap(),
    };
    let pairs = BTreeSet::from([pair("01", "10.1.0.10/31"), pair("02", "10.9.0.0/16")]);
    let script = hold("t", &TapSpec { pairs, ..spec(&["10.1.0.11"]) });
    let rules = rules_of(&script, &names::tap(PORT));
    // The own address is in the first prefix: a kernel takes no overlapping ones.
    let both = "{ fa:16:3e:00:00:01 . 10.1.0.10/31, fa:16:3e:00:00:02 . 10.9.0.0/16 }";
    let expected = format!("ether saddr . ip saddr != {both} drop");
    assert!(rules.contains(&&*expected), "{rules:#?}");
}

#[test]
fn what_no_group_lets_pass_is_dropped_both_ways() {
    let script = hold("t", &spec(&["10.1.0.11"]));
    for (chain, group) in [("in-tapdeadbeef-ca", "in-"), ("out-tapdeadbeef-ca", "out-")] {
        let rules = rules_of(&script, chain);
        let jump = format!("jump {group}{GROUP}");
        assert_eq!(rules[rules.len() - 2..], [&*jump, "drop"], "{rules:#?}");
        assert!(script.contains(&format!("jump {chain} }}\n")), "nothing leads to {chain}");
    }
}

#[test]
fn the_groups_of_a_tap_are_not_emptied_with_it() {
    let script = hold("t", &spec(&[]));
    assert!(!script.contains(&format!("flush chain bridge t in-{GROUP}")), "{script}");
}

#[test]
fn a_port_that_is_not_checked_has_no_rules_but_is_kept_from_the_host() {
    let script = hold("t", &TapSpec { secured: false, groups: BTreeSet::new(), ..spec(&[]) });
    assert_eq!(rules_of(&script, &names::tap(PORT)), Vec::<&str>::new());
    assert!(script.contains("add element bridge t guests { \"tapdeadbeef-ca\" }\n"));
    assert!(script.contains("delete chain bridge t in-tapdeadbeef-ca\n"));
}

fn want() -> FilterWant {
    let rule = |direction| FilterRule {
        direction,
        ethertype: EtherType::V4,
        protocol: Some(6),
        ports: (None, None),
        peer: Peer::Any,
    };
    let rules = vec![rule(Direction::Ingress), rule(Direction::Egress)];
    FilterWant { present: true, rules, ..FilterWant::absent(GROUP, 12) }
}

#[test]
fn a_group_lets_replies_and_what_its_rules_name_pass_and_says_its_generation() {
    let script = filter("t", &want());
    let expected = [
        "meta mark 0x75640002 accept",
        "ether type ip meta l4proto 6 accept",
        "return comment \"generation 12\"",
    ];
    assert_eq!(rules_of(&script, &format!("in-{GROUP}")), expected);
    assert_eq!(rules_of(&script, &format!("out-{GROUP}")), expected);
}

#[test]
fn replies_need_rules_of_their_own_where_a_group_keeps_no_state() {
    let script = filter("t", &FilterWant { stateful: false, ..want() });
    let rules = rules_of(&script, &format!("in-{GROUP}"));
    assert!(!rules.iter().any(|rule| rule.contains("meta mark")), "{rules:#?}");
}

#[test]
fn both_tables_go_together() {
    let expected =
        "add table bridge t\ndelete table bridge t\nadd table inet t\ndelete table inet t\n";
    assert_eq!(remove("t"), expected);
}
