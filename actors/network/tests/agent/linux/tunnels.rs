//! Networks across hosts: each host is a namespace with drivers of its own, on a cable to the others.

use std::collections::{BTreeMap, BTreeSet};

use updraft_network::driver::{L2Driver, TapSpec, names};
use updraft_protocol::network::{
    DhcpWant, Direction, OverlayWant, Peer, Tunnel, protocol_number::ICMP,
};
use uuid::Uuid;

use super::{
    super::world::*,
    guest::Guest,
    hosts::{Host, guest, guest_with, hosts, mac, port, tap},
    rig::patiently,
    sandbox::{output_of, sandboxed},
};

/// The number of [`NETWORK`]'s tunnels.
const VNI: u32 = 7;

const OTHER_NETWORK: Uuid = Uuid::from_u128(0xBBBB_0002_0000_4000_8000_0000_0000_0002);

/// Two guests of one network, each on a host of its own.
async fn two_guests() -> ([Host; 2], [Guest; 2]) {
    let (hosts, guests) = (hosts::<2>(), [guest(11), guest(12)]);
    for ((host, guest), number) in hosts.iter().zip(&guests).zip([11, 12]) {
        host.plug(guest, tap(number, NETWORK)).await;
    }
    (hosts, guests)
}

/// The same, whose hosts reach each other.
async fn connected() -> ([Host; 2], [Guest; 2]) {
    let (hosts, guests) = two_guests().await;
    hosts[0].reach(NETWORK, VNI, 1, &[(2, &[12])]).await;
    hosts[1].reach(NETWORK, VNI, 1, &[(1, &[11])]).await;
    patiently("one never reached the other", || guests[0].pings("10.1.0.12")).await;
    (hosts, guests)
}

#[test]
fn guests_on_two_hosts_reach_each_other() {
    sandboxed("tunnels::guests_on_two_hosts_reach_each_other", async {
        let ([a, b], [one, two]) = two_guests().await;
        assert!(!one.pings("10.1.0.12"), "there is no tunnel yet");
        a.reach(NETWORK, VNI, 1, &[(2, &[12])]).await;
        b.reach(NETWORK, VNI, 1, &[(1, &[11])]).await;
        patiently("one never reached the other", || one.pings("10.1.0.12")).await;
        assert!(two.pings("10.1.0.11"));
        assert!(a.sent(NETWORK) > 0 && b.sent(NETWORK) > 0);
    });
}

#[test]
fn the_largest_packet_of_the_network_fits_the_cable_between_hosts() {
    sandboxed("tunnels::the_largest_packet_of_the_network_fits_the_cable_between_hosts", async {
        let ([a, _b], [one, two]) = connected().await;
        for guest in [&one, &two] {
            guest.set(&["link", "set", "dev", "eth0", "mtu", "1450"]);
        }
        // 1450 bytes with the headers of IP and ICMP.
        assert!(one.pings_with("10.1.0.12", 1422));
        let cable = output_of("ip", &["-n", "h1", "-s", "-j", "link", "show", "dev", "eth0"]);
        let cable: serde_json::Value = serde_json::from_str(&cable).unwrap();
        assert_eq!(cable[0]["mtu"], 1500);
        assert_eq!(cable[0]["stats64"]["tx"]["errors"], 0);
        for device in [names::bridge(NETWORK), names::overlay(NETWORK), names::tap(port(11))] {
            let shown = output_of("ip", &["-n", "h1", "link", "show", "dev", &device]);
            assert!(shown.contains("mtu 1450"), "{shown}");
        }
        // None of it was sent in pieces.
        let counted = output_of("ip", &["netns", "exec", "h1", "cat", "/proc/net/snmp"]);
        let mut ip = counted.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (heads, values) = (ip.next().unwrap(), ip.next().unwrap());
        let mut pairs = heads.split(' ').zip(values.split(' '));
        assert_eq!(pairs.find(|(head, _)| *head == "FragCreates"), Some(("FragCreates", "0")));
        assert!(a.sent(NETWORK) > 0);
    });
}

