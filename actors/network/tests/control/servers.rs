//! A server's ports, from the compute node's call to the agents' word and back.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::json;
use updraft_protocol::{
    compute::{NOT_SEALED, PortTaken, Seal},
    network::{Allocate, NicRequest, PortInfo},
};
use updraft_runtime::rpc::FaultKind;
use uuid::Uuid;

use crate::support::{A_WHILE, Cloud, DEMO, GUEST, Net, Who, fault, seal, text};

fn address(port: &PortInfo) -> IpAddr {
    port.fixed_ips[0].address
}

#[tokio::test(start_paused = true)]
async fn a_port_is_made_plugged_served_and_announced() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    let port = info.ports[0].clone();
    assert_eq!((port.network_name.as_str(), port.mtu, port.up), ("net1", 1_450, false));
    cloud.pass(A_WHILE).await;
    let seen = cloud.port(port.port).await;
    assert_eq!((text(&seen, "status"), text(&seen, "device_owner")), ("ACTIVE", "compute:nova"));
    assert_eq!(text(&seen, "binding:host_id"), "host1");
    let state = cloud.host1.state.lock();
    assert_eq!(state.ports[&port.port].addresses, [address(&port)]);
    let served = &state.dhcp[&port.network];
    assert_eq!((served.leases[0].address, &*served.leases[0].hostname), (address(&port), "s1"));
    assert_ne!(served.subnets[0].agent_address, address(&port));
    let ready = state.ready.last().unwrap();
    assert_eq!((ready.server, ready.ports[0].up), (GUEST, true));
    assert!(ready.ports[0].device.as_ref().unwrap().starts_with("tap"));
}

#[tokio::test(start_paused = true)]
async fn asking_again_answers_the_same_and_makes_nothing() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let nics = vec![net.nic(0), net.nic(1)];
    let first = cloud.allocate(&cloud.host1, 1, nics.clone()).await.unwrap();
    cloud.pass(A_WHILE).await;
    let again = cloud.allocate(&cloud.host1, 1, nics).await.unwrap();
    let told = |port: &PortInfo| (port.port, port.mac_address.clone(), port.fixed_ips.clone());
    let (first, again): (Vec<_>, Vec<_>) =
        (first.ports.iter().map(told).collect(), again.ports.iter().map(told).collect());
    assert_eq!(first, again);
    let path = format!("/ports?device_id={GUEST}");
    assert_eq!(cloud.get(Who::Member, &path).await.list("ports").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_port_is_not_up_before_both_agents_have_spoken() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.host1.state.lock().deaf = true;
    let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(info.ports[0].port).await, "status"), "BUILD");
    assert!(cloud.host1.state.lock().ready.is_empty());
    cloud.host1.state.lock().deaf = false;
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(info.ports[0].port).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn a_late_request_of_an_older_want_is_refused() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.allocate(&cloud.host1, 5, vec![net.nic(0)]).await.unwrap();
    let late = cloud.allocate(&cloud.host1, 4, vec![net.nic(0)]).await;
    assert_eq!(fault(late), (FaultKind::Stale, "StaleGeneration".to_owned()));
    let elsewhere = cloud.allocate(&cloud.host2, 5, vec![net.nic(0)]).await;
    assert_eq!(fault(elsewhere).0, FaultKind::Stale);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_after_the_release_makes_nothing() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    assert!(cloud.release(3).await.unwrap(), "there was nothing");
    let late = cloud.allocate(&cloud.host1, 2, vec![net.nic(0)]).await;
    assert_eq!(fault(late).0, FaultKind::Stale);
    let path = format!("/ports?device_id={GUEST}");
    assert_eq!(cloud.get(Who::Member, &path).await.list("ports").len(), 0);
    cloud
        .allocate(&cloud.host1, 4, vec![net.nic(0)])
        .await
        .expect("a newer want is another matter");
}

