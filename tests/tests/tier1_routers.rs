//! Routers on hosts, while interfaces, floating IPs and hosts change, drivers are in trouble, and messages and nodes are
//! lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use updraft_harness::{fault::DriverTrouble, world::Tier};
use updraft_network::driver::sim::SimState;
use updraft_tests::{
    census,
    cloud::{Client, Fault, Menu, PUBLIC, Point, SimCloud, Size},
    invariants, same,
};

const SEEDS: Range<u64> = 0..6;

/// Changes of a user and an operator in one run.
const CHANGES: usize = 60;

/// How long hosts may take to be as rows say, once nothing goes wrong any longer: two looks at a whole host, and the
/// longest pause between two tries.
const SETTLES: Duration = Duration::from_secs(180);

const API: &str = "/networking/v2.0";

const HOSTS: usize = 3;

/// Trouble with operations on routers, as long as it is switched on.
fn troubles(seed: u64, on: Arc<AtomicBool>) -> Menu {
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    Menu::new(move |point| {
        let Point::Driver { name, .. } = point else { return None };
        if !name.contains("Router") || !on.load(Ordering::Relaxed) {
            return None;
        }
        let trouble = match rng.lock().unwrap().random_range(0..14) {
            0 => DriverTrouble::Fails,
            1 => DriverTrouble::Hangs,
            2 => DriverTrouble::Lies,
            3 => DriverTrouble::Twice,
            4 => DriverTrouble::Late { by: Duration::from_secs(9) },
            5 => DriverTrouble::LosesState,
            _ => return None,
        };
        Some(Fault::Driver(trouble))
    })
}

