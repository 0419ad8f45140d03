//! Routers as namespaces on real hosts: between networks, to the outside, by floating addresses.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use updraft_network::driver::{FoundRouter, L2Driver, L3Driver, names};
use updraft_protocol::network::{FloatingAddress, Leg, Outlet, RouterWant, Routing};
use uuid::Uuid;

use super::{
    super::world::*,
    guest::Guest,
    hosts::{Host, hosts, mac, port, tap},
    rig::{Rig, patiently},
    sandbox::{self, output_of, sandboxed},
};

const OTHER_NETWORK: Uuid = Uuid::from_u128(0xBBBB_0002_0000_4000_8000_0000_0000_0002);
const OUTER_NETWORK: Uuid = Uuid::from_u128(0xBBBB_0003_0000_4000_8000_0000_0000_0003);
const OTHER_ROUTER: Uuid = Uuid::from_u128(0x1111_0002_0000_4000_8000_0000_0000_0002);

/// The port at which a router stands, by its number.
fn leg(number: u8, network: Uuid, net: &str) -> Leg {
    Leg {
        port: port(number),
        network,
        mac_address: mac(number),
        addresses: vec![net.parse().unwrap()],
        mtu: 1450,
    }
}

/// A way out by the host's own bridge, with this address.
fn outlet(number: u8, address: &str, snat: bool) -> Option<Outlet> {
    Some(Outlet {
        leg: leg(number, OUTER_NETWORK, &format!("{address}/24")),
        physical_network: Some("public".to_owned()),
        hops: vec![IpAddr::from([203, 0, 113, 1])],
        snat,
    })
}

fn routing(legs: Vec<Leg>, outlet: Option<Outlet>) -> Routing {
    Routing { legs, outlet, routes: Vec::new(), floating: Vec::new() }
}

fn want(router: Uuid, generation: u64, routing: Routing) -> RouterWant {
    RouterWant { router, generation, routing: Some(routing) }
}

fn floating(last: u8, fixed: [u8; 4]) -> FloatingAddress {
    let address = Ipv4Addr::new(203, 0, 113, last);
    FloatingAddress { port: port(last), address, fixed: fixed.into() }
}

/// A guest on the network whose router has the first address of its subnet.
async fn guest(host: &Host, number: u8, network: Uuid, address: &str) -> Guest {
    let guest = Guest::at(port(number), &mac(number), &[&format!("{address}/24")]);
    host.plug(&guest, tap(number, network)).await;
    let (subnet, _) = address.rsplit_once('.').unwrap();
    guest.set(&["route", "add", "default", "via", &format!("{subnet}.1")]);
    guest
}

/// Somebody outside of the cloud, on the bridge that the host's operator has made.
fn outside(host: &str) -> Guest {
    let bridge = ["link", "add", "name", "br-public", "type", "bridge"];
    output_of("ip", &[["-n", host].as_slice(), &bridge].concat());
    output_of("ip", &["-n", host, "link", "set", "dev", "br-public", "up"]);
    let guest = Guest::at(port(99), &mac(99), &["203.0.113.1/24"]);
    let device = names::tap(port(99));
    output_of("ip", &["link", "set", "dev", &device, "netns", host]);
    output_of("ip", &["-n", host, "link", "set", "dev", &device, "master", "br-public", "up"]);
    guest
}

impl Host {
    async fn route(&self, want: &RouterWant) {
        let (l2, l3, want) = (self.l2.clone(), self.l3.clone(), want.clone());
        self.run(async move {
            for leg in want.routing.iter().flat_map(Routing::bridged) {
                l2.ensure_bridge(leg.network, leg.mtu).await?;
            }
            match &want.routing {
                Some(_) => l3.ensure_router(&want).await,
                None => l3.remove_router(want.router, want.generation).await,
            }
        })
        .await;
    }

    /// The generation that made the router all that it is.
    async fn generation(&self, router: Uuid) -> Option<u64> {
        let l3 = self.l3.clone();
        let found = self.run(async move { l3.inventory().await }).await;
        let FoundRouter { mine, generation } = found[&router];
        assert!(mine);
        generation
    }

    /// Something is done inside the router by hand.
    fn meddle(&self, router: Uuid, words: &[&str]) -> String {
        // The names of its namespaces are its own.
        let name = names::router(router);
        let inside = [["ip", "netns", "exec", &name].as_slice(), words].concat();
        let inside: Vec<String> = inside.into_iter().map(str::to_owned).collect();
        let runtime = self.runtime();
        let done = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    runtime.block_on(runtime.spawn_blocking(move || {
                        let words: Vec<&str> = inside.iter().map(String::as_str).collect();
                        output_of(words[0], &words[1..])
                    }))
                })
                .join()
        });
        done.unwrap().unwrap()
    }
}