#[tokio::test(start_paused = true)]
async fn release_is_done_when_the_host_has_let_go_and_not_before() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap().ports.remove(0);
    cloud.pass(A_WHILE).await;
    cloud.host1.state.lock().deaf = true;
    assert!(!cloud.release(2).await.unwrap());
    cloud.pass(A_WHILE).await;
    assert!(!cloud.release(2).await.unwrap(), "a silent host has confirmed nothing");
    cloud.get(Who::Admin, &format!("/ports/{}", port.port)).await.is(404);
    let held = format!("network/allocation/{}/{}", net.subnet, address(&port));
    assert_eq!(cloud.keys(&held).await.len(), 1, "the address is not given to another");
    cloud.host1.state.lock().deaf = false;
    cloud.pass(A_WHILE).await;
    assert!(cloud.release(2).await.unwrap());
    assert_eq!(cloud.host1.state.lock().plugged(), Vec::<Uuid>::new());
    assert!(cloud.host1.state.lock().dhcp[&port.network].leases.is_empty());
    assert_eq!(cloud.keys(&held).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_port_moves_only_when_the_first_host_has_let_go() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let first = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    cloud.host1.state.lock().deaf = true;
    let moved = cloud.allocate(&cloud.host2, 3, vec![net.nic(0)]).await.unwrap();
    assert_eq!(moved.ports[0].port, first.ports[0].port, "the same port");
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.host2.state.lock().plugged(), Vec::<Uuid>::new());
    cloud.host1.state.lock().deaf = false;
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.host1.state.lock().plugged(), Vec::<Uuid>::new());
    assert_eq!(cloud.host2.state.lock().plugged(), [first.ports[0].port]);
    assert_eq!(text(&cloud.port(first.ports[0].port).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn the_users_own_port_is_bound_and_left_behind_unbound() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let own = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let id: Uuid = text(&own, "id").parse().unwrap();
    let nic = NicRequest { index: 0, network: None, port: Some(id), fixed_ip: None };
    let info = cloud.allocate(&cloud.host1, 1, vec![nic.clone()]).await.unwrap();
    assert_eq!(info.ports[0].port, id);
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(id).await, "device_id"), GUEST.to_string());
    assert!(!cloud.release(2).await.unwrap());
    cloud.pass(A_WHILE).await;
    assert!(cloud.release(2).await.unwrap());
    let left = cloud.port(id).await;
    assert_eq!((text(&left, "device_id"), text(&left, "status")), ("", "DOWN"));
    assert_eq!(text(&left, "binding:host_id"), "");
    assert_eq!(left["fixed_ips"], own["fixed_ips"]);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_is_no_longer_asked_for_goes() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.allocate(&cloud.host1, 1, vec![net.nic(0), net.nic(1)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    let left = cloud.allocate(&cloud.host1, 2, vec![net.nic(1)]).await.unwrap();
    assert_eq!(left.ports.len(), 1);
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.host1.state.lock().plugged(), [left.ports[0].port]);
}

#[tokio::test(start_paused = true)]
async fn compute_hears_of_a_floating_ip_that_comes_and_goes() {
    let cloud = Cloud::new().await;
    let inner = cloud.net("10.0.0.0/24").await;
    let outer = cloud.external("172.24.4.0/24").await;
    cloud.router_between(&inner, &outer).await;
    let port = cloud.allocate(&cloud.host1, 1, vec![inner.nic(0)]).await.unwrap().ports.remove(0);
    cloud.pass(A_WHILE).await;
    assert!(cloud.changed.lock().is_empty());
    let body = json!({"floating_network_id": outer.network, "port_id": port.port});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    cloud.pass(A_WHILE).await;
    let leading = |cloud: &Cloud| {
        let changed = cloud.changed.lock();
        changed.last().map(|heard| heard.ports[0].fixed_ips[0].floating)
    };
    let address: IpAddr = text(&floating, "floating_ip_address").parse().unwrap();
    assert_eq!(leading(&cloud), Some(Some(address)));
    cloud.delete(Who::Member, &format!("/floatingips/{}", text(&floating, "id"))).await.is(204);
    cloud.pass(A_WHILE).await;
    assert_eq!(leading(&cloud), Some(None));
}

