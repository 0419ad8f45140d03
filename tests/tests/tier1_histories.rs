//! What many are told at once has an order: of the database's transactions, and of the names that the API gives.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use updraft_harness::{
    campaign::{Options, Plan},
    record::Detail,
    world::Tier,
};
use updraft_tests::scenario;

/// The plan of a seed, with every kind of fault.
fn plan(scenario: &str, seed: u64) -> Plan {
    let all = scenario::all();
    let faults = all.faults(scenario, &["all".to_owned()]).unwrap();
    all.plan(scenario, seed, &Options { tier: Tier::Memory, faults }).unwrap()
}

/// Runs these seeds, and returns the situations that they were in.
fn marks_of(scenario: &str, seeds: std::ops::RangeInclusive<u64>) -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    for seed in seeds {
        let ran = scenario::all().run_here(&plan(scenario, seed), Detail::Nothing).unwrap();
        assert_eq!(ran.failed, None, "seed {seed}");
        marks.extend(ran.outcome.marks);
    }
    marks
}

fn wanted(marks: &[&str]) -> BTreeSet<String> {
    marks.iter().map(ToString::to_string).collect()
}

#[test]
fn what_transactions_see_has_an_order() {
    let met = wanted(&[
        "moved",
        "not moved",
        "moved or not",
        "what a transaction has read has changed when it commits",
    ]);
    let marks = marks_of("ledger", 1..=60);
    assert!(marks.is_superset(&met), "{marks:?}");
}

#[test]
fn what_users_are_told_of_names_has_an_order() {
    let met = wanted(&[
        "read, renamed meanwhile",
        "renamed, with an unknown end",
        "read once it was deleted",
    ]);
    let marks = marks_of("names", 1..=20);
    assert!(marks.is_superset(&met), "{marks:?}");
}

#[test]
fn transactions_that_write_what_was_read_before_them_have_none() {
    let broken = (1..=20).find_map(|seed| {
        let mut plan = plan("ledger", seed);
        for step in plan.case["steps"].as_array_mut().unwrap() {
            if let Some(moved) = step["act"].get("Move") {
                step["act"] = serde_json::json!({"MoveCarelessly": moved});
            }
        }
        scenario::all().run_here(&plan, Detail::Nothing).unwrap().outcome.violation
    });
    let broken = broken.expect("nobody notices");
    assert_eq!(broken.check, "what transactions see has an order");
    assert!(broken.words.contains("none of these fits"), "{}", broken.words);
}