/// Who is seen at the other end of a connection to this listener.
fn seen(listener: &TcpListener) -> IpAddr {
    match listener.accept().unwrap().1.ip() {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        ip => ip,
    }
}

/// Whether what is said at one end is heard at the other.
fn carries(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    to.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    from.write_all(b"x").is_ok() && to.read_exact(&mut [0]).is_ok()
}

/// Two guests of two networks on the first host, and the networks' router on the second.
async fn across_hosts() -> ([Host; 2], [Guest; 2], Routing) {
    let [a, b] = hosts::<2>();
    let one = guest(&a, 11, NETWORK, "10.1.0.11").await;
    let two = guest(&a, 12, OTHER_NETWORK, "10.2.0.12").await;
    let legs = vec![leg(1, NETWORK, "10.1.0.1/24"), leg(2, OTHER_NETWORK, "10.2.0.1/24")];
    let routing = routing(legs, None);
    for (network, vni, router, guest) in [(NETWORK, 7, 1, 11), (OTHER_NETWORK, 8, 2, 12)] {
        a.reach(network, vni, 1, &[(2, &[router])]).await;
        b.reach(network, vni, 1, &[(1, &[guest])]).await;
    }
    b.route(&want(ROUTER, 1, routing.clone())).await;
    ([a, b], [one, two], routing)
}

#[test]
fn guests_of_two_networks_reach_each_other_through_their_router_on_another_host() {
    let name =
        "routers::guests_of_two_networks_reach_each_other_through_their_router_on_another_host";
    sandboxed(name, async {
        let ([_a, b], [one, two], _) = across_hosts().await;
        patiently("the router passes nothing on", || one.pings("10.2.0.12")).await;
        assert!(two.pings("10.1.0.11"));
        let listener = two.listen(80);
        let _stream = one.connect("10.2.0.12:80").unwrap();
        assert_eq!(seen(&listener), IpAddr::from([10, 1, 0, 11]), "nothing is rewritten inside");
        b.route(&RouterWant::absent(ROUTER, 2)).await;
        assert!(!one.pings("10.2.0.12") && !one.pings("10.1.0.1"));
    });
}

#[test]
fn a_route_over_a_guest_leads_behind_it() {
    sandboxed("routers::a_route_over_a_guest_leads_behind_it", async {
        let ([_a, b], [one, two], mut routing) = across_hosts().await;
        two.set(&["address", "add", "10.9.0.1/24", "dev", "lo"]);
        patiently("the router passes nothing on", || one.pings("10.2.0.12")).await;
        assert!(!one.pings("10.9.0.1"));
        routing.routes = vec![("10.9.0.0/24".parse().unwrap(), IpAddr::from([10, 2, 0, 12]))];
        b.route(&want(ROUTER, 2, routing.clone())).await;
        assert!(one.pings("10.9.0.1"));
        routing.routes.clear();
        b.route(&want(ROUTER, 3, routing)).await;
        assert!(!one.pings("10.9.0.1") && one.pings("10.2.0.12"));
    });
}

#[test]
fn a_router_that_leaves_a_network_or_goes_leaves_nothing_behind() {
    sandboxed("routers::a_router_that_leaves_a_network_or_goes_leaves_nothing_behind", async {
        let [a] = hosts::<1>();
        let devices = || output_of("ip", &["-n", "h1", "-br", "link", "show"]);
        let legs = [leg(1, NETWORK, "10.1.0.1/24"), leg(2, OTHER_NETWORK, "10.2.0.1/24")];
        a.route(&want(ROUTER, 1, routing(legs.to_vec(), None))).await;
        assert!(devices().contains(&names::leg_outer(port(2))));
        a.route(&want(ROUTER, 2, routing(legs[..1].to_vec(), None))).await;
        let left = devices();
        assert!(left.contains(&names::leg_outer(port(1))), "{left}");
        assert!(!left.contains(&names::leg_outer(port(2))), "{left}");
        a.route(&RouterWant::absent(ROUTER, 3)).await;
        assert!(!devices().contains("rtr"), "{}", devices());
        let l3 = a.l3.clone();
        assert!(a.run(async move { l3.inventory().await }).await.is_empty());
        let old = want(ROUTER, 2, routing(legs.to_vec(), None));
        let l3 = a.l3.clone();
        let late = a.try_run(async move { l3.ensure_router(&old).await }).await;
        assert!(late.unwrap_err().to_string().contains("older"), "what is late makes it again");
    });
}

