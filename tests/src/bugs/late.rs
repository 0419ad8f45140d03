//! The random users' cloud, where now and then a message arrives up to a minute late, long after it was sent again and
//! answered.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_harness::{
    campaign::Run,
    world::{Tier, Verdict},
};
use updraft_transport::Kind;

use crate::{
    cloud::SimCloud,
    workload::{self, Case},
};

/// The share of messages that come late.
const LATE: f64 = 0.04;

/// How late they are, in milliseconds.
const LATE_MS: std::ops::Range<u64> = 1_500..60_000;

/// Runs a case.
///
/// # Panics
/// If a promise or an invariant of the cloud is broken.
pub fn run(case: &Case) {
    let seed = case.seed;
    workload::run_in(case, &Run::new(Tier::Memory), |cloud| begin(cloud, seed));
}

fn begin(cloud: &mut SimCloud, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c61_7465);
    cloud.world.network().intercept(move |from, to, frame| {
        let request = matches!(frame.header.kind, Kind::Call | Kind::Cast);
        if from == to || !request || !rng.random_bool(LATE) {
            return Verdict::Pass;
        }
        Verdict::Delay(Duration::from_millis(rng.random_range(LATE_MS)))
    });
}