/// A cloud with two networks, a router from each to the outside, and floating IPs.
struct Scene {
    cloud: SimCloud,
    client: Client,
    trouble: Arc<AtomicBool>,
    routers: Vec<String>,
    subnets: Vec<String>,
    ports: Vec<String>,
    floating: Vec<String>,
    agents: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Scene {
    fn new(seed: u64) -> Self {
        let trouble = Arc::new(AtomicBool::new(false));
        let size = Size { hosts: HOSTS, ..Size::default() };
        let menu = troubles(seed, trouble.clone());
        let mut cloud = SimCloud::start(seed, Tier::Memory, size, &menu);
        let client = Client::log_in(&mut cloud);
        let mut scene = Self {
            cloud,
            client,
            trouble,
            routers: Vec::new(),
            subnets: Vec::new(),
            ports: Vec::new(),
            floating: Vec::new(),
            agents: Vec::new(),
        };
        let outer = scene.make(
            "network",
            json!({"name": "ext", "router:external": true,
            "provider:network_type": "flat", "provider:physical_network": PUBLIC}),
        );
        scene.make(
            "subnet",
            json!({"network_id": outer, "ip_version": 4,
            "cidr": "203.0.113.0/24", "enable_dhcp": false}),
        );
        for number in 0..2 {
            let network = scene.make("network", json!({"name": "net"}));
            let cidr = format!("10.{number}.0.0/24");
            let subnet = json!({"network_id": network, "ip_version": 4, "cidr": cidr});
            let subnet = scene.make("subnet", subnet);
            let router = json!({"name": "r", "external_gateway_info": {"network_id": outer}});
            let router = scene.make("router", router);
            let path = format!("/routers/{router}/add_router_interface");
            scene.must("PUT", &path, json!({"subnet_id": subnet}));
            for _ in 0..2 {
                let port = scene.make("port", json!({"network_id": network}));
                scene.ports.push(port);
            }
            scene.routers.push(router);
            scene.subnets.push(subnet);
        }
        for port in scene.ports.clone().into_iter().step_by(2) {
            let floating = json!({"floating_network_id": outer, "port_id": port});
            let floating = scene.make("floatingip", floating);
            scene.floating.push(floating);
        }
        let found = scene.must("GET", "/agents?agent_type=L2%20agent", Value::Null);
        scene.agents =
            found["agents"].as_array().unwrap().iter().map(|agent| text(&agent["id"])).collect();
        assert_eq!(scene.agents.len(), HOSTS);
        scene
    }

    fn must(&mut self, method: &str, path: &str, body: Value) -> Value {
        self.client.must(&mut self.cloud, method, &format!("{API}{path}"), body)
    }

    fn make(&mut self, kind: &str, body: Value) -> String {
        let body = Value::Object([(kind.to_owned(), body)].into_iter().collect());
        text(&self.must("POST", &format!("/{kind}s"), body)[kind]["id"])
    }

    /// A change; one that is refused or gets no answer is none, or one that nobody knows of.
    fn change(&mut self, rng: &mut StdRng) {
        let router = self.routers.choose(rng).unwrap();
        let (path, body) = match rng.random_range(0..10) {
            0..=3 => {
                let floating = self.floating.choose(rng).unwrap();
                let port = self.ports.choose(rng).filter(|_| rng.random_bool(0.8));
                (format!("/floatingips/{floating}"), json!({"floatingip": {"port_id": port}}))
            }
            4..=5 => {
                let agent = self.agents.choose(rng).unwrap();
                let enabled = rng.random_bool(0.6);
                (format!("/agents/{agent}"), json!({"agent": {"admin_state_up": enabled}}))
            }
            6 => {
                let up = rng.random_bool(0.6);
                (format!("/routers/{router}"), json!({"router": {"admin_state_up": up}}))
            }
            what => {
                let verb = if what == 7 { "remove" } else { "add" };
                let subnet = self.subnets.choose(rng).unwrap();
                let path = format!("/routers/{router}/{verb}_router_interface");
                (path, json!({"subnet_id": subnet}))
            }
        };
        self.client.send(&mut self.cloud, "PUT", &format!("{API}{path}"), body);
    }

    fn broken(&self, at_rest: bool) -> Vec<String> {
        let broken = invariants::broken(&census::take(&self.cloud), at_rest);
        broken.iter().map(ToString::to_string).collect()
    }

    /// What is broken once hosts have had time to be as rows say.
    fn settled(&mut self) -> Vec<String> {
        let end = self.cloud.world.now() + SETTLES;
        loop {
            let mut broken = self.broken(true);
            broken.extend(self.inactive());
            if broken.is_empty() || self.cloud.world.now() >= end {
                return broken;
            }
            self.cloud.world.run_for(Duration::from_millis(500));
        }
    }

    /// What users see not to work of routers that shall route.
    fn inactive(&mut self) -> Vec<String> {
        let mut down = Vec::new();
        let routers = self.must("GET", "/routers", Value::Null);
        let routers = routers["routers"].as_array().unwrap().clone();
        let is_up = |id: &Value| {
            let mut known = routers.iter();
            known.any(|router| router["id"] == *id && router["admin_state_up"] == true)
        };
        for router in routers.iter().filter(|router| is_up(&router["id"])) {
            if router["status"] != "ACTIVE" {
                down.push(format!("router {} is {}", router["id"], router["status"]));
            }
        }
        let floating = self.must("GET", "/floatingips", Value::Null);
        for one in floating["floatingips"].as_array().unwrap() {
            let expected = if is_up(&one["router_id"]) { "ACTIVE" } else { "DOWN" };
            if one["status"] != expected {
                down.push(format!("floating IP {} is {}", one["id"], one["status"]));
            }
        }
        down
    }
}

/// Changes everything for a while, with faults, and returns what is broken meanwhile or then.
fn after_a_while(seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::new(seed);
    let broken = scene.settled();
    assert_eq!(broken, Vec::<String>::new(), "before anything went wrong");
    scene.trouble.store(true, Ordering::Relaxed);
    scene.cloud.world.set_loss(0.1);
    let hosts = scene.cloud.hosts().to_vec();
    for number in 0..CHANGES {
        scene.change(&mut rng);
        match number % 12 {
            3 => scene.cloud.world.crash(&hosts[number / 12 % HOSTS]),
            8 => scene.cloud.world.start(&hosts[number / 12 % HOSTS]),
            _ => {}
        }
        for _ in 0..rng.random_range(0..20) {
            scene.cloud.world.run_for(Duration::from_millis(200));
            let broken = scene.broken(false);
            if !broken.is_empty() {
                return broken;
            }
        }
    }
    scene.trouble.store(false, Ordering::Relaxed);
    scene.cloud.world.set_loss(0.0);
    for agent in scene.agents.clone() {
        let body = json!({"agent": {"admin_state_up": true}});
        scene.must("PUT", &format!("/agents/{agent}"), body);
    }
    scene.settled()
}

#[test]
fn routers_are_where_rows_say_whatever_changes_and_whatever_goes_wrong() {
    for seed in SEEDS {
        let found = same::seeded(seed, || after_a_while(seed));
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}

#[test]
fn a_router_moves_at_its_operators_word_and_from_a_silent_host_only_then() {
    same::seeded(1, || {
        let mut scene = Scene::new(1);
        assert_eq!(scene.settled(), Vec::<String>::new());
        let census = census::take(&scene.cloud);
        let host = census.routers.values().find_map(|router| router.host.clone()).unwrap();
        let node = scene.cloud.hosts().iter().find(|node| node.as_str() == host).cloned().unwrap();
        let has = |scene: &Scene| {
            let census = census::take(&scene.cloud);
            census.routers.values().filter(|router| router.host.as_ref() == Some(&host)).count()
        };
        assert_ne!(has(&scene), 0);
        let before = has(&scene);
        scene.cloud.world.crash(&node);
        scene.cloud.world.run_for(Duration::from_secs(300));
        assert_eq!(has(&scene), before, "a silent host may only be cut off");
        let path = format!("/agents?agent_type=L2%20agent&host={host}");
        let agent = text(&scene.must("GET", &path, Value::Null)["agents"][0]["id"]);
        // The machine is off for good, and so is what it had.
        scene.cloud.machine(&node).unwrap().network.meddle(|state| *state = SimState::default());
        scene.must("DELETE", &format!("/agents/{agent}"), Value::Null);
        assert_eq!(scene.settled(), Vec::<String>::new());
        assert_eq!(has(&scene), 0);
        assert_eq!(census::take(&scene.cloud).routers.len(), 2);
    });
}
