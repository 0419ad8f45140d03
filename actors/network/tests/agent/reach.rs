//! What a frame reaches on simulated hosts, as on real ones.

use std::collections::{BTreeMap, BTreeSet};

use updraft_network::driver::{
    L2Driver, L3Driver, TapSpec,
    sim::{Frame, SimHost, SimState, reached},
};
use updraft_protocol::network::{OverlayWant, Tunnel};
use updraft_runtime::Env;
use uuid::Uuid;

use super::world::*;

const HERE: Uuid = Uuid::from_u128(11 << 96);
const BESIDE: Uuid = Uuid::from_u128(12 << 96);
const THERE: Uuid = Uuid::from_u128(13 << 96);

fn mac(port: Uuid) -> String {
    format!("fa:16:3e:00:00:{:02x}", port.as_u128() >> 96)
}

async fn plug(host: &SimHost, port: Uuid, network: Uuid) {
    let spec = TapSpec {
        port,
        generation: 1,
        network,
        mac_address: mac(port),
        addresses: Vec::new(),
        mtu: 1450,
        secured: false,
        groups: BTreeSet::new(),
        pairs: BTreeSet::new(),
    };
    host.ensure_bridge(network, 1450).await.unwrap();
    host.ensure_tap(&spec).await.unwrap();
}

/// The network's tunnel of a host that is told of one other.
async fn tunnel(host: &SimHost, generation: u64, vni: u32, own: u8, peer: (u8, &[Uuid])) {
    let macs = peer.1.iter().map(|port| mac(*port)).collect();
    let peers = BTreeMap::from([(end(peer.0), macs)]);
    let tunnel = Some(Tunnel { vni, mtu: 1450, local: end(own), peers });
    host.ensure_overlay(&OverlayWant { network: NETWORK, generation, tunnel }).await.unwrap();
}

/// Two ports of a network on one host and one on another; the hosts reach each other.
async fn scene() -> [SimHost; 2] {
    let hosts = [SimHost::new(Env::real()), SimHost::new(Env::real())];
    plug(&hosts[0], HERE, NETWORK).await;
    plug(&hosts[0], BESIDE, NETWORK).await;
    plug(&hosts[1], THERE, NETWORK).await;
    tunnel(&hosts[0], 1, 7, 1, (2, &[THERE])).await;
    tunnel(&hosts[1], 1, 7, 2, (1, &[HERE, BESIDE])).await;
    hosts
}

fn heard(hosts: &[SimHost], from: Uuid, frame: Frame<'_>) -> BTreeSet<Uuid> {
    let states: Vec<SimState> = hosts.iter().map(SimHost::state).collect();
    reached(&states.iter().collect::<Vec<_>>(), from, frame)
}

fn to(hosts: &[SimHost], from: Uuid, port: Uuid) -> bool {
    heard(hosts, from, Frame::Unicast(&mac(port))) == BTreeSet::from([port])
}

#[tokio::test]
async fn what_is_for_all_reaches_all_ports_of_the_network_and_no_other() {
    let hosts = scene().await;
    plug(&hosts[1], SERVER, OTHER_SERVER).await;
    assert_eq!(heard(&hosts, HERE, Frame::Broadcast), BTreeSet::from([BESIDE, THERE]));
    assert_eq!(heard(&hosts, THERE, Frame::Broadcast), BTreeSet::from([HERE, BESIDE]));
    assert_eq!(heard(&hosts, SERVER, Frame::Broadcast), BTreeSet::new());
}

#[tokio::test]
async fn what_is_for_one_reaches_it_wherever_it_is() {
    let hosts = scene().await;
    for (from, port) in [(HERE, BESIDE), (HERE, THERE), (THERE, HERE), (THERE, BESIDE)] {
        assert!(to(&hosts, from, port), "{from} does not reach {port}");
    }
    assert_eq!(heard(&hosts, HERE, Frame::Unicast(&mac(SERVER))), BTreeSet::new());
}

#[tokio::test]
async fn a_port_of_which_a_host_is_not_told_is_reached_by_what_is_for_all_alone() {
    let hosts = scene().await;
    tunnel(&hosts[0], 2, 7, 1, (2, &[])).await;
    assert!(!to(&hosts, HERE, THERE) && to(&hosts, THERE, HERE));
    assert_eq!(heard(&hosts, HERE, Frame::Broadcast), BTreeSet::from([BESIDE, THERE]));
}

#[tokio::test]
async fn tunnels_of_different_numbers_or_to_elsewhere_carry_nothing() {
    let hosts = scene().await;
    tunnel(&hosts[1], 2, 8, 2, (1, &[HERE])).await;
    assert_eq!(heard(&hosts, HERE, Frame::Broadcast), BTreeSet::from([BESIDE]));
    tunnel(&hosts[1], 3, 7, 3, (1, &[HERE])).await;
    assert_eq!(heard(&hosts, HERE, Frame::Broadcast), BTreeSet::from([BESIDE]));
    hosts[1].remove_overlay(NETWORK).await.unwrap();
    assert_eq!(heard(&hosts, HERE, Frame::Broadcast), BTreeSet::from([BESIDE]));
}

#[tokio::test]
async fn a_tunnel_is_not_made_older_than_it_is_nor_without_a_bridge() {
    let hosts = scene().await;
    let before = hosts[0].state();
    let older = OverlayWant { generation: 0, ..overlay_want(0) };
    assert!(hosts[0].ensure_overlay(&older).await.unwrap_err().to_string().contains("older"));
    assert_eq!(hosts[0].state(), before);
    let bare = SimHost::new(Env::real());
    let error = bare.ensure_overlay(&overlay_want(1)).await.unwrap_err();
    assert!(error.chain().contains("no such bridge"), "{}", error.chain());
}

#[tokio::test]
async fn a_router_is_heard_and_hears_as_a_port_does() {
    let hosts = scene().await;
    let want = router_want(1);
    hosts[1].ensure_router(&want).await.unwrap();
    let leg = want.routing.unwrap().legs.remove(0);
    let to_router = |hosts: &[SimHost]| heard(hosts, HERE, Frame::Unicast(&leg.mac_address));
    assert_eq!(to_router(&hosts), BTreeSet::new(), "its host was not told of");
    assert!(heard(&hosts, HERE, Frame::Broadcast).contains(&leg.port));
    let macs = BTreeSet::from([mac(THERE), leg.mac_address.clone()]);
    let tunnel = Tunnel { vni: 7, mtu: 1450, local: end(1), peers: [(end(2), macs)].into() };
    let overlay = OverlayWant { network: NETWORK, generation: 2, tunnel: Some(tunnel) };
    hosts[0].ensure_overlay(&overlay).await.unwrap();
    assert_eq!(to_router(&hosts), BTreeSet::from([leg.port]));
    hosts[1].remove_router(ROUTER, 2).await.unwrap();
    assert_eq!(to_router(&hosts), BTreeSet::new());
}
