//! What campaigns run: the cloud in a world, from a seed.
//!
//! Each scenario draws a case, a value that prints and shrinks, and runs it until the cloud is at rest again. All are
//! known by name to the program `updraft-sim`.

mod case;
mod continents;
mod contracts;
mod ledger;
mod life;
mod names;
mod store;
mod storm;
mod tokens;
mod weeks;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use updraft_harness::{
    campaign::{Options, Scenarios},
    fault::{FaultKind, FaultPlan, Swarm, Targets},
    world::Tier,
};

use crate::{
    same::INTERPOSER,
    workload::{self, gen_case},
};

pub use case::Case;
pub use continents::{Burst, Continents, topology};
pub use contracts::Contracts;
pub use ledger::Ledger;
pub use life::Life;
pub use names::Names;
pub use store::Stored;
pub use storm::Storm;
pub use tokens::Tokens;
pub use weeks::Weeks;

/// What a cloud of users and hosts comes by, if it is run often enough.
const COVERED: [&str; 6] = [
    "updraft_runtime::rpc::client",
    "updraft_runtime::rpc::dispatch",
    "updraft_runtime::store",
    "updraft_compute",
    "updraft_network",
    "updraft_volume",
];

/// All of them.
#[must_use]
pub fn all() -> Scenarios {
    Scenarios::new("updraft_tests::scenario::replay")
        .armed_by(INTERPOSER)
        .with(Life)
        .with(Storm)
        .with(Names)
        .with(Ledger)
        .with(Tokens)
        .with(Contracts)
        .with(Stored)
        .with(Weeks)
        .with(Continents)
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
pub(crate) fn drawn<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, seed: u64) -> T {
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

/// Whether the cloud meets faults of this kind on this tier: what it keeps is on disks that fail on tier 3 alone.
#[must_use]
pub fn meets(kind: FaultKind, tier: Tier) -> bool {
    kind.on(tier).is_some() && (tier == Tier::Disks || !kind.is_of_disks())
}

/// A plan of the kinds that are wanted, drawn from the case's seed.
fn faults(seed: u64, options: &Options, mut targets: Targets) -> FaultPlan {
    let wanted = |kind: &FaultKind| options.faults.contains(kind.name());
    targets.kinds.retain(|kind| wanted(kind) && meets(*kind, options.tier));
    if targets.kinds.is_empty() { FaultPlan::new(seed) } else { Swarm::draw(seed, &targets) }
}

/// Smaller cases of a workload.
fn smaller(case: &workload::Case) -> Vec<workload::Case> {
    case.smaller(&gen_case::targets(Tier::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_leaves_to_another_is_sought_there() {
        assert_eq!(all().left_by_all(), Vec::<String>::new());
    }
}