#[test]
fn what_somebody_changes_by_hand_is_seen_and_mended() {
    sandboxed("routers::what_somebody_changes_by_hand_is_seen_and_mended", async {
        let [a] = hosts::<1>();
        let _outside = outside("h1");
        let mut routing =
            routing(vec![leg(1, NETWORK, "10.1.0.1/24")], outlet(3, "203.0.113.5", true));
        routing.routes = vec![("10.9.0.0/24".parse().unwrap(), IpAddr::from([10, 1, 0, 12]))];
        routing.floating = vec![floating(50, [10, 1, 0, 11])];
        let wanted = want(ROUTER, 4, routing);
        a.route(&wanted).await;
        assert_eq!(a.generation(ROUTER).await, Some(4));
        let (inner, outer) = (names::leg_inner(port(1)), names::leg_outer(port(1)));
        let way_out = names::outlet_inner(port(3));
        let inside: [&[&str]; 9] = [
            &["nft", "flush", "ruleset"],
            &["nft", "add", "rule", "ip", "updraft", "entering", "drop"],
            &["ip", "route", "delete", "default"],
            &["ip", "route", "add", "10.8.0.0/24", "via", "10.1.0.13"],
            &["ip", "address", "delete", "203.0.113.50/32", "dev", &way_out],
            &["ip", "address", "add", "203.0.113.51/32", "dev", &way_out],
            &["ip", "link", "set", "dev", &inner, "down"],
            &["ip", "link", "delete", "dev", &inner],
            &["sysctl", "-qw", "net.ipv4.ip_forward=0"],
        ];
        for words in inside {
            a.meddle(ROUTER, words);
            assert_eq!(a.generation(ROUTER).await, None, "{words:?} was not seen");
            a.route(&wanted).await;
            assert_eq!(a.generation(ROUTER).await, Some(4), "{words:?} was not mended");
        }
        output_of("ip", &["-n", "h1", "link", "set", "dev", &outer, "nomaster"]);
        assert_eq!(a.generation(ROUTER).await, None);
        a.route(&wanted).await;
        assert_eq!(a.generation(ROUTER).await, Some(4));
    });
}

/// Two routers of two networks with the same addresses, a guest behind each, and somebody outside.
async fn twins(snat: bool) -> (Host, [Guest; 2], Guest, [Routing; 2]) {
    let [a] = hosts::<1>();
    let outside = outside("h1");
    let one = guest(&a, 11, NETWORK, "10.1.0.11").await;
    let two = guest(&a, 12, OTHER_NETWORK, "10.1.0.11").await;
    let first = routing(vec![leg(1, NETWORK, "10.1.0.1/24")], outlet(3, "203.0.113.5", snat));
    let second =
        routing(vec![leg(2, OTHER_NETWORK, "10.1.0.1/24")], outlet(4, "203.0.113.6", snat));
    a.route(&want(ROUTER, 1, first.clone())).await;
    a.route(&want(OTHER_ROUTER, 1, second.clone())).await;
    (a, [one, two], outside, [first, second])
}

#[test]
fn guests_with_the_same_address_behind_two_routers_both_reach_the_outside() {
    let name = "routers::guests_with_the_same_address_behind_two_routers_both_reach_the_outside";
    sandboxed(name, async {
        let (_a, [one, two], outside, _) = twins(true).await;
        let listener = outside.listen(80);
        patiently("nobody outside is reached", || one.pings("203.0.113.1")).await;
        let first = one.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&listener), IpAddr::from([203, 0, 113, 5]));
        let second = two.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&listener), IpAddr::from([203, 0, 113, 6]));
        drop((first, second));
        assert!(outside.pings("203.0.113.5"), "the router answers by its own address");
    });
}

#[test]
fn without_snat_guests_are_seen_outside_by_their_own_addresses() {
    sandboxed("routers::without_snat_guests_are_seen_outside_by_their_own_addresses", async {
        let (a, [one, _two], outside, [mut first, _]) = twins(false).await;
        let listener = outside.listen(80);
        assert!(one.connect("203.0.113.1:80").is_err(), "nobody outside knows the way back");
        outside.set(&["route", "add", "10.1.0.0/24", "via", "203.0.113.5"]);
        let known = one.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&listener), IpAddr::from([10, 1, 0, 11]));
        drop(known);
        first.outlet.as_mut().unwrap().snat = true;
        a.route(&want(ROUTER, 2, first.clone())).await;
        let hidden = one.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&listener), IpAddr::from([203, 0, 113, 5]));
        drop(hidden);
    });
}

