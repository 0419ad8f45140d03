//! A host is emptied: its servers leave it a few at a time, whatever ends meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_compute::{
    drains::AT_ONCE,
    rows::{HostRow, ServerRow, VmState},
};
use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow::{self, Prepared},
    life,
};
use updraft_transport::NodeId;

/// How many servers the host has.
const SERVERS: usize = 5;

/// Longer than a host that is silent is taken for one that may live.
const SILENT: Duration = Duration::from_secs(10);

/// A cloud with servers, all of them on one host.
struct Draining {
    cloud: SimCloud,
    client: Client,
    have: Prepared,
    host: NodeId,
    servers: Vec<String>,
}

impl Draining {
    fn new(seed: u64) -> Self {
        let mut cloud = SimCloud::start(seed, Tier::Memory, Size::default(), &Menu::default());
        cloud.never_runs_twice();
        let client = Client::log_in(&mut cloud);
        let have = flow::prepare(&mut cloud, &client);
        let host = cloud.hosts()[0].clone();
        let mut draining = Self { cloud, client: client.clone(), have, host, servers: Vec::new() };
        draining.set_others("disabled");
        for _ in 0..SERVERS {
            let (image, flavor) = (draining.have.image.clone(), draining.have.flavor.clone());
            let network = draining.have.network.clone();
            let server = client.server(&mut draining.cloud, &image, &flavor, Some(&network));
            assert!(client.wait_for(&mut draining.cloud, &server, Some("ACTIVE")));
            draining.servers.push(server);
        }
        draining.set_others("enabled");
        draining
    }

    fn set_others(&mut self, status: &str) {
        let path = "/compute/v2.1/os-services";
        let services = self.client.must(&mut self.cloud, "GET", path, Value::Null);
        for service in services["services"].as_array().unwrap() {
            let host = service["host"].as_str().unwrap();
            if service["binary"] == "nova-compute" && host != self.host.as_str() {
                let path = format!("{path}/{}", service["id"].as_str().unwrap());
                self.client.must(&mut self.cloud, "PUT", &path, json!({"status": status}));
            }
        }
    }

    fn ask(&mut self, method: &str, body: Value) -> Value {
        let path = format!("/updraft/v1/hosts/{}/drain", self.host);
        self.client.must(&mut self.cloud, method, &path, body)
    }

    fn progress(&mut self) -> Value {
        self.ask("GET", Value::Null)["drain"].clone()
    }

    fn act(&mut self, server: usize, body: Value) {
        let path = format!("/compute/v2.1/servers/{}/action", self.servers[server]);
        self.client.must(&mut self.cloud, "POST", &path, body);
    }

    /// Lets time go on until it is so, and sees that few servers are on their way at once.
    fn until(&mut self, what: &str, is: impl Fn(&mut Self) -> bool) {
        for _ in 0..4_000 {
            if is(self) {
                return;
            }
            self.cloud.world.run_for(Duration::from_millis(50));
            let all = self.cloud.compute_rows::<ServerRow>();
            let count = all.iter().filter(|row| row.migration.is_some()).count();
            assert!(count <= AT_ONCE, "{count} are on their way");
        }
        let progress = self.progress();
        panic!("not {what}: {progress:#} {:#?}", self.cloud.compute_rows::<ServerRow>());
    }

    fn is_empty(&mut self) -> bool {
        self.progress()["is_empty"] == true
    }

    /// All servers run, and none of them where they were.
    fn all_run_elsewhere(&mut self) {
        let all = self.cloud.compute_rows::<ServerRow>();
        assert_eq!(all.len(), SERVERS);
        for row in &all {
            assert_eq!(row.state, VmState::Active, "{row:#?}");
            assert_ne!(row.placement.as_ref().unwrap().host, self.host.as_str());
            assert_eq!((&row.migration, &row.resize), (&None, &None), "nobody is asked");
        }
        let hosts = self.cloud.compute_rows::<HostRow>();
        let emptied = hosts.iter().find(|row| row.name == self.host.as_str()).unwrap();
        assert!(emptied.claims.is_empty() && emptied.disabled.is_some());
    }
}

