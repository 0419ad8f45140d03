//! What hosts are told of networks' tunnels, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde_json::json;
use updraft_network::{Config, rows::NetworkType};
use updraft_protocol::network::{Announce, OverlayWant, Server, Tunnel};
use updraft_runtime::rpc::{Cx, TraceContext};
use uuid::Uuid;

use crate::support::{A_WHILE, Cloud, Host, Net, Who, end, text};

/// What a change costs when no message is lost: far less than a rescan.
const SOON: Duration = Duration::from_secs(1);

/// A network with a port of the guest on the first host and one of another device on the second.
struct Scene {
    cloud: Cloud,
    net: Net,
    here: Uuid,
    there: Uuid,
}

impl Scene {
    async fn new() -> Self {
        let cloud = Cloud::new().await;
        let net = cloud.net("10.0.0.0/24").await;
        let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
        let here = info.ports[0].port;
        let there = bound(&cloud, &net, "host2").await;
        cloud.pass(SOON).await;
        Self { cloud, net, here, there }
    }

    fn network(&self) -> Uuid {
        self.net.network.parse().unwrap()
    }

    fn tunnel(&self, host: &Host) -> Option<Tunnel> {
        want(host, self.network())?.tunnel
    }

    async fn mac(&self, port: Uuid) -> String {
        text(&self.cloud.port(port).await, "mac_address").to_owned()
    }
}

fn want(host: &Host, network: Uuid) -> Option<OverlayWant> {
    host.state.lock().overlays.get(&network).cloned()
}

/// A port that an administrator binds to a host, for a guest that compute knows nothing of.
async fn bound(cloud: &Cloud, net: &Net, host: &str) -> Uuid {
    let port = json!({"network_id": net.network, "device_owner": "compute:nova",
        "device_id": Uuid::from_u128(0xD0).to_string(), "binding:host_id": host});
    text(&cloud.make(Who::Admin, "port", port).await, "id").parse().unwrap()
}

async fn announce(host: &Host, address: &str, incarnation: u64) {
    let physical_networks = BTreeSet::new();
    let said = Announce { address: address.parse().unwrap(), incarnation, physical_networks };
    let cx = Cx::new("network.l2", TraceContext::default());
    host.node.rpc().client::<Server>().call(&said, &cx).await.unwrap();
}