#[test]
fn a_floating_address_leads_in_and_out() {
    sandboxed("routers::a_floating_address_leads_in_and_out", async {
        let (a, [one, two], outside, [mut first, _]) = twins(true).await;
        first.floating = vec![floating(50, [10, 1, 0, 11])];
        a.route(&want(ROUTER, 2, first)).await;
        patiently("the floating address does not answer", || outside.pings("203.0.113.50")).await;
        let (inner, outer) = (one.listen(22), outside.listen(80));
        let stream = outside.connect("203.0.113.50:22").unwrap();
        assert_eq!(seen(&inner), IpAddr::from([203, 0, 113, 1]), "who comes in is not hidden");
        drop(stream);
        let stream = one.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&outer), IpAddr::from([203, 0, 113, 50]));
        drop(stream);
        let stream = two.connect("203.0.113.1:80").unwrap();
        assert_eq!(seen(&outer), IpAddr::from([203, 0, 113, 6]), "another router's guest");
        drop(stream);
        let third = guest(&a, 13, NETWORK, "10.1.0.13").await;
        patiently("its neighbour does not reach it by its floating address", || {
            third.connect("203.0.113.50:22").is_ok()
        })
        .await;
    });
}

#[test]
fn a_floating_address_that_is_taken_away_ends_what_came_by_it_and_nothing_else() {
    let name =
        "routers::a_floating_address_that_is_taken_away_ends_what_came_by_it_and_nothing_else";
    sandboxed(name, async {
        let (a, [one, _two], outside, [mut first, _]) = twins(true).await;
        let third = guest(&a, 13, NETWORK, "10.1.0.13").await;
        first.floating = vec![floating(50, [10, 1, 0, 11]), floating(51, [10, 1, 0, 13])];
        a.route(&want(ROUTER, 2, first.clone())).await;
        patiently("the floating address does not answer", || outside.pings("203.0.113.50")).await;
        let (inner, others) = (one.listen(22), third.listen(22));
        let by_first = outside.connect("203.0.113.50:22").unwrap();
        let (at_one, _) = inner.accept().unwrap();
        patiently("the other does not answer", || outside.pings("203.0.113.51")).await;
        let by_other = outside.connect("203.0.113.51:22").unwrap();
        let (at_third, _) = others.accept().unwrap();
        assert!(carries(&by_first, &at_one) && carries(&by_other, &at_third));
        let taken = first.floating.remove(0);
        a.route(&want(ROUTER, 3, first.clone())).await;
        assert!(!carries(&by_first, &at_one), "what came by the address goes on");
        assert!(!carries(&at_one, &by_first), "what came by the address goes on");
        assert!(carries(&by_other, &at_third) && carries(&at_third, &by_other));
        assert!(outside.connect("203.0.113.50:22").is_err());
        let tracked = || a.meddle(ROUTER, &["conntrack", "-L"]);
        let (led, in_vain) = ("src=10.1.0.11 dst=203.0.113.1", "src=203.0.113.50 dst=203.0.113.1");
        assert!(!tracked().contains(led) && tracked().contains(in_vain), "{}", tracked());
        first.floating.push(taken);
        a.route(&want(ROUTER, 4, first)).await;
        assert!(outside.connect("203.0.113.50:22").is_ok());
        assert!(!tracked().contains(in_vain), "what was tried in vain goes on so: {}", tracked());
    });
}

#[test]
fn a_floating_address_that_moves_to_another_router_is_found_there_at_once() {
    let name = "routers::a_floating_address_that_moves_to_another_router_is_found_there_at_once";
    sandboxed(name, async {
        let (a, [one, two], outside, [mut first, mut second]) = twins(true).await;
        let moving = vec![floating(50, [10, 1, 0, 11])];
        let before = first.clone();
        first.floating.clone_from(&moving);
        a.route(&want(ROUTER, 2, first)).await;
        patiently("the floating address does not answer", || outside.pings("203.0.113.50")).await;
        assert_eq!(outside.neighbour("203.0.113.50"), Some(mac(3)));
        a.route(&want(ROUTER, 3, before)).await;
        second.floating = moving;
        a.route(&want(OTHER_ROUTER, 2, second)).await;
        // Nobody outside has asked since.
        let told = || outside.neighbour("203.0.113.50") == Some(mac(4));
        patiently("neighbours were not told of its new place", told).await;
        let (stays, moved) = (one.listen(22), two.listen(22));
        let stream = outside.connect("203.0.113.50:22").unwrap();
        assert_eq!(seen(&moved), IpAddr::from([203, 0, 113, 1]));
        stays.set_nonblocking(true).unwrap();
        assert!(stays.accept().is_err());
        drop(stream);
    });
}

