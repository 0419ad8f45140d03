//! Each planted bug that was found is found again by its seed and by the same check; the same seed without it passes.
//!
//! `make bugs` hunts all of them anew and writes `tests/bugs.json`, which this test reads.
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use updraft_harness::campaign::process;
use updraft_tests::{
    bugs::{
        Scenario,
        hunt::{self, Job, Known},
    },
    same,
};
use updraft_transport::planted::Bug;

const TEST: &str = "what_was_found_is_found_again_and_nothing_is_found_without_a_bug";

fn known() -> Known {
    serde_json::from_str(include_str!("../bugs.json")).unwrap()
}

fn job(bug: Option<&String>, scenario: &str, seed: u64) -> String {
    let case = (Scenario::named(scenario).unwrap().draw)(seed);
    serde_json::to_string(&Job { bug: bug.cloned(), scenario: scenario.to_owned(), case }).unwrap()
}

#[test]
fn what_was_found_is_found_again_and_nothing_is_found_without_a_bug() {
    if process::is_worker() {
        return process::serve(hunt::work);
    }
    let found = known().found;
    let with = found.iter().map(|found| {
        let job = job(Some(&found.bug), &found.scenario, found.seed);
        (job, found.bug.clone(), Some(found.check.clone()))
    });
    // Several bugs are found by the same seed.
    let seeds: BTreeSet<_> = found.iter().map(|found| (&found.scenario, found.seed)).collect();
    let without = seeds.into_iter().map(|(scenario, seed)| {
        (job(None, scenario, seed), format!("seed {seed} of {scenario} without a bug"), None)
    });
    let all: Vec<(String, String, Option<String>)> = with.chain(without).collect();
    let jobs: Vec<String> = all.iter().map(|(job, ..)| job.clone()).collect();
    let mut wrong = Vec::new();
    for ((_, what, expected), ended) in all.iter().zip(same::each_elsewhere(TEST, &jobs)) {
        let said = ended.err();
        if said.as_deref().map(hunt::spoken) != *expected {
            wrong.push(format!("{what}: {said:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// So that nothing is hidden: a bug that is neither would be one that nobody has hunted.
#[test]
fn every_bug_of_the_catalogue_is_found_or_said_not_to_be() {
    let known = known();
    let found = known.found.iter().map(|found| found.bug.as_str());
    let missed = known.missed.iter().map(|missed| missed.bug.as_str());
    let mut told: Vec<&str> = found.chain(missed).collect();
    told.sort_unstable();
    let mut all: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    all.sort_unstable();
    assert_eq!(told, all);
}