fn macs(macs: &[String]) -> BTreeSet<String> {
    macs.iter().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_of_one_another_with_the_ports_there() {
    let scene = Scene::new().await;
    let shown = scene.cloud.get(Who::Admin, &format!("/networks/{}", scene.net.network)).await;
    let vni = shown.json()["network"]["provider:segmentation_id"].as_u64().unwrap();
    let tunnel = |local: &str, peer: &str, mac: String| Tunnel {
        vni: vni.try_into().unwrap(),
        mtu: 1450,
        local: end(local),
        peers: BTreeMap::from([(end(peer), macs(&[mac]))]),
    };
    let (here, there) = (scene.mac(scene.here).await, scene.mac(scene.there).await);
    assert_eq!(scene.tunnel(&scene.cloud.host1), Some(tunnel("host1", "host2", there)));
    assert_eq!(scene.tunnel(&scene.cloud.host2), Some(tunnel("host2", "host1", here)));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_is_forgotten_and_the_last_of_a_host_takes_its_tunnel_along() {
    let scene = Scene::new().await;
    let other = bound(&scene.cloud, &scene.net, "host2").await;
    scene.cloud.pass(SOON).await;
    let (there, other_mac) = (scene.mac(scene.there).await, scene.mac(other).await);
    let told = || scene.tunnel(&scene.cloud.host1).unwrap().peers;
    assert_eq!(told(), BTreeMap::from([(end("host2"), macs(&[there, other_mac.clone()]))]));
    scene.cloud.delete(Who::Admin, &format!("/ports/{}", scene.there)).await.is(204);
    scene.cloud.pass(SOON).await;
    assert_eq!(told(), BTreeMap::from([(end("host2"), macs(&[other_mac]))]));
    scene.cloud.delete(Who::Admin, &format!("/ports/{other}")).await.is(204);
    scene.cloud.pass(SOON).await;
    assert_eq!(told(), BTreeMap::new());
    assert_eq!(want(&scene.cloud.host2, scene.network()).unwrap().tunnel, None);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_moves_is_told_at_its_new_host() {
    let scene = Scene::new().await;
    let (mac, there) = (scene.mac(scene.here).await, scene.mac(scene.there).await);
    let cloud = &scene.cloud;
    cloud.allocate(&cloud.host2, 2, vec![scene.net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    assert_eq!(scene.tunnel(&cloud.host1), None, "no port is left there");
    assert_eq!(scene.tunnel(&cloud.host2).unwrap().peers, BTreeMap::new());
    let next = bound(cloud, &scene.net, "host1").await;
    cloud.pass(SOON).await;
    let peers = scene.tunnel(&cloud.host1).unwrap().peers;
    assert_eq!(peers, BTreeMap::from([(end("host2"), macs(&[mac, there]))]));
    assert_eq!(text(&cloud.port(next).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn a_port_is_not_up_before_its_host_has_the_tunnel() {
    let cloud = Cloud::new().await;
    cloud.host1.state.lock().deaf_to_overlays = true;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap().ports[0].port;
    cloud.pass(SOON).await;
    assert_eq!(text(&cloud.port(port).await, "status"), "BUILD");
    assert_eq!(cloud.host1.state.lock().plugged(), [port]);
    cloud.host1.state.lock().deaf_to_overlays = false;
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(port).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn what_a_port_is_doing_is_no_news_to_other_hosts() {
    let scene = Scene::new().await;
    let generations = || {
        let of = |host: &Host| want(host, scene.network()).unwrap().generation;
        (of(&scene.cloud.host1), of(&scene.cloud.host2))
    };
    let before = generations();
    for body in [json!({"name": "x"}), json!({"admin_state_up": false})] {
        let path = format!("/ports/{}", scene.there);
        scene.cloud.put(Who::Admin, &path, json!({ "port": body })).await.is(200);
    }
    let unbound = json!({"network_id": scene.net.network});
    scene.cloud.make(Who::Member, "port", unbound).await;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(generations(), before);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_reached_elsewhere_is_reached_there_by_all() {
    let scene = Scene::new().await;
    let there = |scene: &Scene| -> Vec<IpAddr> {
        scene.tunnel(&scene.cloud.host1).unwrap().peers.into_keys().collect()
    };
    announce(&scene.cloud.host2, "192.0.2.99", 2).await;
    scene.cloud.pass(SOON).await;
    let moved: IpAddr = "192.0.2.99".parse().unwrap();
    assert_eq!(there(&scene), [moved]);
    assert_eq!(scene.tunnel(&scene.cloud.host2).unwrap().local, moved);
    announce(&scene.cloud.host2, "192.0.2.1", 1).await;
    scene.cloud.pass(SOON).await;
    assert_eq!(there(&scene), [moved], "an earlier start spoke late");
}

#[tokio::test(start_paused = true)]
async fn the_largest_packet_of_a_network_is_the_same_everywhere_and_when_it_changes_too() {
    let scene = Scene::new().await;
    let mtus = || {
        let host = scene.cloud.host1.state.lock();
        let tunnel = host.overlays[&scene.network()].tunnel.as_ref().unwrap().mtu;
        (tunnel, host.ports[&scene.here].mtu, host.dhcp[&scene.network()].mtu)
    };
    assert_eq!(mtus(), (1450, 1450, 1450));
    let path = format!("/networks/{}", scene.net.network);
    scene.cloud.put(Who::Member, &path, json!({"network": {"mtu": 1400}})).await.is(200);
    scene.cloud.pass(SOON).await;
    assert_eq!(mtus(), (1400, 1400, 1400));
}

#[tokio::test(start_paused = true)]
async fn networks_in_tunnels_have_what_the_physical_network_leaves_them() {
    let config = Config { physical_mtu: 9_000, ..Config::default() };
    let cloud = Cloud::with(config).await;
    let net = cloud.net("10.0.0.0/24").await;
    let shown = cloud.get(Who::Member, &format!("/networks/{}", net.network)).await.json();
    assert_eq!(shown["network"]["mtu"], 8_950);
    let flat = cloud.external("203.0.113.0/24").await;
    let shown = cloud.get(Who::Admin, &format!("/networks/{}", flat.network)).await.json();
    assert_eq!(shown["network"]["mtu"], 9_000);
    let larger = json!({"network": {"name": "n", "mtu": 8_951}});
    cloud.post(Who::Member, "/networks", larger).await.is(400);
}

#[tokio::test(start_paused = true)]
async fn a_network_within_each_host_has_no_tunnel() {
    let config = Config { network_type: NetworkType::Local, ..Config::default() };
    let cloud = Cloud::with(config).await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap().ports[0].port;
    cloud.pass(SOON).await;
    assert_eq!(text(&cloud.port(port).await, "status"), "ACTIVE");
    assert!(cloud.host1.state.lock().overlays.is_empty());
    assert_eq!(cloud.keys("network/overlay/").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_tunnels_goes_with_the_network() {
    let scene = Scene::new().await;
    assert_eq!(scene.cloud.keys("network/overlay/").await.len(), 2);
    scene.cloud.release(2).await.unwrap();
    scene.cloud.delete(Who::Admin, &format!("/ports/{}", scene.there)).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(scene.cloud.keys("network/overlay/").await.len(), 2, "generations are remembered");
    scene.cloud.delete(Who::Member, &format!("/networks/{}", scene.net.network)).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(scene.cloud.keys("network/overlay/").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_where_tunnels_end_until_the_agent_is_deleted() {
    let scene = Scene::new().await;
    let agents = || async {
        let path = "/agents?host=host2&agent_type=L2%20agent";
        scene.cloud.get(Who::Admin, path).await.is(200).list("agents")
    };
    let agent = agents().await.remove(0);
    assert_eq!(agent["configurations"]["tunneling_ip"], json!(end("host2")));
    scene.cloud.host2.node.stop().await;
    scene.cloud.pass(A_WHILE).await;
    let path = format!("/agents/{}", text(&agent, "id"));
    scene.cloud.delete(Who::Admin, &path).await.is(204);
    assert_eq!(scene.cloud.keys("network/tunnel/").await, ["network/tunnel/host1"]);
}