#[test]
fn the_agent_makes_a_router_mends_it_and_removes_all_of_it() {
    sandboxed("routers::the_agent_makes_a_router_mends_it_and_removes_all_of_it", async {
        let before = sandbox::snapshot();
        let mut rig = Rig::new().await;
        let guest = Guest::at(PORT, "fa:16:3e:00:00:01", &["10.1.0.11/24"]);
        let with_guest = sandbox::snapshot();
        let plug = updraft_protocol::network::PortWant { secured: false, ..port_want(1) };
        rig.plug(&plug).await.unwrap();
        rig.route(&router_want(1)).await.unwrap();
        patiently("the router does not answer", || guest.pings("10.1.0.1")).await;
        output_of("ip", &["netns", "delete", &names::router(ROUTER)]);
        assert_eq!(rig.agent.reconcile().await.unwrap().lost_routers, BTreeSet::from([ROUTER]));
        patiently("the router never came back", || guest.pings("10.1.0.1")).await;
        rig.restart().await;
        assert!(guest.pings("10.1.0.1"), "a restart of the agent stops no router");
        rig.route(&RouterWant::absent(ROUTER, 2)).await.unwrap();
        assert!(!guest.pings("10.1.0.1"));
        assert!(rig.route(&router_want(1)).await.is_err(), "what is older is refused");
        rig.route(&router_want(3)).await.unwrap();
        rig.agent.purge().await.unwrap();
        assert_eq!(rig.files_left(), BTreeSet::new());
        drop(guest);
        assert_ne!(with_guest, before);
        // The kernel removes a namespace's devices in its own time.
        let is_gone = || sandbox::snapshot().is_subset(&with_guest);
        patiently("something is left", is_gone).await;
    });
}

#[test]
fn a_host_without_the_way_out_says_so() {
    sandboxed("routers::a_host_without_the_way_out_says_so", async {
        let rig = Rig::new().await;
        let legs = vec![leg(1, NETWORK, "10.1.0.1/24")];
        let out = want(ROUTER, 1, routing(legs, outlet(3, "203.0.113.5", true)));
        let error = rig.route(&out).await.unwrap_err().to_string();
        assert!(error.contains("no bridge br-public"), "{error}");
        let mut elsewhere = out.clone();
        elsewhere.generation = 2;
        let way = elsewhere.routing.as_mut().unwrap().outlet.as_mut().unwrap();
        way.physical_network = Some("moon".to_owned());
        let error = rig.route(&elsewhere).await.unwrap_err().to_string();
        assert!(error.contains("no bridge for physical network moon"), "{error}");
    });
}

#[test]
fn ipv6_is_routed_between_networks_too() {
    sandboxed("routers::ipv6_is_routed_between_networks_too", async {
        let [a] = hosts::<1>();
        let mut legs = [leg(1, NETWORK, "fd01::1/64"), leg(2, OTHER_NETWORK, "fd02::1/64")];
        legs[0].addresses.push("10.1.0.1/24".parse().unwrap());
        let wanted = want(ROUTER, 1, routing(legs.to_vec(), None));
        a.route(&wanted).await;
        let mut guests = Vec::new();
        for (number, network, subnet) in [(11, NETWORK, "fd01::"), (12, OTHER_NETWORK, "fd02::")] {
            let address = format!("{subnet}{number}/64");
            let guest = Guest::at(port(number), &mac(number), &[&address]);
            a.plug(&guest, tap(number, network)).await;
            guest.set(&["-6", "route", "add", "default", "via", &format!("{subnet}1")]);
            guests.push(guest);
        }
        let listener = guests[1].listen(80);
        patiently("nothing is routed", || guests[0].connect("[fd02::12]:80").is_ok()).await;
        assert_eq!(seen(&listener), "fd01::11".parse::<IpAddr>().unwrap());
        assert_eq!(a.generation(ROUTER).await, Some(1));
    });
}

#[test]
fn a_guest_whose_network_has_a_router_reads_its_metadata_on_its_own_host() {
    let name = "routers::a_guest_whose_network_has_a_router_reads_its_metadata_on_its_own_host";
    sandboxed(name, async {
        let rig = Rig::new().await;
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.filter(&filter_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        rig.route(&router_want(1)).await.unwrap();
        guest.ask_dhcp();
        let id = || guest.get("/latest/meta-data/instance-id");
        assert_eq!(id(), Ok(SERVER.to_string()));
        assert!(guest.pings("10.1.0.1"), "the router is there");
        rig.route(&RouterWant::absent(ROUTER, 2)).await.unwrap();
        assert_eq!(id(), Ok(SERVER.to_string()), "an isolated network has metadata too");
    });
}
