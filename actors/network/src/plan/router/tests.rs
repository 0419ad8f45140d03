//! Where a router goes and what its hosts are told, case by case.

use ipnet::IpNet;
use updraft_protocol::{
    compute::Goal,
    network::{Leg, Outlet},
};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext};
use uuid::Uuid;

use super::*;
use crate::rows::Standard;

const ROUTER: Uuid = Uuid::from_u128(1);
const INNER: Uuid = Uuid::from_u128(2);
const OTHER: Uuid = Uuid::from_u128(3);
const OUTER: Uuid = Uuid::from_u128(4);

fn leg(port: Uuid) -> Leg {
    let net: IpNet = "10.0.0.1/24".parse().unwrap();
    let mac_address = "fa:16:3e:00:00:01".to_owned();
    Leg { port, network: Uuid::from_u128(9), mac_address, addresses: vec![net], mtu: 1450 }
}

fn inside(ports: &[Uuid]) -> Routing {
    let legs = ports.iter().map(|port| leg(*port)).collect();
    Routing { legs, outlet: None, routes: Vec::new(), floating: Vec::new() }
}

/// With a way out by a physical network.
fn outside() -> Routing {
    let physical_network = Some("public".to_owned());
    let outlet = Outlet { leg: leg(OUTER), physical_network, hops: Vec::new(), snat: true };
    Routing { outlet: Some(outlet), ..inside(&[INNER]) }
}

fn row() -> RouterRow {
    RouterRow {
        id: ROUTER,
        project_id: "demo".to_owned(),
        name: "r".to_owned(),
        admin_state_up: true,
        gateway: None,
        routes: Vec::new(),
        availability_zone_hints: Vec::new(),
        standard: Standard::new(None, UnixMicros(0)),
        goal: Goal::Present,
        host: None,
        generation: 0,
        placements: BTreeMap::new(),
        trace: TraceContext::default(),
    }
}

fn host(alive: bool, routers: usize) -> Host {
    Host { enabled: true, alive, routers, physical_networks: BTreeSet::new() }
}

fn gateway_host() -> Host {
    Host { physical_networks: BTreeSet::from(["public".to_owned()]), ..host(true, 9) }
}

fn facts(routing: Option<Routing>, hosts: &[(&str, Host)]) -> Facts {
    let hosts = hosts.iter().map(|(name, host)| ((*name).to_owned(), host.clone())).collect();
    Facts { routing, hosts: Some(hosts) }
}

/// The row once nothing is left to be written.
fn settled(row: &RouterRow, facts: &Facts) -> RouterRow {
    match plan(row, facts) {
        Next::Write(next) => {
            assert_eq!(converge(&next, facts), *next, "what is written is to be final");
            *next
        }
        _ => row.clone(),
    }
}

fn told(row: &RouterRow, facts: &Facts) -> Vec<(String, u64)> {
    match plan(row, facts) {
        Next::Act(told) => told.into_iter().map(|it| (it.host, it.generation)).collect(),
        other => panic!("{other:?}"),
    }
}

/// The host does as it was told.
fn serve(row: &RouterRow, host: &str) -> RouterRow {
    let mut next = row.clone();
    let generation = row.placements[host].want.generation;
    assert!(learn(&mut next, Learned::Served { host: host.to_owned(), generation }));
    next
}