#[tokio::test(start_paused = true)]
async fn many_servers_ports_share_no_address_and_all_come_up() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/26").await;
    let nics: Vec<NicRequest> = (0..40).map(|index| net.nic(index)).collect();
    let info = cloud.allocate(&cloud.host1, 1, nics).await.unwrap();
    let addresses: BTreeSet<IpAddr> = info.ports.iter().map(address).collect();
    assert_eq!(addresses.len(), 40);
    cloud.pass(A_WHILE).await;
    let active = cloud.get(Who::Member, "/ports?status=ACTIVE&device_owner=compute:nova").await;
    assert_eq!(active.list("ports").len(), 40);
}

#[tokio::test(start_paused = true)]
async fn compute_is_told_of_a_port_that_a_client_takes_from_a_server() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let nics = vec![net.nic(0), net.nic(1)];
    let info = cloud.allocate(&cloud.host1, 1, nics.clone()).await.unwrap();
    cloud.pass(A_WHILE).await;
    let (gone, kept) = (info.ports[0].port, info.ports[1].port);
    *cloud.taken.lock() = None;
    cloud.delete(Who::Member, &format!("/ports/{gone}")).await.is(204);
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.host1.state.lock().plugged(), [kept]);
    let known = format!("network/port/{gone}");
    assert_eq!(cloud.keys(&known).await.len(), 1, "nobody knows of it yet");
    // A host that asks before it has heard is given no other port in its place.
    let again = cloud.allocate(&cloud.host1, 2, nics).await.unwrap();
    assert_eq!(again.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [kept]);
    *cloud.taken.lock() = Some(Vec::new());
    cloud.pass(A_WHILE).await;
    let told = PortTaken { server: GUEST, port: gone, index: 0 };
    assert_eq!(*cloud.taken.lock(), Some(vec![told]), "once");
    assert_eq!(cloud.keys(&known).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn compute_is_told_of_a_port_that_a_client_gives_another_use() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap().ports.remove(0);
    cloud.pass(A_WHILE).await;
    let path = format!("/ports/{}", port.port);
    cloud.put(Who::Member, &path, json!({"port": {"device_id": ""}})).await.is(200);
    cloud.pass(A_WHILE).await;
    let told = PortTaken { server: GUEST, port: port.port, index: 0 };
    assert_eq!(*cloud.taken.lock(), Some(vec![told]));
}

#[tokio::test(start_paused = true)]
async fn compute_is_told_nothing_of_what_its_server_lets_go() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    cloud.release(2).await.unwrap();
    cloud.pass(A_WHILE).await;
    assert!(cloud.release(2).await.unwrap());
    assert_eq!(*cloud.taken.lock(), Some(Vec::new()));
}

