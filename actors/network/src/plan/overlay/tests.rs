//! The plan of a network's tunnel on a host, case by case.

use updraft_runtime::rpc::TraceContext;
use uuid::Uuid;

use super::*;

const NETWORK: Uuid = Uuid::from_u128(1);

fn end(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Hosts `a`, `b` and `c` are at addresses of their own; each has what is said.
fn facts(places: &[(&str, &[&str])]) -> Facts {
    let macs = |macs: &[&str]| macs.iter().map(|mac| (*mac).to_owned()).collect();
    Facts {
        network: Some(Net { vni: Some(7), mtu: 1450 }),
        places: places.iter().map(|(host, of)| ((*host).to_owned(), macs(of))).collect(),
        ends: [("a", 1), ("b", 2), ("c", 3)].map(|(host, n)| (host.to_owned(), end(n))).into(),
    }
}

fn fresh() -> OverlayRow {
    OverlayRow::new(NETWORK, "a", TraceContext::default())
}

fn peers(facts: &Facts) -> BTreeMap<IpAddr, BTreeSet<String>> {
    converge(&fresh(), facts).want.tunnel.expect("a tunnel").peers
}

/// The row once its host serves what is wanted.
fn served(row: &OverlayRow, facts: &Facts) -> OverlayRow {
    let mut row = converge(row, facts);
    let (generation, present) = (row.want.generation, row.want.tunnel.is_some());
    assert!(learn(&mut row, &Served { generation, present }));
    row
}

fn tell(generation: u64) -> Next {
    Next::Act(vec![Tell { generation }])
}

#[test]
fn a_host_is_told_of_all_others_that_have_ports() {
    let found = peers(&facts(&[("a", &["m1"]), ("b", &["m2", "m3"]), ("c", &["m4"])]));
    let macs = |macs: &[&str]| macs.iter().map(|mac| (*mac).to_owned()).collect();
    let expected = BTreeMap::from([(end(2), macs(&["m2", "m3"])), (end(3), macs(&["m4"]))]);
    assert_eq!(found, expected);
}

#[test]
fn a_host_without_a_port_has_no_tunnel() {
    let row = converge(&fresh(), &facts(&[("b", &["m2"])]));
    assert_eq!(row, fresh());
}

#[test]
fn a_network_of_another_kind_has_no_tunnel() {
    let flat = Facts { network: Some(Net { vni: None, mtu: 1500 }), ..facts(&[("a", &["m1"])]) };
    assert_eq!(converge(&fresh(), &flat), fresh());
}

#[test]
fn a_host_that_has_not_said_where_it_is_reached_has_no_tunnel_and_is_nobodys_peer() {
    let both = facts(&[("a", &["m1"]), ("b", &["m2"])]);
    let mut silent = both.clone();
    silent.ends.remove("a");
    assert_eq!(converge(&fresh(), &silent), fresh());
    let mut silent = both;
    silent.ends.remove("b");
    assert_eq!(peers(&silent), BTreeMap::new());
}

#[test]
fn hosts_at_one_address_or_of_another_ip_version_are_no_peers() {
    let mut same = facts(&[("a", &["m1"]), ("b", &["m2"]), ("c", &["m3"])]);
    same.ends.insert("b".to_owned(), end(1));
    same.ends.insert("c".to_owned(), "2001:db8::3".parse().unwrap());
    assert_eq!(peers(&same), BTreeMap::new());
}

#[test]
fn a_change_of_a_port_elsewhere_is_a_new_generation_and_nothing_else_is() {
    let first = facts(&[("a", &["m1"]), ("b", &["m2"])]);
    let row = served(&fresh(), &first);
    assert_eq!(plan(&row, &first), Next::Act(Vec::new()));
    let own = facts(&[("a", &["m1", "m5"]), ("b", &["m2"])]);
    assert_eq!(plan(&row, &own), Next::Act(Vec::new()), "what is here is no news to it");
    let Next::Write(next) = plan(&row, &facts(&[("a", &["m1"]), ("b", &["m2", "m3"])])) else {
        panic!("it is not told");
    };
    assert_eq!(next.want.generation, row.want.generation + 1);
    assert!(next.in_force, "it goes on while it is told");
}

#[test]
fn a_host_is_told_until_it_serves_what_is_wanted() {
    let facts = facts(&[("a", &["m1"])]);
    let row = converge(&fresh(), &facts);
    assert_eq!(plan(&row, &facts), tell(1));
    assert!(!row.in_force);
    assert!(served(&row, &facts).in_force);
}

#[test]
fn a_tunnel_that_is_to_go_counts_no_longer_even_if_it_is_wanted_again() {
    let (with, without) = (facts(&[("a", &["m1"])]), facts(&[]));
    let row = served(&fresh(), &with);
    let going = converge(&row, &without);
    assert!(!going.in_force);
    let mut again = converge(&going, &with);
    assert_eq!(again.want.generation, 3);
    assert!(learn(&mut again, &Served { generation: 2, present: false }) && !again.in_force);
    assert!(learn(&mut again, &Served { generation: 3, present: true }) && again.in_force);
}

#[test]
fn what_is_older_than_what_is_known_changes_nothing() {
    let facts = facts(&[("a", &["m1"])]);
    let mut row = served(&fresh(), &facts);
    assert!(!learn(&mut row, &Served { generation: 1, present: false }));
    assert!(!learn(&mut row, &Served { generation: 2, present: false }), "nobody asked for that");
    assert!(row.in_force);
}

#[test]
fn a_row_goes_with_its_network_once_its_host_has_nothing_of_it() {
    let row = served(&fresh(), &facts(&[("a", &["m1"])]));
    let gone = Facts::default();
    let row = converge(&row, &gone);
    assert_eq!(plan(&row, &gone), tell(2));
    assert_eq!(plan(&served(&row, &gone), &gone), Next::Delete);
}

#[test]
fn a_host_is_told_of_no_more_than_fit() {
    let many: BTreeSet<String> = (0..ADDRESSES_MAX + 5).map(|n| format!("{n:06}")).collect();
    let mut facts = facts(&[("a", &["m1"]), ("c", &["m2"])]);
    facts.places.insert("b".to_owned(), many);
    let found = peers(&facts);
    assert_eq!(found[&end(2)].len(), ADDRESSES_MAX);
    assert_eq!(found[&end(3)], BTreeSet::new(), "what is for all still goes there");
}