fn here(routers: usize) -> [(&'static str, Host); 2] {
    [("a", host(true, routers)), ("b", host(true, 1))]
}

#[test]
fn a_router_goes_to_the_living_host_that_has_fewest() {
    let facts = facts(
        Some(inside(&[INNER])),
        &[("a", host(true, 2)), ("b", host(false, 0)), ("c", host(true, 1)), ("d", host(true, 1))],
    );
    let next = settled(&row(), &facts);
    assert_eq!(next.host.as_deref(), Some("c"));
    assert_eq!(told(&next, &facts), [("c".to_owned(), 1)]);
}

#[test]
fn a_router_that_stands_nowhere_needs_no_host() {
    let next = settled(&row(), &facts(None, &here(0)));
    assert_eq!((next.host, next.placements.len()), (None, 0));
}

#[test]
fn a_router_waits_for_a_host_that_has_its_way_out() {
    let hosts = [("a", host(true, 0)), ("b", gateway_host())];
    let without = facts(Some(outside()), &hosts[..1]);
    assert_eq!(plan(&row(), &without), Next::Homeless);
    assert_eq!(settled(&row(), &facts(Some(outside()), &hosts)).host.as_deref(), Some("b"));
}

#[test]
fn a_router_stays_where_it_is_though_another_host_has_fewer_or_its_own_is_silent() {
    let placed = settled(&row(), &facts(Some(inside(&[INNER])), &here(0)));
    for host_a in [host(true, 9), host(false, 1)] {
        let facts = facts(Some(inside(&[INNER])), &[("a", host_a), ("b", host(true, 0))]);
        assert_eq!(converge(&placed, &facts), placed);
    }
}

#[test]
fn a_second_host_is_told_only_when_the_first_has_let_go() {
    let routing = Some(inside(&[INNER]));
    let placed = serve(&settled(&row(), &facts(routing.clone(), &here(0))), "a");
    let closed = Host { enabled: false, ..host(true, 1) };
    let facts = facts(routing.clone(), &[("a", closed), ("b", host(true, 0))]);
    let moving = settled(&placed, &facts);
    assert_eq!(moving.host.as_deref(), Some("b"));
    let at_a = moving.placements["a"].want.generation;
    assert_eq!(told(&moving, &facts), [("a".to_owned(), at_a)]);
    assert_eq!(moving.told_of("b"), None, "nor is it told when it asks");
    assert_eq!(moving.told_of("a").unwrap().routing, None);
    let left = settled(&serve(&moving, "a"), &facts);
    assert!(!left.placements.contains_key("a"));
    let at_b = left.placements["b"].want.generation;
    assert_eq!(told(&left, &facts), [("b".to_owned(), at_b)]);
    assert_eq!(left.told_of("b").unwrap().routing, routing);
}

#[test]
fn a_host_that_its_operator_has_taken_away_is_waited_for_no_longer() {
    let routing = Some(inside(&[INNER]));
    let placed = serve(&settled(&row(), &facts(routing.clone(), &here(0))), "a");
    let gone = facts(routing, &[("b", host(true, 0))]);
    let moved = settled(&placed, &gone);
    assert_eq!(moved.host.as_deref(), Some("b"));
    assert_eq!(moved.placements.keys().collect::<Vec<_>>(), ["b"]);
    let at_b = moved.placements["b"].want.generation;
    assert_eq!(told(&moved, &gone), [("b".to_owned(), at_b)]);
    assert_eq!(moved.told_of("a"), None, "when it is back, it hears that nothing is wanted there");
}

#[test]
fn generations_grow_over_all_hosts_and_wants() {
    let mut row = row();
    let mut newest = 0;
    for (routing, closed) in [
        (Some(inside(&[INNER])), "b"),
        (Some(inside(&[INNER, OTHER])), "b"),
        (None, "b"),
        (Some(inside(&[INNER])), "a"),
        (Some(inside(&[INNER])), "b"),
    ] {
        let mut hosts = here(0);
        for (name, host) in &mut hosts {
            host.enabled = *name != closed;
        }
        let facts = facts(routing, &hosts);
        row = settled(&row, &facts);
        assert!(row.generation > newest);
        newest = row.generation;
        for host in row.placements.clone().keys() {
            row = serve(&row, host);
        }
    }
}

#[test]
fn addresses_are_held_until_the_host_has_let_go_of_them() {
    let both = facts(Some(inside(&[INNER, OTHER])), &here(0));
    let placed = serve(&settled(&row(), &both), "a");
    let one = facts(Some(inside(&[INNER])), &here(0));
    let shrunk = settled(&placed, &one);
    assert_eq!(shrunk.placements["a"].holds, BTreeSet::from([INNER, OTHER]));
    assert_eq!(serve(&shrunk, "a").placements["a"].holds, BTreeSet::from([INNER]));
    let gone = RouterRow { goal: Goal::Absent, ..placed };
    let going = settled(&gone, &facts(None, &here(0)));
    assert_eq!(going.placements["a"].holds, BTreeSet::from([INNER, OTHER]));
    let over = settled(&serve(&going, "a"), &facts(None, &here(0)));
    assert_eq!(plan(&over, &facts(None, &here(0))), Next::Delete);
}

#[test]
fn what_is_heard_of_an_older_want_changes_nothing() {
    let first = settled(&row(), &facts(Some(inside(&[INNER])), &here(0)));
    let mut second = settled(&first, &facts(Some(inside(&[INNER, OTHER])), &here(0)));
    let before = second.clone();
    let host = "a".to_owned();
    assert!(!learn(&mut second, Learned::Served { host: host.clone(), generation: 1 }));
    let reason = "no".to_owned();
    assert!(!learn(&mut second, Learned::Refused { host: host.clone(), generation: 1, reason }));
    assert_eq!(second, before);
    let reason = "no bridge".to_owned();
    assert!(learn(&mut second, Learned::Refused { host, generation: 2, reason }));
    assert_eq!(second.placements["a"].fault.as_deref(), Some("no bridge"));
    assert_eq!(serve(&second, "a").placements["a"].fault, None);
}

#[test]
fn where_hosts_are_not_known_none_is_chosen_or_left() {
    let unknown = Facts { routing: Some(inside(&[INNER])), hosts: None };
    assert_eq!(converge(&row(), &unknown), row());
    let placed = settled(&row(), &facts(Some(inside(&[INNER])), &here(0)));
    let grown = Facts { routing: Some(inside(&[INNER, OTHER])), hosts: None };
    let next = converge(&placed, &grown);
    assert_eq!((next.host.as_deref(), next.generation), (Some("a"), 2));
}