/// A request for the first generation of the guest.
fn request(net: &Net, host: &str, seal: Seal) -> Allocate {
    Allocate {
        server: GUEST,
        host: host.to_owned(),
        generation: 1,
        project_id: DEMO.to_owned(),
        hostname: "s1".to_owned(),
        nics: vec![net.nic(0)],
        security_groups: Vec::new(),
        seal,
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_binds_ports_to_itself_alone() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let message = request(&net, "host2", seal("host2", 1));
    let outcome = cloud.allocate_as(&cloud.host1, Who::Member, message).await;
    assert_eq!(fault(outcome), (FaultKind::Forbidden, "NotYourself".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_host_has_ports_of_servers_placed_on_it_alone() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    for seal in [Seal::default(), seal("host2", 1), seal("host1", 2)] {
        let message = request(&net, "host1", seal);
        let outcome = cloud.allocate_as(&cloud.host1, Who::Member, message).await;
        assert_eq!(fault(outcome), (FaultKind::Forbidden, NOT_SEALED.to_owned()));
    }
    let message = request(&net, "host1", seal("host1", 1));
    let info = cloud.allocate_as(&cloud.host1, Who::Member, message).await.unwrap();
    assert_eq!(info.ports.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn security_groups_are_told_by_their_names_however_they_were_asked_for() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let group = json!({"security_group": {"name": "web"}});
    let made = cloud.post(Who::Member, "/security-groups", group).await.json();
    let id = made["security_group"]["id"].as_str().unwrap();
    let validated = cloud.validated(vec![net.nic(0)], &[id, "default"]).await.unwrap();
    assert_eq!(validated.security_groups, ["web", "default"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_cannot_have_is_refused_by_name() {
    let cloud = Cloud::new().await;
    let nobody =
        NicRequest { index: 0, network: Some(Uuid::from_u128(1)), port: None, fixed_ip: None };
    let any = NicRequest { network: None, ..nobody.clone() };
    let code = |outcome| fault(outcome).1;
    assert_eq!(code(cloud.validate(vec![nobody.clone()], &[]).await), "NetworkNotFound");
    assert_eq!(cloud.validate(vec![any.clone()], &[]).await.unwrap(), [], "there is no network");
    let net = cloud.net("10.0.0.0/24").await;
    let found = cloud.validate(vec![any.clone()], &[]).await.unwrap();
    assert_eq!(found[0].network, Some(net.network.parse().unwrap()), "the only one is meant");
    cloud.net("10.0.1.0/24").await;
    assert_eq!(code(cloud.validate(vec![any], &[]).await), "NetworkAmbiguous");
    let foreign =
        cloud.net_of(Who::Other, json!({"name": "x"}), json!({"cidr": "10.9.0.0/24"})).await;
    assert_eq!(code(cloud.validate(vec![foreign.nic(0)], &[]).await), "NetworkNotFound");
    let outside = NicRequest { fixed_ip: Some("10.7.0.1".parse().unwrap()), ..net.nic(0) };
    assert_eq!(code(cloud.validate(vec![outside], &[]).await), "InvalidIpForNetwork");
    let taken = json!({"network_id": net.network, "fixed_ips": [{"ip_address": "10.0.0.9"}]});
    cloud.post(Who::Member, "/ports", json!({ "port": taken })).await;
    let taken = NicRequest { fixed_ip: Some("10.0.0.9".parse().unwrap()), ..net.nic(0) };
    assert_eq!(code(cloud.validate(vec![taken], &[]).await), "FixedIpAlreadyInUse");
    let port = NicRequest { network: None, port: Some(Uuid::from_u128(2)), ..net.nic(0) };
    assert_eq!(code(cloud.validate(vec![port], &[]).await), "PortNotFound");
    let groups = cloud.validate(vec![net.nic(0)], &["nonsense"]).await;
    assert_eq!(code(groups), "SecurityGroupNotFound");
    cloud.validate(vec![net.nic(0)], &["default"]).await.expect("every project has this one");
}

#[tokio::test(start_paused = true)]
async fn the_flow_is_told_step_by_step() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    // What the set-up told is not of interest.
    drop(cloud.control.tracer().take(10_000));
    cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    let told = |steps: Vec<updraft_runtime::trace::Step>| -> Vec<String> {
        steps.into_iter().map(|step| step.name).collect()
    };
    let mut here = told(cloud.control.tracer().take(1_000));
    assert_eq!(here.pop().as_deref(), Some(updraft_network::STEP_RECORDED), "at the end");
    // The agents answer in any order.
    here[3..].sort();
    let expected = [
        "network.server/allocate",
        "identity/verify",
        updraft_network::STEP_ALLOCATED,
        "network.dhcp/serve",
        "network.l2/filter",
        "network.l2/overlay",
        "network.l2/plug",
    ];
    assert_eq!(here, expected);
    let mut there = told(cloud.host1.node.tracer().take(1_000));
    there.sort();
    let expected = [
        "compute.node/network_ready",
        "network.dhcp/serve",
        "network.l2/filter",
        "network.l2/overlay",
        "network.l2/plug",
        "network.server/allocate",
    ];
    assert_eq!(there, expected);
}
