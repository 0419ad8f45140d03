//! Security groups on hosts, while rules, groups and members change and messages and nodes are lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    filters, flow, same,
};
use uuid::Uuid;

const SEEDS: std::ops::Range<u64> = 0..6;

/// Changes of a user in one run.
const CHANGES: usize = 40;

/// How long hosts may take to hold what rows say, once nothing is lost any longer.
const SETTLES: Duration = Duration::from_secs(60);

const API: &str = "/networking/v2.0";

/// A cloud with servers on one network, whose ports a user moves between groups.
struct Scene {
    cloud: SimCloud,
    client: Client,
    groups: Vec<String>,
    ports: Vec<String>,
    rules: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Scene {
    fn new(seed: u64) -> Self {
        let size = Size { hosts: 2, ..Size::default() };
        let mut cloud = SimCloud::start(seed, Tier::Memory, size, &Menu::default());
        let client = Client::log_in(&mut cloud);
        let have = flow::prepare(&mut cloud, &client);
        for _ in 0..4 {
            let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
            assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
        }
        let mut scene =
            Self { cloud, client, groups: Vec::new(), ports: Vec::new(), rules: Vec::new() };
        let found = scene.must("GET", "/ports?device_owner=compute:nova", Value::Null);
        scene.ports =
            found["ports"].as_array().unwrap().iter().map(|port| text(&port["id"])).collect();
        let found = scene.must("GET", "/security-groups?name=default", Value::Null);
        scene.groups.push(text(&found["security_groups"][0]["id"]));
        for name in ["web", "db"] {
            let body = json!({"security_group": {"name": name}});
            let made = scene.must("POST", "/security-groups", body);
            scene.groups.push(text(&made["security_group"]["id"]));
        }
        assert_eq!(scene.ports.len(), 4);
        scene
    }

    fn must(&mut self, method: &str, path: &str, body: Value) -> Value {
        self.client.must(&mut self.cloud, method, &format!("{API}{path}"), body)
    }

    /// A change; one that is refused or gets no answer is none, or one that nobody knows of.
    fn change(&mut self, rng: &mut StdRng) {
        let (group, peer) = (self.pick(rng), self.pick(rng));
        let (method, path, body) = match rng.random_range(0..4) {
            0 => {
                let rule = json!({"security_group_rule": {
                    "security_group_id": group, "direction": "ingress", "protocol": "icmp",
                    "remote_group_id": peer}});
                ("POST", "/security-group-rules".to_owned(), rule)
            }
            1 => {
                let rule = json!({"security_group_rule": {
                    "security_group_id": group, "direction": "ingress", "protocol": "icmp",
                    "remote_ip_prefix": format!("10.1.0.{}/29", rng.random_range(0..32) * 8)}});
                ("POST", "/security-group-rules".to_owned(), rule)
            }
            2 if !self.rules.is_empty() => {
                let rule = self.rules.swap_remove(rng.random_range(0..self.rules.len()));
                ("DELETE", format!("/security-group-rules/{rule}"), Value::Null)
            }
            _ => {
                let port = self.ports.choose(rng).unwrap();
                let groups = json!({"port": {"security_groups": [group, peer]}});
                ("PUT", format!("/ports/{port}"), groups)
            }
        };
        let answer = self.client.send(&mut self.cloud, method, &format!("{API}{path}"), body);
        let made = answer.map(|answer| text(&answer.body["security_group_rule"]["id"]));
        self.rules.extend(made.filter(|id| Uuid::try_parse(id).is_ok()));
    }

    fn pick(&self, rng: &mut StdRng) -> String {
        self.groups.choose(rng).unwrap().clone()
    }
}

/// Changes everything for a while, with faults, and returns how hosts and rows differ then.
fn after_a_while(seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::new(seed);
    assert_eq!(filters::differences(&mut scene.cloud, SETTLES), Vec::<String>::new());
    scene.cloud.world.set_loss(0.2);
    let hosts = scene.cloud.hosts().to_vec();
    for number in 0..CHANGES {
        scene.change(&mut rng);
        let pause = Duration::from_millis(rng.random_range(0..400));
        match number % 10 {
            3 => scene.cloud.world.crash(&hosts[number / 10 % 2]),
            7 => scene.cloud.world.start(&hosts[number / 10 % 2]),
            _ => scene.cloud.world.run_for(pause),
        }
    }
    scene.cloud.world.set_loss(0.0);
    filters::differences(&mut scene.cloud, SETTLES)
}

#[test]
fn hosts_hold_what_rows_say_whatever_changes_and_whatever_is_lost() {
    for seed in SEEDS {
        let found = same::seeded(seed, || after_a_while(seed));
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}
