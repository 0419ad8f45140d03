//! What nft and conntrack are told, case by case.

use ipnet::IpNet;
use updraft_protocol::network::{FloatingAddress, Leg};
use uuid::Uuid;

use super::*;

fn routing(snat: bool, floating: &[([u8; 4], [u8; 4])]) -> Routing {
    let net: IpNet = "203.0.113.5/24".parse().unwrap();
    let (port, mac_address) = (Uuid::from_u128(7 << 96), "fa:16:3e:00:00:01".to_owned());
    let leg = Leg { port, network: port, mac_address, addresses: vec![net], mtu: 1500 };
    let outlet = Outlet { leg, physical_network: None, hops: Vec::new(), snat };
    let floating = floating.iter().map(|(address, fixed)| FloatingAddress {
        port,
        address: (*address).into(),
        fixed: (*fixed).into(),
    });
    let floating = floating.collect();
    Routing { legs: Vec::new(), outlet: Some(outlet), routes: Vec::new(), floating }
}

#[test]
fn the_rules_are_replaced_as_a_whole() {
    let script = script(&routing(true, &[]));
    let begins = "add table ip updraft\ndelete table ip updraft\ntable ip updraft {\n";
    assert!(script.starts_with(begins), "{script}");
}

#[test]
fn a_floating_address_stands_before_the_routers_own() {
    let script = script(&routing(true, &[([203, 0, 113, 50], [10, 1, 0, 11])]));
    let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("{words}: {script}"));
    assert!(at("ip daddr 203.0.113.50 dnat to 10.1.0.11") < at("chain leaving"));
    let own = at("iifname != \"qg-00000007-00\" oifname \"qg-00000007-00\" snat to 203.0.113.5");
    assert!(at("ip saddr 10.1.0.11 oifname \"qg-00000007-00\" snat to 203.0.113.50") < own);
}

#[test]
fn without_snat_only_what_comes_back_inside_is_rewritten() {
    let script = script(&routing(false, &[]));
    let rules: Vec<&str> = script.lines().filter(|line| line.contains("snat to")).collect();
    assert_eq!(rules.len(), 1, "{script}");
    assert!(rules[0].contains("ct status dnat"), "{script}");
}

#[test]
fn connections_are_known_by_each_address_that_they_may_have() {
    let own = Seen { outside: [203, 0, 113, 5].into(), inside: None };
    let floats = Seen { outside: [203, 0, 113, 50].into(), inside: Some([10, 1, 0, 11].into()) };
    let all = seen(&routing(true, &[([203, 0, 113, 50], [10, 1, 0, 11])]));
    assert_eq!(all, BTreeSet::from([own.clone(), floats.clone()]));
    assert_eq!(seen(&routing(false, &[])), BTreeSet::new());
    assert_eq!(forgetting(&own), [["-D", "-q", "203.0.113.5"].map(str::to_owned)]);
    assert_eq!(forgetting(&floats).len(), 2, "those from outside, and those to outside");
}
