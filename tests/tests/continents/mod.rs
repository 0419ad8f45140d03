//! A small campaign of the scenario `continents` as a test, in clouds of fewer hosts than `updraft-sim` runs it with.

use std::{collections::BTreeSet, ops::RangeInclusive};

use updraft_harness::{
    campaign::{Options, Run, Scenario},
    world::Tier,
};
use updraft_tests::{
    same,
    scenario::{Burst, Continents},
};

/// Runs these seeds with so many hosts, a third of them in each data centre, and a share of the servers; returns the marks
/// that were reached.
///
/// # Panics
/// If a seed fails.
pub(crate) fn settles(
    tier: Tier,
    seeds: RangeInclusive<u64>,
    hosts: usize,
    share: u16,
) -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    for seed in seeds {
        let options = Options { tier, faults: BTreeSet::new() };
        let mut case = Continents.draw(seed, &options);
        case.hosts = hosts;
        let fewer = |burst: &Burst| Burst { servers: burst.servers / share, ..*burst };
        case.bursts = case.bursts.iter().map(fewer).collect();
        let run = Run::new(tier);
        let ended = same::apart(seed, || Continents.run(&case, &run));
        let outcome = run.outcome();
        println!("seed {seed}: {:?}", outcome.counts);
        ended.unwrap_or_else(|why| panic!("{case}{why}"));
        marks.extend(outcome.marks);
    }
    marks
}