#[test]
fn what_is_for_an_address_that_nobody_has_leaves_no_host() {
    sandboxed("tunnels::what_is_for_an_address_that_nobody_has_leaves_no_host", async {
        let ([a, _b], [one, _two]) = connected().await;
        for (last, mac) in [(98, "fa:16:3e:00:00:0c"), (99, "fa:16:3e:ff:ff:ff")] {
            let address = format!("10.1.0.{last}");
            one.set(&["neighbour", "add", &address, "lladdr", mac, "dev", "eth0"]);
        }
        let before = a.sent(NETWORK);
        one.sends("10.1.0.99:9", 100);
        // A guest's own questions for all are sent, which are few.
        let sent = a.sent(NETWORK) - before;
        assert!(sent < 50, "{sent} frames were sent, though nobody has their MAC address");
        one.sends("10.1.0.98:9", 100);
        assert!(a.sent(NETWORK) - before >= 100, "somebody has this one's");
    });
}

#[test]
fn two_networks_with_the_same_addresses_stay_apart() {
    sandboxed("tunnels::two_networks_with_the_same_addresses_stay_apart", async {
        let ([a, b], [one, two]) = connected().await;
        let (twin, other) = (guest_with(21, 11), guest_with(22, 12));
        a.plug(&twin, tap(21, OTHER_NETWORK)).await;
        b.plug(&other, tap(22, OTHER_NETWORK)).await;
        a.reach(OTHER_NETWORK, VNI + 1, 1, &[(2, &[22])]).await;
        b.reach(OTHER_NETWORK, VNI + 1, 1, &[(1, &[21])]).await;
        patiently("the other network never worked", || twin.pings("10.1.0.12")).await;
        let _first = two.listen(1001);
        let _second = other.listen(1002);
        assert!(one.connect("10.1.0.12:1001").is_ok());
        assert!(one.connect("10.1.0.12:1002").is_err(), "it is in the other network");
        assert!(twin.connect("10.1.0.12:1002").is_ok());
        assert!(twin.connect("10.1.0.12:1001").is_err(), "it is in the other network");
    });
}

#[test]
fn a_port_that_moves_is_reached_at_its_new_host_and_back_at_the_sender() {
    sandboxed(
        "tunnels::a_port_that_moves_is_reached_at_its_new_host_and_back_at_the_sender",
        async {
            let [a, b, c] = hosts::<3>();
            let (one, two) = (guest(11), guest(12));
            a.plug(&one, tap(11, NETWORK)).await;
            b.plug(&two, tap(12, NETWORK)).await;
            a.reach(NETWORK, VNI, 1, &[(2, &[12])]).await;
            b.reach(NETWORK, VNI, 1, &[(1, &[11])]).await;
            patiently("one never reached the other", || one.pings("10.1.0.12")).await;
            b.unplug(port(12));
            b.overlay(&OverlayWant::absent(NETWORK, 2)).await;
            c.plug(&two, tap(12, NETWORK)).await;
            c.reach(NETWORK, VNI, 1, &[(1, &[11])]).await;
            a.reach(NETWORK, VNI, 2, &[(3, &[12])]).await;
            patiently("it is not reached at its new host", || one.pings("10.1.0.12")).await;
            assert!(!a.entries(NETWORK).contains(&end(2).to_string()), "{}", a.entries(NETWORK));
            c.unplug(port(12));
            c.overlay(&OverlayWant::absent(NETWORK, 2)).await;
            a.plug(&two, tap(12, NETWORK)).await;
            a.reach(NETWORK, VNI, 3, &[]).await;
            patiently("it is not reached at the sender's host", || one.pings("10.1.0.12")).await;
            assert!(!a.entries(NETWORK).contains(&mac(12)), "{}", a.entries(NETWORK));
            b.plug(&guest(13), tap(13, NETWORK)).await;
            b.reach(NETWORK, VNI, 3, &[(1, &[11, 12])]).await;
            assert!(b.entries(NETWORK).contains(&mac(12)), "{}", b.entries(NETWORK));
        },
    );
}