#[test]
fn a_host_is_emptied_though_control_nodes_end_meanwhile_and_may_have_servers_again() {
    let mut draining = Draining::new(1);
    assert_eq!(draining.ask("PUT", json!({}))["drain"]["left"].as_array().unwrap().len(), SERVERS);
    draining.until("begun", |draining| draining.progress()["begun"].as_u64() >= Some(3));
    for control in draining.cloud.controls().to_vec() {
        draining.cloud.world.crash(&control);
        draining.cloud.world.start(&control);
        draining.cloud.world.run_for(SILENT);
    }
    draining.ask("PUT", json!({}));
    draining.until("empty", Draining::is_empty);
    draining.all_run_elsewhere();
    draining.cloud.world.run_for(Duration::from_secs(20));
    life::rest(&mut draining.cloud);
    draining.ask("DELETE", Value::Null);
    let hosts = draining.cloud.compute_rows::<HostRow>();
    assert!(hosts.iter().all(|host| host.disabled.is_none()));
}

#[test]
fn what_cannot_move_is_told_and_moves_when_it_can() {
    let mut draining = Draining::new(2);
    draining.set_others("disabled");
    draining.ask("PUT", json!({}));
    let told = |draining: &mut Draining| {
        let progress = draining.progress();
        let left = progress["left"].as_array().unwrap().clone();
        let says =
            |left: &Value| left["waits"].as_str().is_some_and(|why| why.contains("No valid host"));
        left.len() == SERVERS && left.iter().all(says)
    };
    draining.until("told", told);
    assert!(
        draining.cloud.compute_rows::<ServerRow>().iter().all(|row| row.state == VmState::Active)
    );
    draining.set_others("enabled");
    draining.until("empty", Draining::is_empty);
    draining.all_run_elsewhere();
}

#[test]
fn a_server_that_waits_for_its_user_keeps_its_host_from_being_empty() {
    let mut draining = Draining::new(3);
    draining.act(0, json!({"migrate": null}));
    let (client, server) = (draining.client.clone(), draining.servers[0].clone());
    assert!(client.wait_for(&mut draining.cloud, &server, Some("VERIFY_RESIZE")));
    draining.ask("PUT", json!({}));
    let waits = |draining: &mut Draining| {
        let progress = draining.progress();
        let left = progress["left"].as_array().unwrap().clone();
        left.len() == 1 && left[0]["waits"].as_str().is_some_and(|why| why.contains("confirm"))
    };
    let all = |draining: &mut Draining| draining.progress()["begun"].as_u64() == Some(4);
    for _ in 0..2_000 {
        if all(&mut draining) && waits(&mut draining) {
            break;
        }
        draining.cloud.world.run_for(Duration::from_millis(100));
    }
    assert!(waits(&mut draining), "{:#}", draining.progress());
    draining.act(0, json!({"confirmResize": null}));
    draining.until("empty", Draining::is_empty);
    draining.all_run_elsewhere();
}

#[test]
fn the_servers_of_a_host_that_is_down_are_made_anew_once_an_operator_says_so() {
    let mut draining = Draining::new(4);
    let host = draining.host.clone();
    draining.cloud.world.crash(&host);
    draining.cloud.machine(&host).unwrap().guests.power_fails();
    draining.cloud.world.run_for(SILENT);
    assert_eq!(draining.ask("PUT", json!({}))["drain"]["is_certain"], false);
    draining.cloud.world.run_for(Duration::from_secs(60));
    assert_eq!(draining.progress()["begun"], 0, "it waits for a word");
    draining.ask("PUT", json!({"down": true}));
    draining.until("empty", Draining::is_empty);
    draining.until("all run", |draining| {
        let all = draining.cloud.compute_rows::<ServerRow>();
        all.iter().all(|row| row.evacuation.is_none() && row.state == VmState::Active)
    });
    draining.all_run_elsewhere();
}

#[test]
fn who_may_not_drain_a_host_or_names_none_is_told_so() {
    let mut draining = Draining::new(5);
    let demo = flow::member(&mut draining.cloud, &draining.client, "demo");
    let path = format!("/updraft/v1/hosts/{}/drain", draining.host);
    let answer = demo.send(&mut draining.cloud, "PUT", &path, json!({})).unwrap();
    let words = "Policy doesn't allow updraft:hosts:drain to be performed.";
    assert_eq!((answer.status, &answer.body["error"]["message"]), (403, &json!(words)));
    let client = draining.client.clone();
    let nowhere = "/updraft/v1/hosts/nowhere/drain";
    let answer = client.send(&mut draining.cloud, "PUT", nowhere, json!({})).unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
    for method in ["GET", "DELETE"] {
        let answer = client.send(&mut draining.cloud, method, &path, Value::Null).unwrap();
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}
