//! A host goes down, and its servers are made anew elsewhere: never before nothing of them can run where they were.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_compute::rows::{HostRow, LeftRow, ServerRow};
use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow, life,
};
use updraft_transport::NodeId;

/// Longer than a host that is silent is taken for one that may live.
const SILENT: Duration = Duration::from_secs(10);

/// As long as nobody may place a second copy though nobody hears the first.
const LONG: Duration = Duration::from_secs(300);

/// A cloud with a server, and the host that has it.
struct Down {
    cloud: SimCloud,
    client: Client,
    server: String,
    host: NodeId,
}

impl Down {
    /// A server whose host has lost its power.
    fn new(seed: u64) -> Self {
        let mut cloud = SimCloud::start(seed, Tier::Memory, Size::default(), &Menu::default());
        cloud.never_runs_twice();
        let client = Client::log_in(&mut cloud);
        let have = flow::prepare(&mut cloud, &client);
        let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
        assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
        let host = host_of(&mut cloud);
        let mut down = Self { cloud, client, server, host };
        down.lose_power();
        down
    }

    fn lose_power(&mut self) {
        self.cloud.world.crash(&self.host);
        self.cloud.machine(&self.host).unwrap().guests.power_fails();
        self.cloud.world.run_for(SILENT);
    }

    fn put_service(&mut self, host: &NodeId, body: Value) {
        let path = "/compute/v2.1/os-services";
        let services = self.client.must(&mut self.cloud, "GET", path, Value::Null);
        let services = services["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["host"] == host.as_str()).unwrap();
        let path = format!("{path}/{}", service["id"].as_str().unwrap());
        self.client.must(&mut self.cloud, "PUT", &path, body);
    }

    fn force_down(&mut self, forced_down: bool) {
        let host = self.host.clone();
        self.put_service(&host, json!({"forced_down": forced_down}));
    }

    fn act(&mut self, body: Value) {
        let path = format!("/compute/v2.1/servers/{}/action", self.server);
        self.client.must(&mut self.cloud, "POST", &path, body);
    }

    fn evacuate(&mut self, argument: &Value) {
        self.act(json!({"evacuate": argument}));
    }

    /// It is there again, and runs: what was taken from a host is stopped until somebody starts it.
    fn runs_elsewhere(&mut self) {
        self.is("SHUTOFF");
        self.act(json!({"os-start": null}));
        self.is("ACTIVE");
        assert_ne!(host_of(&mut self.cloud), self.host);
    }

    fn come_back(&mut self) {
        self.cloud.world.start(&self.host);
    }

    fn is(&mut self, status: &str) {
        let is = self.client.wait_for(&mut self.cloud, &self.server, Some(status));
        assert!(is, "{:#?}", self.cloud.compute_rows::<ServerRow>());
    }

    fn row(&mut self) -> ServerRow {
        self.cloud.compute_rows::<ServerRow>().pop().unwrap()
    }

    fn has_guest(&self) -> bool {
        !self.cloud.machine(&self.host).unwrap().guests.guests().is_empty()
    }
}

fn host_of(cloud: &mut SimCloud) -> NodeId {
    let row = cloud.compute_rows::<ServerRow>().pop().unwrap();
    NodeId::new(&row.placement.unwrap().host).unwrap()
}

#[test]
fn nothing_is_placed_elsewhere_before_somebody_knows_that_the_host_runs_nothing() {
    let mut down = Down::new(1);
    down.evacuate(&json!({}));
    let before = down.row().placement;
    down.cloud.world.run_for(LONG);
    assert_eq!(down.row().placement, before, "it waits, however long that is");
    down.is("REBUILD");
    down.force_down(true);
    down.runs_elsewhere();
    let left = down.cloud.compute_rows::<LeftRow>();
    assert_eq!(
        left.iter().map(|left| left.host.as_str()).collect::<Vec<_>>(),
        [down.host.as_str()]
    );
    assert!(down.has_guest(), "nobody could remove it yet");
    let hosts = down.cloud.compute_rows::<HostRow>();
    let old = hosts.iter().find(|host| host.name == down.host.as_str()).unwrap();
    assert!(old.claims.is_empty(), "its claim goes with the placement");
}

#[test]
fn a_host_that_comes_back_removes_what_it_no_longer_has_before_anything_else() {
    let mut down = Down::new(2);
    down.force_down(true);
    down.evacuate(&json!({}));
    down.runs_elsewhere();
    down.come_back();
    down.cloud.world.run_for(LONG);
    assert!(down.has_guest(), "an operator says still that it is down: it begins nothing");
    down.force_down(false);
    down.cloud.world.run_for(SILENT);
    assert!(!down.has_guest());
    assert_eq!(down.cloud.compute_rows::<LeftRow>(), []);
    life::rest(&mut down.cloud);
    let client = down.client;
    client.must(
        &mut down.cloud,
        "DELETE",
        &format!("/compute/v2.1/servers/{}", down.server),
        Value::Null,
    );
    assert!(client.wait_for(&mut down.cloud, &down.server, None));
    life::rest(&mut down.cloud);
}

#[test]
fn a_host_that_comes_back_first_says_itself_that_it_has_nothing() {
    let mut down = Down::new(3);
    down.evacuate(&json!({}));
    down.come_back();
    down.runs_elsewhere();
    assert!(!down.has_guest());
    assert_eq!(down.cloud.compute_rows::<LeftRow>(), []);
    life::rest(&mut down.cloud);
}

#[test]
fn one_that_no_other_host_can_make_stays_where_its_disk_is() {
    let mut down = Down::new(4);
    down.force_down(true);
    let mut others = down.cloud.hosts().to_vec();
    others.retain(|other| *other != down.host);
    for other in others {
        down.put_service(&other, json!({"status": "disabled"}));
    }
    down.evacuate(&json!({}));
    down.is("ERROR");
    let row = down.row();
    let fault = row.fault.unwrap().message;
    assert!(fault.contains("the host is disabled"), "{fault}");
    assert_eq!(host_of(&mut down.cloud), down.host);
    assert!(row.launched.is_some());
    assert_eq!(down.cloud.compute_rows::<LeftRow>(), [], "it is to keep what it has");
    down.force_down(false);
    down.come_back();
    down.is("SHUTOFF");
    assert_eq!(host_of(&mut down.cloud), down.host);
    life::rest(&mut down.cloud);
}

#[test]
fn it_goes_where_it_is_told() {
    let mut down = Down::new(5);
    down.force_down(true);
    let other = down.cloud.hosts().iter().rfind(|other| **other != down.host).unwrap().clone();
    down.evacuate(&json!({"host": other.as_str()}));
    down.runs_elsewhere();
    assert_eq!(host_of(&mut down.cloud), other);
    let row = down.row();
    assert_eq!((row.evacuation, row.action), (None, None));
}
