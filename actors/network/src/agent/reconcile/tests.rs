//! What differs between a host and the rows, case by case.

use updraft_protocol::network::{DhcpSubnet, Tunnel};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext};

use super::{super::rows::Applied, *};
use crate::driver::FoundBridge;

const LIFE: Uuid = Uuid::from_u128(1);
const PORT: Uuid = Uuid::from_u128(2 << 96);
const NETWORK: Uuid = Uuid::from_u128(3 << 96);
const GROUP: Uuid = Uuid::from_u128(4 << 96);
const ROUTER: Uuid = Uuid::from_u128(5 << 96);

fn applied<W: Want>(want: W) -> Row<W> {
    let generation = want.generation();
    let mut row = Row::new(want, TraceContext::default(), UnixMicros(0));
    row.applied = Some(Applied { generation, life: LIFE });
    row
}

fn port(present: bool) -> Row<PortWant> {
    applied(PortWant {
        port: PORT,
        generation: 4,
        present,
        network: NETWORK,
        server: Uuid::nil(),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: Vec::new(),
        mtu: 1450,
        secured: true,
        groups: BTreeSet::new(),
        pairs: BTreeSet::new(),
    })
}

fn dhcp(present: bool) -> Row<DhcpWant> {
    let subnet = DhcpSubnet {
        subnet: Uuid::nil(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: None,
        agent_address: "10.0.0.2".parse().unwrap(),
        dns_servers: Vec::new(),
        host_routes: Vec::new(),
    };
    let subnets = if present { vec![subnet] } else { Vec::new() };
    applied(DhcpWant { network: NETWORK, generation: 5, mtu: 1450, subnets, leases: Vec::new() })
}

fn filter(present: bool) -> Row<FilterWant> {
    applied(FilterWant { present, ..FilterWant::absent(GROUP, 6) })
}

fn overlay(present: bool) -> Row<OverlayWant> {
    applied(OverlayWant { tunnel: present.then(tunnel), ..OverlayWant::absent(NETWORK, 7) })
}

fn tunnel() -> Tunnel {
    let local = "192.0.2.1".parse().unwrap();
    Tunnel { vni: 9, mtu: 1450, local, peers: BTreeMap::new() }
}

fn found_overlay() -> FoundOverlay {
    let bridge = Some(names::bridge(NETWORK));
    FoundOverlay { network: Some((NETWORK, 7)), bridge, tunnel: Some(tunnel()) }
}

fn tap() -> FoundTap {
    FoundTap {
        port: Some((PORT, 4)),
        bridge: Some(names::bridge(NETWORK)),
        mtu: 1450,
        guarded: true,
    }
}

#[derive(Default)]
struct Host {
    devices: L2Inventory,
    namespaces: BTreeMap<Uuid, FoundDhcp>,
    routers: BTreeMap<Uuid, FoundRouter>,
    router_rows: Vec<Row<RouterWant>>,
}

impl Host {
    fn with_tap(mut self, tap: FoundTap) -> Self {
        self.devices.taps.insert(names::tap(PORT), tap);
        self
    }

    fn with_bridge(mut self, network: Option<Uuid>, devices: usize) -> Self {
        self.devices.bridges.insert(names::bridge(NETWORK), FoundBridge { network, devices });
        self
    }

    fn with_namespace(mut self, mine: bool, generation: u64) -> Self {
        self.namespaces.insert(NETWORK, FoundDhcp { mine, generation: Some(generation) });
        self
    }

    fn with_filter(mut self, generation: Option<u64>) -> Self {
        self.devices.filters.insert(GROUP, generation);
        self
    }

    fn with_overlay(mut self, found: FoundOverlay) -> Self {
        self.devices.overlays.insert(names::overlay(NETWORK), found);
        self
    }

    fn with_router(mut self, mine: bool, generation: Option<u64>) -> Self {
        self.routers.insert(ROUTER, FoundRouter { mine, generation });
        self
    }

    fn beside_router(mut self, present: bool) -> Findings {
        let routing =
            Routing { legs: Vec::new(), outlet: None, routes: Vec::new(), floating: Vec::new() };
        let want =
            RouterWant { router: ROUTER, generation: 8, routing: present.then_some(routing) };
        self.router_rows.push(applied(want));
        self.beside(&[], &[])
    }

    fn beside(&self, ports: &[Row<PortWant>], networks: &[Row<DhcpWant>]) -> Findings {
        self.compared(ports, networks, &[], &[])
    }

    fn beside_filters(&self, filters: &[Row<FilterWant>]) -> Findings {
        self.compared(&[], &[], filters, &[])
    }

    fn beside_overlays(&self, overlays: &[Row<OverlayWant>]) -> Findings {
        self.compared(&[], &[], &[], overlays)
    }

    fn compared(
        &self,
        ports: &[Row<PortWant>],
        networks: &[Row<DhcpWant>],
        filters: &[Row<FilterWant>],
        overlays: &[Row<OverlayWant>],
    ) -> Findings {
        let (devices, namespaces) = (&self.devices, &self.namespaces);
        let (found_routers, routers) = (&self.routers, &*self.router_rows);
        Compared {
            life: LIFE,
            devices,
            namespaces,
            found_routers,
            ports,
            networks,
            filters,
            overlays,
            routers,
        }
        .findings()
    }
}

fn whole() -> Host {
    Host::default().with_tap(tap()).with_bridge(Some(NETWORK), 2).with_namespace(true, 5)
}

#[test]
fn a_host_that_is_as_wanted_differs_in_nothing() {
    assert_eq!(whole().beside(&[port(true)], &[dhcp(true)]), Findings::default());
}

#[test]
fn a_tap_that_is_gone_or_altered_is_lost() {
    let lost = BTreeMap::from([(PORT, 4)]);
    let altered = [
        FoundTap { port: Some((PORT, 3)), ..tap() },
        FoundTap { bridge: None, ..tap() },
        FoundTap { mtu: 1500, ..tap() },
        FoundTap { guarded: false, ..tap() },
    ];
    for found in altered {
        assert_eq!(whole().with_tap(found).beside(&[port(true)], &[]).lost_ports, lost);
    }
    assert_eq!(Host::default().beside(&[port(true)], &[]).lost_ports, lost);
}

#[test]
fn a_tap_that_shall_not_be_and_is_there_is_lost() {
    let lost = BTreeMap::from([(PORT, 4)]);
    assert_eq!(whole().beside(&[port(false)], &[]).lost_ports, lost);
    assert_eq!(Host::default().beside(&[port(false)], &[]).lost_ports, BTreeMap::new());
}

#[test]
fn a_foreign_tap_in_the_place_of_an_unplugged_one_is_left_alone() {
    let host = Host::default().with_tap(FoundTap { port: None, ..tap() });
    assert_eq!(host.beside(&[port(false)], &[]), Findings::default());
}

#[test]
fn a_dhcp_server_that_is_gone_or_serves_another_generation_is_lost() {
    let lost = BTreeMap::from([(NETWORK, 5)]);
    let gone = Host::default().with_bridge(Some(NETWORK), 0);
    assert_eq!(gone.beside(&[], &[dhcp(true)]).lost_networks, lost);
    let late = whole().with_namespace(true, 4);
    assert_eq!(late.beside(&[], &[dhcp(true)]).lost_networks, lost);
}

#[test]
fn a_dhcp_server_whose_bridge_is_gone_is_lost() {
    let host = Host::default().with_namespace(true, 5);
    assert_eq!(host.beside(&[], &[dhcp(true)]).lost_networks, BTreeMap::from([(NETWORK, 5)]));
}

#[test]
fn a_stopped_dhcp_server_that_is_there_is_lost() {
    let host = Host::default().with_namespace(true, 4);
    assert_eq!(host.beside(&[], &[dhcp(false)]).lost_networks, BTreeMap::from([(NETWORK, 5)]));
}

#[test]
fn what_another_life_applied_is_not_judged() {
    let mut row = port(true);
    row.applied = Some(Applied { generation: 4, life: Uuid::from_u128(9) });
    assert_eq!(Host::default().beside(&[row], &[]), Findings::default());
}

#[test]
fn what_no_row_knows_is_told_of_and_not_removed() {
    let findings = whole().beside(&[], &[]);
    let orphans = [names::tap(PORT), names::bridge(NETWORK), names::namespace(NETWORK)];
    assert_eq!(findings, Findings { orphans: orphans.into(), ..Findings::default() });
}

#[test]
fn an_empty_bridge_of_this_agents_goes_unless_something_shall_be_on_it() {
    let host = Host::default().with_bridge(Some(NETWORK), 0);
    assert_eq!(host.beside(&[], &[]).empty_bridges, BTreeSet::from([NETWORK]));
    assert_eq!(host.beside(&[port(true)], &[]).empty_bridges, BTreeSet::new());
}

#[test]
fn a_foreign_bridge_is_told_of() {
    let host = Host::default().with_bridge(None, 0);
    assert_eq!(host.beside(&[], &[]).orphans, BTreeSet::from([names::bridge(NETWORK)]));
}

#[test]
fn a_security_group_that_is_gone_or_of_another_generation_is_lost() {
    let lost = BTreeMap::from([(GROUP, 6)]);
    for host in
        [Host::default(), Host::default().with_filter(None), Host::default().with_filter(Some(5))]
    {
        assert_eq!(host.beside_filters(&[filter(true)]).lost_filters, lost);
    }
    let whole = Host::default().with_filter(Some(6));
    assert_eq!(whole.beside_filters(&[filter(true)]), Findings::default());
}

#[test]
fn a_security_group_that_shall_not_be_and_is_there_is_lost() {
    let host = Host::default().with_filter(Some(6));
    assert_eq!(host.beside_filters(&[filter(false)]).lost_filters, BTreeMap::from([(GROUP, 6)]));
    assert_eq!(Host::default().beside_filters(&[filter(false)]), Findings::default());
}

#[test]
fn a_security_group_that_no_row_knows_is_told_of() {
    let orphans = |host: Host| host.beside_filters(&[]).orphans;
    let told = BTreeSet::from([format!("security group {GROUP}")]);
    assert_eq!(orphans(Host::default().with_filter(Some(6))), told);
    assert_eq!(orphans(Host::default().with_filter(None)), BTreeSet::new());
}

#[test]
fn a_tunnel_that_is_gone_or_altered_is_lost() {
    let lost = BTreeMap::from([(NETWORK, 7)]);
    let altered = [
        FoundOverlay { network: Some((NETWORK, 6)), ..found_overlay() },
        FoundOverlay { bridge: None, ..found_overlay() },
        FoundOverlay { tunnel: None, ..found_overlay() },
        FoundOverlay { tunnel: Some(Tunnel { vni: 8, ..tunnel() }), ..found_overlay() },
    ];
    for found in altered {
        let host = Host::default().with_overlay(found);
        assert_eq!(host.beside_overlays(&[overlay(true)]).lost_overlays, lost);
    }
    assert_eq!(Host::default().beside_overlays(&[overlay(true)]).lost_overlays, lost);
    let whole = Host::default().with_overlay(found_overlay());
    assert_eq!(whole.beside_overlays(&[overlay(true)]), Findings::default());
}

#[test]
fn a_tunnel_that_shall_not_be_is_lost_if_it_is_this_agents_and_told_of_if_nobody_knows_it() {
    let host = Host::default().with_overlay(found_overlay());
    let lost = BTreeMap::from([(NETWORK, 7)]);
    assert_eq!(host.beside_overlays(&[overlay(false)]).lost_overlays, lost);
    let orphans = BTreeSet::from([names::overlay(NETWORK)]);
    assert_eq!(host.beside_overlays(&[]).orphans, orphans);
    let foreign = Host::default().with_overlay(FoundOverlay { network: None, ..found_overlay() });
    assert_eq!(foreign.beside_overlays(&[overlay(false)]), Findings::default());
}

#[test]
fn a_bridge_that_a_tunnel_needs_stays() {
    let host = Host::default().with_bridge(Some(NETWORK), 0);
    assert_eq!(host.beside_overlays(&[overlay(true)]).empty_bridges, BTreeSet::new());
}

#[test]
fn a_router_that_is_gone_or_altered_is_lost() {
    let lost = BTreeMap::from([(ROUTER, 8)]);
    let host = |mine, generation| Host::default().with_router(mine, generation);
    assert_eq!(host(true, Some(8)).beside_router(true), Findings::default());
    assert_eq!(Host::default().beside_router(true).lost_routers, lost);
    for (mine, generation) in [(true, Some(7)), (true, None), (false, Some(8))] {
        assert_eq!(host(mine, generation).beside_router(true).lost_routers, lost, "{mine}");
    }
    assert_eq!(host(true, None).beside_router(false).lost_routers, lost, "it is to be gone");
    assert_eq!(host(false, None).beside_router(false), Findings::default());
}

#[test]
fn a_router_that_nobody_wants_is_told_of() {
    let found = Host::default().with_router(true, Some(3)).beside(&[], &[]);
    assert_eq!(found.orphans, BTreeSet::from([names::router(ROUTER)]));
}
