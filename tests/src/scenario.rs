//! What campaigns run: the cloud in a world, from a seed.
//!
//! Each scenario draws a case, a value that prints and shrinks, and runs it until the cloud is at rest again. All are
//! known by name to the program `updraft-sim`.

mod life;
mod storm;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use updraft_harness::{
    campaign::{Options, Scenarios, shrink::shorter},
    fault::{FaultKind, FaultPlan, Swarm, reductions},
};

use crate::{
    same::INTERPOSER,
    workload::{Case, gen_case},
};

pub use life::Life;
pub use storm::Storm;

/// All of them.
#[must_use]
pub fn all() -> Scenarios {
    Scenarios::new("updraft_tests::scenario::replay").armed_by(INTERPOSER).with(Life).with(Storm)
}

/// Runs the plan of this text, as a failing seed has left it.
///
/// # Panics
/// If it fails.
pub fn replay(plan: &str) {
    all().replay(plan);
}

/// The value that a strategy draws from a seed.
///
/// # Panics
/// If the strategy refuses too many values in a row: then it is of no use with any seed.
fn drawn<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, seed: u64) -> T {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match strategy.new_tree(&mut runner) {
        Ok(tree) => tree.current(),
        Err(why) => panic!("nothing can be drawn: {why}"),
    }
}

/// The names of all kinds of faults.
fn kinds() -> Vec<&'static str> {
    FaultKind::ALL.iter().map(|kind| kind.name()).collect()
}

/// A plan of the kinds that are wanted, drawn from the case's seed.
fn faults(seed: u64, options: &Options) -> FaultPlan {
    let mut targets = gen_case::targets();
    targets.kinds.retain(|kind| options.faults.contains(kind.name()));
    if targets.kinds.is_empty() { FaultPlan::new(seed) } else { Swarm::draw(seed, &targets) }
}

/// Smaller cases: fewer steps, and less of the faults.
fn smaller(case: &Case) -> Vec<Case> {
    let faults = shorter(&case.faults.steps).into_iter().map(|steps| {
        let faults = FaultPlan { steps, ..case.faults.clone() };
        Case { faults, ..case.clone() }
    });
    let steps = shorter(&case.steps).into_iter().map(|steps| Case { steps, ..case.clone() });
    let less = reductions(&case.faults, &gen_case::targets());
    let less = less.into_iter().map(|faults| Case { faults, ..case.clone() });
    faults.chain(steps).chain(less).collect()
}
