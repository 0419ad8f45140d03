//! More servers than fit: users of every control node ask at once for servers that take more than half a host each.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_harness::world::{Links, Tier};
use updraft_runtime::store::CommitFate;

use crate::{
    census,
    cloud::{Client, Fault, Menu, Point, SimCloud, Size},
    flow::{self, Prepared},
    invariants,
};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 24;

/// The memory of each server, in MiB: one fits a host, and no second one.
const LARGE_MIB: u64 = 40_000;

/// How long it takes at most until nothing is going on.
const SETTLES: Duration = Duration::from_secs(120);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A server is asked for at this control node.
    Make(u8),
    /// One of those there are is deleted.
    Delete(u8),
    /// Messages take up to so many milliseconds.
    Slowness(u16),
    /// This share of what control nodes commit, in percent, takes up to so many milliseconds.
    SlowDatabase(u8, u16),
    /// Nothing, for so many milliseconds.
    Wait(u16),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_range(0..10) {
        0..5 => Step::Make(rng.random_range(0..3)),
        5..7 => Step::Delete(rng.random_range(0..4)),
        7 if rng.random() => Step::Slowness(rng.random_range(1..300)),
        7 => Step::SlowDatabase(rng.random_range(0..=100), rng.random_range(1..300)),
        _ => Step::Wait(rng.random_range(0..800)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// How slow the database is.
struct Slow {
    rng: ChaCha8Rng,
    percent: u8,
    late_max_ms: u16,
}

impl Slow {
    fn fate(&mut self) -> Option<Fault> {
        let strikes = self.rng.random_range(0..100) < self.percent;
        let late = Duration::from_millis(self.rng.random_range(0..=self.late_max_ms).into());
        strikes.then_some(Fault::Commit(CommitFate::Delay(late)))
    }
}

struct Course {
    slow: Arc<Mutex<Slow>>,
    cloud: SimCloud,
    client: Client,
    have: Prepared,
    large: String,
}

/// Runs a case.
///
/// # Panics
/// If an invariant of the cloud is broken.
pub fn run(case: &Case) {
    let rng = ChaCha8Rng::seed_from_u64(case.seed);
    let slow = Arc::new(Mutex::new(Slow { rng, percent: 0, late_max_ms: 0 }));
    let database = slow.clone();
    let menu = Menu::new(move |point| match point {
        Point::Commit { node, .. } if node.starts_with("control") => database.lock().fate(),
        _ => None,
    });
    let mut cloud = SimCloud::start(case.seed, Tier::Memory, Size::default(), &menu);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let large = client.flavor(&mut cloud, LARGE_MIB);
    lift_quotas(&mut cloud, &client);
    let mut course = Course { slow, cloud, client, have, large };
    for step in &case.steps {
        course.take(*step);
    }
    course.cloud.world.network().set_links(Links::default());
    course.slow.lock().percent = 0;
    course.rest();
}

/// So that it is the hosts that have no room.
fn lift_quotas(cloud: &mut SimCloud, client: &Client) {
    let projects = client.must(cloud, "GET", "/identity/v3/projects?name=admin", Value::Null);
    let project = projects["projects"][0]["id"].as_str().unwrap_or_default();
    let path = format!("/compute/v2.1/os-quota-sets/{project}");
    let body = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1}});
    client.must(cloud, "PUT", &path, body);
}

impl Course {
    fn take(&mut self, step: Step) {
        match step {
            Step::Make(node) => self.make(node),
            Step::Delete(which) => self.delete(which),
            Step::Slowness(millis) => {
                let latency_max = Duration::from_millis(millis.into());
                self.cloud.world.network().set_links(Links { latency_max, ..Links::default() });
            }
            Step::SlowDatabase(percent, late_max_ms) => {
                let mut slow = self.slow.lock();
                (slow.percent, slow.late_max_ms) = (percent, late_max_ms);
            }
            Step::Wait(millis) => self.run_for(Duration::from_millis(millis.into())),
        }
        self.run_for(Duration::from_millis(3));
    }

    fn make(&mut self, node: u8) {
        let body = json!({"server": {"name": "large", "imageRef": self.have.image,
            "flavorRef": self.large, "networks": "none"}});
        self.send(node, "POST", "/compute/v2.1/servers", &body);
    }

    fn delete(&mut self, which: u8) {
        let servers: Vec<_> = census::take(&self.cloud).servers.into_keys().collect();
        let Some(index) = usize::from(which).checked_rem(servers.len()) else { return };
        let path = format!("/compute/v2.1/servers/{}", servers[index]);
        self.send(0, "DELETE", &path, &Value::Null);
    }

    /// What is answered does not matter here.
    fn send(&mut self, node: u8, method: &str, path: &str, body: &Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let _ = self.client.begin(&mut self.cloud, node, (method, path), "application/json", bytes);
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.cloud.world.now() + duration;
        while self.cloud.world.now() < end {
            self.cloud.world.step();
        }
        self.complain(false);
    }

    fn complain(&self, at_rest: bool) {
        let broken = invariants::broken(&census::take(&self.cloud), at_rest);
        if let Some(first) = broken.first() {
            panic!("{first}");
        }
    }

    fn rest(&mut self) {
        let until = self.cloud.world.now() + SETTLES;
        while self.cloud.world.now() < until {
            self.run_for(Duration::from_millis(250));
            if invariants::broken(&census::take(&self.cloud), true).is_empty() {
                return;
            }
        }
        self.complain(true);
    }
}
