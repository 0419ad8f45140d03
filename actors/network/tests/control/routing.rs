//! What hosts are told of routers, and what clients see of it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::{Value, json};
use updraft_protocol::network::{GetRouter, RouterWant, Routing, Server};
use updraft_runtime::rpc::{Cx, Fault, FaultKind, TraceContext};
use uuid::Uuid;

use crate::support::{A_WHILE, Cloud, Host, Net, Who, text};

/// What a change costs when no message is lost: far less than a rescan.
const SOON: Duration = Duration::from_secs(1);

/// A router between a network and an external one, and a guest's port on the first.
struct Scene {
    cloud: Cloud,
    inner: Net,
    outer: Net,
    router: String,
}

impl Scene {
    async fn new() -> Self {
        let cloud = Cloud::new().await;
        let (inner, outer) =
            (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await);
        let router = cloud.router_between(&inner, &outer).await;
        cloud.pass(SOON).await;
        Self { cloud, inner, outer, router }
    }

    fn id(&self) -> Uuid {
        self.router.parse().unwrap()
    }

    fn hosts(&self) -> [(&'static str, &Host); 2] {
        [("host1", &self.cloud.host1), ("host2", &self.cloud.host2)]
    }

    /// The hosts that have the router.
    fn places(&self) -> Vec<&'static str> {
        let has = |host: &Host| told(host, self.id()).is_some_and(|want| want.routing.is_some());
        self.hosts().into_iter().filter(|(_, host)| has(host)).map(|(name, _)| name).collect()
    }

    fn host(&self, name: &str) -> &Host {
        if name == "host1" { &self.cloud.host1 } else { &self.cloud.host2 }
    }

    fn routing(&self) -> Routing {
        told(self.host(self.places()[0]), self.id()).unwrap().routing.unwrap()
    }

    async fn shown(&self, what: &str, id: &str) -> Value {
        let shown = self.cloud.get(Who::Admin, &format!("/{what}s/{id}")).await;
        shown.is(200).json()[what].clone()
    }

    async fn status(&self) -> String {
        text(&self.shown("router", &self.router).await, "status").to_owned()
    }

    async fn change(&self, router: Value) {
        let path = format!("/routers/{}", self.router);
        self.cloud.put(Who::Admin, &path, json!({ "router": router })).await.is(200);
        self.cloud.pass(SOON).await;
    }

    async fn ports(&self, owner: &str) -> Vec<Value> {
        let path = format!("/ports?device_id={}&device_owner={owner}", self.router);
        self.cloud.get(Who::Admin, &path).await.list("ports")
    }

    /// A port with a floating IP that leads to it: their ids.
    async fn floating(&self, inner: &Net) -> (String, String) {
        let port = self.cloud.make(Who::Member, "port", json!({"network_id": inner.network})).await;
        let body = json!({"floating_network_id": self.outer.network, "port_id": port["id"]});
        let floating = self.cloud.make(Who::Member, "floatingip", body).await;
        (text(&floating, "id").to_owned(), text(&port, "id").to_owned())
    }

    /// Whether an operator lets a host have routers.
    async fn enable(&self, host: &str, enabled: bool) {
        let path = format!("/agents/{}", self.agent(host).await);
        let body = json!({"agent": {"admin_state_up": enabled}});
        self.cloud.put(Who::Admin, &path, body).await.is(200);
    }

    async fn agent(&self, host: &str) -> String {
        text(&self.shown_agent(host).await, "id").to_owned()
    }

    async fn shown_agent(&self, host: &str) -> Value {
        let path = format!("/agents?host={host}&agent_type=L2%20agent");
        self.cloud.get(Who::Admin, &path).await.list("agents").remove(0)
    }
}

fn told(host: &Host, router: Uuid) -> Option<RouterWant> {
    host.state.lock().routers.get(&router).cloned()
}

async fn asked(host: &Host, router: Uuid) -> Option<RouterWant> {
    let cx = Cx::new("network.l2", TraceContext::default());
    host.node.rpc().client::<Server>().call(&GetRouter { router }, &cx).await.unwrap()
}

