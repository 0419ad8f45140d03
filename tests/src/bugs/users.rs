//! The random users' cloud with every kind of fault: the campaigns' scenario `life`.

use updraft_harness::{
    campaign::{Options, Run, Scenario},
    world::Tier,
};

use crate::{
    scenario::Life,
    workload::{self, Case},
};

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let faults = Life.faults().into_iter().map(str::to_owned).collect();
    Life.draw(seed, &Options { tier: Tier::Memory, faults })
}

/// Simpler cases.
#[must_use]
pub fn smaller(case: &Case) -> Vec<Case> {
    Life.smaller(case)
}

/// Runs a case.
///
/// # Panics
/// If a promise or an invariant of the cloud is broken.
pub fn run(case: &Case) {
    workload::run(case, &Run::new(Tier::Memory));
}