#[test]
fn entries_of_deleted_ports_go_and_those_of_others_stay() {
    sandboxed("tunnels::entries_of_deleted_ports_go_and_those_of_others_stay", async {
        let ([a, _b], [one, _two]) = connected().await;
        a.reach(NETWORK, VNI, 2, &[(2, &[12, 13])]).await;
        assert_eq!(a.entries(NETWORK).matches(&mac(13)).count(), 2, "{}", a.entries(NETWORK));
        a.reach(NETWORK, VNI, 3, &[(2, &[12])]).await;
        assert!(!a.entries(NETWORK).contains(&mac(13)), "{}", a.entries(NETWORK));
        assert!(one.pings("10.1.0.12"));
        a.reach(NETWORK, VNI, 4, &[]).await;
        assert!(!a.entries(NETWORK).contains("dst"), "{}", a.entries(NETWORK));
        assert!(!one.pings("10.1.0.12"));
        a.overlay(&OverlayWant::absent(NETWORK, 5)).await;
        let devices = output_of("ip", &["-n", "h1", "-br", "link", "show"]);
        assert!(!devices.contains("vxl"), "{devices}");
    });
}

#[test]
fn each_host_serves_dhcp_to_its_own_guests_alone() {
    sandboxed("tunnels::each_host_serves_dhcp_to_its_own_guests_alone", async {
        let ([a, b], [one, two]) = connected().await;
        a.serve(DhcpWant { leases: vec![lease(SERVER, 11)], ..dhcp_want(1) }).await;
        b.serve(DhcpWant { leases: vec![lease(OTHER_SERVER, 12)], ..dhcp_want(1) }).await;
        for guest in [&one, &two] {
            patiently("its host's own server does not answer", || guest.pings("10.1.0.2")).await;
        }
        let server_of = |guest: &Guest| guest.neighbour("10.1.0.2");
        assert_ne!(server_of(&one), server_of(&two), "both speak with one server");
        a.stop(NETWORK).await;
        one.set(&["neighbour", "flush", "all"]);
        assert!(!one.pings("10.1.0.2"), "another host's server answers");
        assert!(two.pings("10.1.0.2") && two.pings("10.1.0.11"));
    });
}

#[test]
fn security_groups_hold_for_what_comes_from_other_hosts() {
    sandboxed("tunnels::security_groups_hold_for_what_comes_from_other_hosts", async {
        let ([_a, b], [one, _two]) = connected().await;
        let secured =
            TapSpec { secured: true, generation: 2, groups: [GROUP].into(), ..tap(12, NETWORK) };
        b.plug(&_two, secured).await;
        b.filter(filter_want(1)).await;
        assert!(!one.pings("10.1.0.12"), "the group lets nothing in");
        let mut open = filter_want(2);
        open.rules.push(rule(Direction::Ingress, Some(ICMP), Peer::Any));
        b.filter(open).await;
        patiently("what the group lets in does not arrive", || one.pings("10.1.0.12")).await;
        let refused = _two.listen(80);
        assert!(one.connect("10.1.0.12:80").is_err(), "{refused:?} is not let in");
    });
}

#[test]
fn a_tunnel_that_is_not_as_it_was_made_is_found_so() {
    sandboxed("tunnels::a_tunnel_that_is_not_as_it_was_made_is_found_so", async {
        let ([a, _b], _guests) = connected().await;
        let look = async || {
            let l2 = a.l2.clone();
            let mut found = a.run(async move { l2.inventory().await }).await;
            found.overlays.remove(&names::overlay(NETWORK)).unwrap()
        };
        let whole = look().await;
        assert_eq!(whole.network, Some((NETWORK, 1)));
        assert_eq!(whole.bridge, Some(names::bridge(NETWORK)));
        let peers = BTreeMap::from([(end(2), BTreeSet::from([mac(12)]))]);
        let tunnel = Tunnel { vni: VNI, mtu: 1450, local: end(1), peers };
        assert_eq!(whole.tunnel, Some(tunnel));
        let device = names::overlay(NETWORK);
        let meddle = |words: &[&str]| output_of("bridge", &[&["-n", "h1"], words].concat());
        let again = async |generation| a.reach(NETWORK, VNI, generation, &[(2, &[12])]).await;
        meddle(&["fdb", "delete", &mac(12), "dev", &device, "master"]);
        assert_ne!(look().await, whole);
        again(1).await;
        assert_eq!(look().await, whole);
        meddle(&["fdb", "append", "00:00:00:00:00:00", "dev", &device, "dst", "192.0.2.77"]);
        assert_ne!(look().await, whole);
        again(1).await;
        assert_eq!(look().await, whole);
        meddle(&["link", "set", "dev", &device, "flood", "on"]);
        assert_eq!(look().await.tunnel, None);
        again(1).await;
        assert_eq!(look().await, whole);
    });
}