fn address(value: &Value) -> IpAddr {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_host_is_told_of_a_router_with_all_that_it_does() {
    let scene = Scene::new().await;
    assert_eq!(scene.places().len(), 1);
    scene.change(json!({"routes": [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.7"}]})).await;
    let (floating, port) = scene.floating(&scene.inner).await;
    scene.cloud.pass(SOON).await;
    let (floating, port) =
        (scene.shown("floatingip", &floating).await, scene.shown("port", &port).await);
    let Routing { legs, outlet, routes, floating: told } = scene.routing();
    let (way, inner) = (&scene.ports("network:router_gateway").await[0], &legs[0]);
    assert_eq!(legs.len(), 1);
    assert_eq!((inner.network.to_string(), inner.mtu), (scene.inner.network.clone(), 1450));
    assert_eq!(inner.addresses, ["10.0.0.1/24".parse().unwrap()]);
    let outlet = outlet.unwrap();
    assert_eq!(outlet.leg.mac_address, text(way, "mac_address"));
    assert_eq!(outlet.leg.addresses[0].addr(), address(&way["fixed_ips"][0]["ip_address"]));
    assert_eq!(outlet.physical_network.as_deref(), Some("public"));
    assert_eq!((outlet.hops, outlet.snat), (vec![IpAddr::from([172, 24, 4, 1])], true));
    assert_eq!(routes, [("10.9.0.0/24".parse().unwrap(), IpAddr::from([10, 0, 0, 7]))]);
    assert_eq!(told.len(), 1);
    assert_eq!(IpAddr::from(told[0].address), address(&floating["floating_ip_address"]));
    assert_eq!(IpAddr::from(told[0].fixed), address(&port["fixed_ips"][0]["ip_address"]));
}

#[tokio::test(start_paused = true)]
async fn other_hosts_of_the_network_reach_the_router_by_their_tunnels() {
    let scene = Scene::new().await;
    let place = scene.places()[0];
    let other = scene.hosts().into_iter().find(|(name, _)| *name != place).unwrap();
    let body = json!({"network_id": scene.inner.network, "device_owner": "compute:nova",
        "device_id": Uuid::from_u128(0xD0).to_string(), "binding:host_id": other.0});
    let guest = scene.cloud.make(Who::Admin, "port", body).await;
    scene.cloud.pass(SOON).await;
    let network: Uuid = scene.inner.network.parse().unwrap();
    let peers = |host: &Host| {
        let tunnel = host.state.lock().overlays[&network].tunnel.clone().unwrap();
        tunnel.peers.into_values().flatten().collect::<Vec<String>>()
    };
    let interface = &scene.ports("network:router_interface").await[0];
    assert_eq!(peers(other.1), [text(interface, "mac_address")]);
    assert_eq!(peers(scene.host(place)), [text(&guest, "mac_address")]);
    assert_eq!(text(interface, "binding:host_id"), place);
    let configured = scene.shown_agent(place).await["configurations"].clone();
    assert_eq!(
        (&configured["routers"], &configured["physical_networks"][0]),
        (&json!(1), &json!("public"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_router_and_its_floating_ips_are_active_only_when_its_host_says_so() {
    let scene = Scene::new().await;
    assert_eq!(scene.status().await, "ACTIVE");
    let place = scene.places()[0];
    scene.host(place).state.lock().deaf = true;
    let (floating, port) = scene.floating(&scene.inner).await;
    let status = async || text(&scene.shown("floatingip", &floating).await, "status").to_owned();
    scene.cloud.pass(SOON).await;
    assert_eq!(status().await, "ERROR", "its host says that it cannot");
    assert_eq!(scene.status().await, "ACTIVE", "what it was made of before goes on");
    scene.host(place).state.lock().deaf = false;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(status().await, "ACTIVE");
    let path = format!("/floatingips/{floating}");
    let body = json!({"floatingip": {"port_id": null}});
    scene.cloud.put(Who::Member, &path, body).await.is(200);
    assert_eq!(status().await, "DOWN");
    let body = json!({"floatingip": {"port_id": port}});
    scene.cloud.put(Who::Member, &path, body).await.is(200);
    scene.cloud.pass(SOON).await;
    assert_eq!(status().await, "ACTIVE");
    scene.change(json!({"admin_state_up": false})).await;
    assert_eq!((scene.status().await, status().await), ("DOWN".to_owned(), "DOWN".to_owned()));
    assert_eq!(scene.places(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_router_that_its_host_cannot_have_is_in_error_until_it_can() {
    let cloud = Cloud::new().await;
    let why = Fault::new(FaultKind::Unavailable, "NotYetApplied", "no bridge br-public");
    for host in [&cloud.host1, &cloud.host2] {
        host.state.lock().routers_refused = Some(why.clone());
    }
    let (inner, outer) = (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await);
    let router = cloud.router_between(&inner, &outer).await;
    cloud.pass(SOON).await;
    let scene = Scene { cloud, inner, outer, router };
    assert_eq!(scene.status().await, "ERROR");
    assert_eq!(text(&scene.ports("network:router_interface").await[0], "status"), "BUILD");
    for (_, host) in scene.hosts() {
        host.state.lock().routers_refused = None;
    }
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(scene.status().await, "ACTIVE");
    assert_eq!(text(&scene.ports("network:router_interface").await[0], "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn a_router_moves_when_its_operator_says_so_and_never_has_two_hosts() {
    let scene = Scene::new().await;
    let (first, second) = match scene.places()[0] {
        "host1" => ("host1", "host2"),
        _ => ("host2", "host1"),
    };
    scene.host(first).state.lock().deaf = true;
    scene.enable(first, false).await;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(told(scene.host(second), scene.id()), None, "the first has not let go");
    assert_eq!(asked(scene.host(second), scene.id()).await, None);
    assert_eq!(asked(scene.host(first), scene.id()).await.unwrap().routing, None);
    scene.host(first).state.lock().deaf = false;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(scene.places(), [second]);
    assert_eq!(scene.status().await, "ACTIVE");
    let interface = &scene.ports("network:router_interface").await[0];
    assert_eq!(text(interface, "binding:host_id"), second);
}

#[tokio::test(start_paused = true)]
async fn a_router_leaves_a_silent_host_only_by_its_operators_word() {
    let scene = Scene::new().await;
    let place = scene.places()[0];
    let second = if place == "host1" { "host2" } else { "host1" };
    scene.host(place).node.stop().await;
    scene.cloud.pass(A_WHILE * 3).await;
    assert_eq!(told(scene.host(second), scene.id()), None, "it may only be cut off");
    let agent = scene.agent(place).await;
    scene.cloud.delete(Who::Admin, &format!("/agents/{agent}")).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    assert!(told(scene.host(second), scene.id()).unwrap().routing.is_some());
    assert_eq!(scene.status().await, "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn what_a_host_may_still_have_is_nobody_elses_and_goes_when_it_has_let_go() {
    let scene = Scene::new().await;
    let place = scene.places()[0];
    let (floating, _) = scene.floating(&scene.inner).await;
    scene.cloud.pass(SOON).await;
    scene.host(place).state.lock().deaf = true;
    scene.cloud.delete(Who::Member, &format!("/floatingips/{floating}")).await.is(204);
    let remove = format!("/routers/{}/remove_router_interface", scene.router);
    let body = json!({"subnet_id": scene.inner.subnet});
    scene.cloud.put(Who::Member, &remove, body).await.is(200);
    scene.cloud.delete(Who::Member, &format!("/routers/{}", scene.router)).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    let gone = scene.cloud.get(Who::Member, &format!("/routers/{}", scene.router)).await;
    gone.refuses(404, "RouterNotFound", &scene.router);
    assert_eq!(scene.cloud.get(Who::Admin, "/routers").await.list("routers").len(), 0);
    let path = format!("/subnets/{}", scene.inner.subnet);
    let taken = scene.cloud.make(Who::Member, "router", json!({"name": "next"})).await;
    let add = format!("/routers/{}/add_router_interface", text(&taken, "id"));
    let body = json!({"subnet_id": scene.inner.subnet});
    let refused = scene.cloud.put(Who::Member, &add, body.clone()).await;
    refused.refuses(409, "IpAddressAlreadyAllocated", "10.0.0.1");
    scene.host(place).state.lock().deaf = false;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(scene.places(), Vec::<&str>::new());
    scene.cloud.put(Who::Member, &add, body).await.is(200);
    let left = scene.cloud.get(Who::Admin, "/ports?device_owner=network:floatingip").await;
    assert_eq!(left.list("ports").len(), 0);
    scene.cloud.get(Who::Member, &path).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_floating_ip_is_told_of_to_another_router_only_when_the_first_has_let_go() {
    let scene = Scene::new().await;
    let other = scene.cloud.net("10.1.0.0/24").await;
    let second = scene.cloud.router_between(&other, &scene.outer).await;
    let (floating, _) = scene.floating(&scene.inner).await;
    scene.cloud.pass(SOON).await;
    let second: Uuid = second.parse().unwrap();
    let at = |router: Uuid| -> BTreeMap<&str, usize> {
        let count = |host: &Host| Some(told(host, router)?.routing?.floating.len());
        scene.hosts().into_iter().filter_map(|(name, host)| Some((name, count(host)?))).collect()
    };
    let first_host = scene.places()[0];
    assert_eq!(at(scene.id())[first_host], 1);
    scene.host(first_host).state.lock().deaf = true;
    let port = scene.cloud.make(Who::Member, "port", json!({"network_id": other.network})).await;
    let body = json!({"floatingip": {"port_id": port["id"]}});
    scene.cloud.put(Who::Member, &format!("/floatingips/{floating}"), body).await.is(200);
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(at(second).values().sum::<usize>(), 0, "the first still answers for it");
    scene.host(first_host).state.lock().deaf = false;
    scene.cloud.pass(A_WHILE).await;
    assert_eq!(at(second).values().sum::<usize>(), 1);
    assert_eq!(at(scene.id()).values().sum::<usize>(), 0);
    assert_eq!(text(&scene.shown("floatingip", &floating).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn a_router_without_a_host_is_down_and_waits_for_one() {
    let cloud = Cloud::new().await;
    let network = json!({"name": "far", "router:external": true,
        "provider:network_type": "flat", "provider:physical_network": "moon"});
    let subnet = json!({"cidr": "172.24.4.0/24", "enable_dhcp": false});
    let (inner, outer) =
        (cloud.net("10.0.0.0/24").await, cloud.net_of(Who::Admin, network, subnet).await);
    let router = cloud.router_between(&inner, &outer).await;
    cloud.pass(SOON).await;
    let scene = Scene { cloud, inner, outer, router };
    assert_eq!((scene.status().await.as_str(), scene.places()), ("DOWN", Vec::new()));
    scene.change(json!({"external_gateway_info": null})).await;
    assert_eq!((scene.status().await.as_str(), scene.places().len()), ("ACTIVE", 1));
}
