//! Small campaigns as tests, from the same seeds every time; `updraft-sim` runs others, and more, and leaves more behind
//! of what fails.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use updraft_harness::{
    campaign::{self, Options, Settings, Summary, Watcher, process::Launch},
    fault::FaultKind,
    world::Tier,
};
use updraft_tests::scenario;

/// Nobody watches.
struct Unwatched;

impl Watcher for Unwatched {}

/// Runs the first seeds of a scenario under all its faults. `test` is the name of the test that calls it, which runs again
/// in each worker: there it returns nothing.
///
/// # Panics
/// If a seed fails.
pub(crate) fn holds(test: &str, scenario: &str, tier: Tier, seeds: u64) -> Option<Summary> {
    let scenarios = scenario::all();
    if scenarios.served() {
        return None;
    }
    let faults = scenarios.faults(scenario, &["all".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        scenario: scenario.to_owned(),
        options: Options { tier, faults },
        first: 1,
        seeds,
        time: None,
        until_covered: false,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        failures_max: 3,
        shrinks_max: 200,
        run_within: Duration::from_secs(300),
        out: folder.path().to_owned(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let launch = Launch::test(test);
    let (summary, failures) = campaign::run(&scenarios, &settings, &launch, &Unwatched).unwrap();
    println!("{summary}");
    for failure in &failures {
        println!("{}", std::fs::read_to_string(failure.folder.join("why.txt")).unwrap());
        println!("{}", std::fs::read_to_string(failure.folder.join("shrunk.json")).unwrap());
    }
    assert_eq!(summary.failed, 0, "seeds failed");
    assert_eq!(summary.runs, seeds, "not every seed has run");
    Some(summary)
}

/// Those of these kinds that have never struck.
pub(crate) fn never_struck(summary: &Summary, may: impl Fn(FaultKind) -> bool) -> Vec<FaultKind> {
    let may = FaultKind::ALL.iter().copied().filter(|kind| may(*kind));
    may.filter(|kind| !summary.struck.contains_key(kind.name())).collect()
}

/// Ends the test unless some seed was in each of these situations.
pub(crate) fn must_have_met(summary: &Summary, marks: &[&str]) {
    let never: Vec<_> = marks.iter().filter(|mark| !summary.marks.contains_key(**mark)).collect();
    assert!(never.is_empty(), "no seed was in the situations {never:?}");
}
