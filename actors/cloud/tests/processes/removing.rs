//! A host is taken out of the cloud while it runs: every other node refuses it at once and for good.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use serde_json::json;
use updraft_cloud::machine::{CONTACT_FILE, NODE_ADDRESS_FILE};
use updraft_runtime::Env;
use updraft_transport::{
    Event, Incarnation, NodeId, Transport,
    certificate::Certificate,
    key::NodeKey,
    quic::{Quic, QuicConfig, is_disowned, udp},
    tls::Credentials,
    wire::WireVersions,
};

use crate::{
    cloud::{Machine, Said, run},
    joining::{joined, up},
};

/// How long after the answer the last node may still believe the host.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);

/// How long a peer may take to say why it ends a connection.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn credentials(machine: &Machine, name: &str) -> Credentials {
    let read =
        |file: &str| machine.data().read(&format!("nodes/{name}/{file}.pem")).unwrap().unwrap();
    let certificate = Certificate::from_pem(&read("certificate")).unwrap();
    let authorities = Certificate::all_from_pem(&read("authorities")).unwrap();
    Credentials::new(certificate, NodeKey::from_pem(&read("key")).unwrap(), authorities).unwrap()
}

/// Where a node listens, as the machine notes it.
fn address(machine: &Machine, file: &str) -> SocketAddr {
    machine.data().read(file).unwrap().unwrap().trim().parse().unwrap()
}

/// A link with the key and certificate of a node of a machine, and what it hears when it calls another node.
async fn greeted(credentials: Credentials, peer: &str, at: SocketAddr) -> Event {
    let env = Env::real();
    let (socket, runtime) = udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = QuicConfig {
        credentials,
        incarnation: Incarnation(1_000),
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(env.clone()),
        admission: None,
        mtu_discovery: false,
    };
    let (link, mut events) = Quic::start(config).unwrap();
    link.learn(&id(peer), at);
    let header = updraft_transport::Header {
        kind: updraft_transport::Kind::Cast,
        method: "nobody/nothing".into(),
        id: 1,
        incarnation: Incarnation(1_000),
        deadline_ms: 1_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: bytes::Bytes::new(),
    };
    let frame = updraft_transport::Frame { header, body: bytes::Bytes::new() };
    link.send(&id(peer), updraft_transport::Class::Calls, frame).unwrap();
    let heard = env.timeout(ANSWERED_WITHIN, events.recv()).await.unwrap().unwrap();
    link.close();
    heard
}

/// Asserts that a node refuses whoever holds these credentials, and says why.
async fn refuses(who: Credentials, peer: &str, at: SocketAddr) {
    match greeted(who, peer, at).await {
        Event::Down { reason, .. } if is_disowned(&reason) => {}
        other => panic!("{peer} does not say that it revokes: {other:?}"),
    }
}

fn said_removed(said: &Said) {
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.err.contains("was removed from the cloud"), "{}", said.err);
    assert!(said.err.contains("empty folder") && said.err.trim().lines().count() == 1, "{said:?}");
}

async fn both_up(control: &Machine, names: [&str; 2]) {
    let up = async || {
        let nodes = control.run(&["status"]).out;
        let is_up = |name| nodes.lines().any(|line| line.contains(name) && line.ends_with(" up"));
        names.iter().all(is_up)
    };
    control.until("the hosts are up", up).await;
}

