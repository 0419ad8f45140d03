//! More servers than fit: users of every control node ask at once for servers that take more than half a host each.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_harness::world::{Links, Tier};

use crate::{
    census,
    cloud::{Client, Menu, SimCloud, Size},
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
        7 => Step::Slowness(rng.random_range(1..300)),
        _ => Step::Wait(rng.random_range(0..800)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

struct Course {
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
    let mut cloud = SimCloud::start(case.seed, Tier::Memory, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let large = client.flavor(&mut cloud, LARGE_MIB);
    let mut course = Course { cloud, client, have, large };
    for step in &case.steps {
        course.take(*step);
    }
    course.cloud.world.network().set_links(Links::default());
    course.rest();
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
