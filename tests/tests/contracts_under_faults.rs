//! Messages of every contract keep their promises whatever goes wrong, on tiers 1 and 2.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use updraft_harness::{campaign::Options, record::Detail, world::Tier};
use updraft_tests::scenario;

/// Runs these seeds with every kind of fault, and returns the situations that they were in.
fn marks_of(tier: Tier, seeds: std::ops::RangeInclusive<u64>) -> BTreeSet<String> {
    let all = scenario::all();
    let faults = all.faults("contracts", &["all".to_owned()]).unwrap();
    let options = Options { tier, faults };
    let mut marks = BTreeSet::new();
    for seed in seeds {
        let plan = all.plan("contracts", seed, &options).unwrap();
        let ran = all.run_here(&plan, Detail::Nothing).unwrap();
        assert_eq!(ran.failed, None, "seed {seed}");
        marks.extend(ran.outcome.marks);
    }
    marks
}

#[test]
fn every_contract_is_kept_on_tier_1() {
    let marks = marks_of(Tier::Memory, 1..=30);
    for mark in [
        "Fenced is begun twice",
        "Remembered is begun in two lives",
        "Once has an unknown end, and was begun",
        "Once has an unknown end, and was not begun",
        "Note is lost",
        "Fanout reaches some",
        "a reply comes for a former life of its caller",
    ] {
        assert!(marks.contains(mark), "no seed was in the situation {mark:?}: {marks:?}");
    }
}

#[test]
fn every_contract_is_kept_on_tier_2() {
    let marks = marks_of(Tier::Quic, 1..=6);
    for mark in ["Fenced is begun twice", "Once has an unknown end, and was begun"] {
        assert!(marks.contains(mark), "no seed was in the situation {mark:?}: {marks:?}");
    }
}