#[tokio::test]
async fn a_host_that_is_removed_while_it_runs_is_refused_by_all_and_its_name_is_free() {
    let control = up();
    let (gone, stays) = (joined(&control, "rack-7"), joined(&control, "rack-8"));
    gone.kill("compute").await;
    assert_eq!(gone.node().code, Some(0));
    both_up(&control, ["rack-7", "rack-8"]).await;
    let status = gone.run(&["status"]);
    assert!(status.out.contains(", which answers"), "{status:?}");
    let (key, other) = (credentials(&gone, "rack-7"), address(&stays, NODE_ADDRESS_FILE));
    assert!(matches!(greeted(key.clone(), "rack-8", other).await, Event::Up { .. }));

    let said = control.run(&["remove", "rack-7"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let answered = control.env.now();
    let main = address(&control, "run/quic-address");
    refuses(key.clone(), "control-1", main).await;
    let told = async || stays.data().path("nodes/rack-8/revoked.json").exists();
    stays.until("the other host has heard of it", told).await;
    let heard = async || {
        let contact = gone.data().read(CONTACT_FILE).unwrap();
        contact.is_some_and(|text| text.contains("removed"))
    };
    gone.until("the host has heard of it", heard).await;
    assert!(control.env.now() - answered < EFFECTIVE_WITHIN);
    refuses(key.clone(), "rack-8", other).await;

    let status = gone.run(&["status"]);
    assert!(status.out.contains("removed  its certificate was revoked"), "{status:?}");
    let listed = control.run(&["status"]).out;
    assert!(!listed.contains("rack-7") && listed.contains("rack-8"), "{listed}");

    // While all others remember that the former one has started twice.
    let again = joined(&control, "rack-7");
    both_up(&control, ["rack-7", "rack-8"]).await;
    assert!(again.run(&["status"]).out.contains(", which answers"));

    everything_restarts(&control, &gone, &stays).await;
    refuses(key.clone(), "control-1", address(&control, "run/quic-address")).await;
    refuses(key, "rack-8", address(&stays, NODE_ADDRESS_FILE)).await;
    assert_eq!(again.run(&["down"]).code, Some(0));
    assert_eq!(again.node().code, Some(0));
    both_up(&control, ["rack-7", "rack-8"]).await;
}

/// The removed host is told at its start; the other one starts without its control node first.
async fn everything_restarts(control: &Machine, gone: &Machine, stays: &Machine) {
    for machine in [gone, stays, control] {
        assert_eq!(machine.run(&["down"]).code, Some(0));
    }
    let alone = stays.node();
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(alone.out.contains("does not reach its control node yet"), "{alone:?}");
    let main = address(control, "run/quic-address").to_string();
    let said = run(control.up_command_at(&main));
    assert_eq!(said.code, Some(0), "{said:?}");
    said_removed(&gone.node());
    assert!(gone.pid("compute").is_none());
    both_up(control, ["rack-8", "compute-1"]).await;
}

#[tokio::test]
async fn a_host_without_its_control_node_still_refuses_who_was_removed() {
    let control = up();
    let (gone, stays) = (joined(&control, "rack-7"), joined(&control, "rack-8"));
    both_up(&control, ["rack-7", "rack-8"]).await;
    let key = credentials(&gone, "rack-7");
    assert_eq!(control.run(&["remove", "rack-7"]).code, Some(0));
    let told = async || stays.data().path("nodes/rack-8/revoked.json").exists();
    stays.until("the other host has heard of it", told).await;
    control.signal("control", Signal::SIGKILL);
    stays.kill("compute").await;
    assert_eq!(stays.node().code, Some(0));
    refuses(key, "rack-8", address(&stays, NODE_ADDRESS_FILE)).await;
}

#[tokio::test]
async fn what_cannot_be_removed_is_said() {
    let control = up();
    let host = joined(&control, "rack-7");
    let refused = |arguments: &[&str], words: &str| {
        let said = control.run(&[&["remove"], arguments].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(words) && said.err.trim().lines().count() == 1, "{}", said.err);
    };
    refused(&["rack-9"], "no host named rack-9 has joined");
    refused(&["control-1"], "runs on the control host itself");
    refused(&["compute-1", "--force"], "runs on the control host itself");
    assert_eq!(control.run(&["remove", "Rack 7"]).code, Some(2));
    assert_eq!(host.run(&["remove", "rack-7"]).code, Some(3), "no cloud runs on the host");

    let client = control.client().await;
    let both =
        async || client.hypervisors().await.iter().filter(|host| host.1 == "up").count() == 2;
    control.until("both hosts are up", both).await;
    let made = client.furnish().await;
    for name in ["s1", "s2", "s3", "s4"] {
        client.create(&made, name).await.unwrap();
    }
    client.all_run(&control).await;
    let there = client.servers().await.into_iter().find(|server| server.host == "rack-7").unwrap();
    refused(&["rack-7"], &format!("{} ({})", there.name, there.id));
    refused(&["rack-7"], "--force");
    client.act(&there.id, json!({"os-stop": null})).await;
    assert_eq!(control.run(&["remove", "rack-7", "--force"]).code, Some(0));
    refused(&["rack-7"], "was removed already, at 20");
}
