//! Three data centres, a storm of servers, and one of them is lost and comes back: a small campaign of the scenario
//! `continents`, in clouds of fewer hosts than `updraft-sim` runs it with.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeSet;

use updraft_harness::{
    campaign::{Options, Run, Scenario},
    world::Tier,
};
use updraft_tests::{
    same,
    scenario::{Burst, Continents},
};

/// As many as fit into CI's minutes; both ways to lose a data centre are among them.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;

/// A third of them in each data centre.
const HOSTS: usize = 45;

#[test]
fn a_data_centre_is_lost_in_a_storm_and_everything_settles() {
    let mut marks = BTreeSet::new();
    for seed in SEEDS {
        let options = Options { tier: Tier::Memory, faults: BTreeSet::new() };
        let mut case = Continents.draw(seed, &options);
        case.hosts = HOSTS;
        let fewer = |burst: &Burst| Burst { servers: burst.servers / 4, ..*burst };
        case.bursts = case.bursts.iter().map(fewer).collect();
        let run = Run::new(Tier::Memory);
        let ended = same::apart(seed, || Continents.run(&case, &run));
        let outcome = run.outcome();
        println!("seed {seed}: {:?}", outcome.counts);
        ended.unwrap_or_else(|why| panic!("{case}{why}"));
        marks.extend(outcome.marks);
    }
    for mark in Continents.marks() {
        assert!(marks.contains(*mark), "never: {mark}");
    }
}
