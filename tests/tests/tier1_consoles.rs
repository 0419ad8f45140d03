//! Consoles in a cloud whose hosts die, are cut off, and come back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_cloud::Control;
use updraft_compute::consoles::{Admitted, Consoles, Denied};
use updraft_harness::world::Tier;
use updraft_runtime::tunnel::{Tunnel, TunnelError};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow,
};
use updraft_transport::NodeId;

const LIMIT: Duration = Duration::from_secs(120);

/// A cloud with a server whose screen somebody has a token for.
struct Shown {
    cloud: SimCloud,
    client: Client,
    server: String,
    host: NodeId,
    /// The control node that shows it.
    edge: NodeId,
    token: String,
}

impl Shown {
    fn new(seed: u64) -> Self {
        let mut cloud = SimCloud::start(seed, Tier::Memory, Size::default(), &Menu::default());
        let client = Client::log_in(&mut cloud);
        let have = flow::prepare(&mut cloud, &client);
        let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
        assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
        let path = format!("/compute/v2.1/servers/{server}");
        let shown = client.must(&mut cloud, "GET", &path, Value::Null);
        let host = shown["server"]["OS-EXT-SRV-ATTR:host"].as_str().unwrap();
        let host = NodeId::new(host).unwrap();
        let edge = cloud.controls()[1].clone();
        let mut shown = Self { cloud, client, server, host, edge, token: String::new() };
        shown.token = shown.ask();
        shown
    }

    /// A new token.
    fn ask(&mut self) -> String {
        let path = format!("/compute/v2.1/servers/{}/remote-consoles", self.server);
        let body = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}});
        let answer = self.client.must(&mut self.cloud, "POST", &path, body);
        let url = answer["remote_console"]["url"].as_str().unwrap();
        url.split_once("token%3D").unwrap().1.to_owned()
    }

    fn consoles(&self) -> Consoles {
        self.cloud.world.handle::<Control>(&self.edge).unwrap().consoles().clone()
    }

    fn admit(&mut self) -> Result<Admitted, Denied> {
        let (consoles, token) = (self.consoles(), self.token.clone());
        let edge = self.edge.clone();
        self.cloud.world.on(&edge, LIMIT, async move { consoles.admit(&token).await }).unwrap()
    }

    /// What is seen of the screen until it ends, and how it did.
    fn watch(&mut self) -> tokio::sync::oneshot::Receiver<Seen> {
        let (consoles, open) = (self.consoles(), self.admit().unwrap());
        let watch = async move {
            let Tunnel { mut reader, writer: _writer } = consoles.open(&open).await.unwrap();
            let mut bytes = 0;
            let ended = async {
                loop {
                    match reader.next().await {
                        Ok(Some(piece)) => bytes += piece.len(),
                        Ok(None) => return Ended::ByGuest,
                        Err(error) => return Ended::Broken(error),
                    }
                }
            };
            let by = tokio::select! {
                biased;
                () = consoles.ended(&open) => Ended::Revoked,
                by = ended => by,
            };
            Seen { bytes, by }
        };
        let edge = self.edge.clone();
        let seen = self.cloud.world.begin(&edge, watch).unwrap();
        self.cloud.world.run_for(Duration::from_secs(1));
        seen
    }

    fn until_ended(&mut self, mut seen: tokio::sync::oneshot::Receiver<Seen>) -> Seen {
        let mut ended = None;
        self.cloud.world.run_until(LIMIT, |_| {
            ended = seen.try_recv().ok();
            ended.is_some()
        });
        ended.unwrap_or_else(|| panic!("it never ends"))
    }

    fn act(&mut self, body: Value) {
        let path = format!("/compute/v2.1/servers/{}/action", self.server);
        self.client.must(&mut self.cloud, "POST", &path, body);
    }

    fn force_down(&mut self) {
        let path = "/compute/v2.1/os-services";
        let services = self.client.must(&mut self.cloud, "GET", path, Value::Null);
        let services = services["services"].as_array().unwrap();
        let mine = |service: &&Value| service["host"] == self.host.as_str();
        let service = services.iter().find(mine).unwrap();
        let path = format!("{path}/{}", service["id"].as_str().unwrap());
        self.client.must(&mut self.cloud, "PUT", &path, json!({"forced_down": true}));
    }
}

#[derive(Debug)]
enum Ended {
    ByGuest,
    Broken(TunnelError),
    Revoked,
}

#[derive(Debug)]
struct Seen {
    bytes: usize,
    by: Ended,
}

#[test]
fn a_host_that_dies_ends_what_is_shown_of_its_guests() {
    let mut shown = Shown::new(1);
    let seen = shown.watch();
    let host = shown.host.clone();
    shown.cloud.world.crash(&host);
    let seen = shown.until_ended(seen);
    assert!(seen.bytes >= 12, "{seen:?}: the screen had begun");
    assert!(matches!(seen.by, Ended::Broken(TunnelError::Broken(_))), "{seen:?}");
}

#[test]
fn a_token_of_one_control_node_opens_at_another_also_when_the_first_is_gone() {
    let mut shown = Shown::new(2);
    let first = shown.cloud.controls()[0].clone();
    shown.cloud.world.crash(&first);
    let seen = shown.watch();
    let server = shown.server.clone();
    let path = format!("/compute/v2.1/servers/{server}");
    shown.client.must(&mut shown.cloud, "DELETE", &path, Value::Null);
    let seen = shown.until_ended(seen);
    assert!(seen.bytes >= 12, "{seen:?}");
    assert!(matches!(seen.by, Ended::Revoked | Ended::ByGuest), "{seen:?}");
}

/// The guest runs on where it was, and its host does not hear of anything: nobody is to see it as the server.
#[test]
fn a_zombie_is_shown_to_nobody_any_more() {
    let mut shown = Shown::new(3);
    let seen = shown.watch();
    let (host, old) = (shown.host.clone(), shown.token.clone());
    let others: Vec<_> =
        shown.cloud.controls().iter().chain(shown.cloud.hosts()).cloned().collect();
    for other in others.iter().filter(|other| **other != host) {
        shown.cloud.world.partition(other, &host);
    }
    shown.force_down();
    shown.cloud.world.run_for(Duration::from_secs(15));
    shown.act(json!({"evacuate": {}}));
    let seen = shown.until_ended(seen);
    assert!(matches!(seen.by, Ended::Revoked), "{seen:?}");
    assert!(shown.client.wait_for(&mut shown.cloud, &shown.server, Some("SHUTOFF")));
    shown.act(json!({"os-start": null}));
    assert!(shown.client.wait_for(&mut shown.cloud, &shown.server, Some("ACTIVE")));
    let runs = shown.cloud.machine(&host).unwrap().guests.guests();
    assert_eq!(runs.len(), 1, "the old host has it still");
    assert!(matches!(shown.admit(), Err(Denied::Token)), "the old token");
    shown.cloud.world.heal();
    assert!(matches!(shown.admit(), Err(Denied::Token)), "the old token, of a host that is back");
    shown.token = shown.ask();
    assert_ne!(shown.token, old);
    let open = shown.admit().unwrap();
    assert!(!format!("{open:?}").contains(host.as_str()), "{open:?}");
    let mut seen = shown.watch();
    assert!(seen.try_recv().is_err(), "the new one is shown");
}
