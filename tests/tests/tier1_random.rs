//! Random users, random troubles: whatever is asked and whatever goes wrong, the cloud keeps its promises.
//!
//! A small campaign of the scenario `life`, from the same seeds every time; `updraft-sim` runs others, and more, and
//! leaves more behind of what fails.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use updraft_harness::{
    campaign::{self, Options, Settings, Watcher, process::Launch},
    world::Tier,
};
use updraft_tests::scenario;

const TEST: &str = "whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises";

/// As many as fit into CI's minutes.
const SEEDS: u64 = 60;

/// Nobody watches.
struct Unwatched;

impl Watcher for Unwatched {}

#[test]
fn whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises() {
    let scenarios = scenario::all();
    if scenarios.served() {
        return;
    }
    let faults = scenarios.faults("life", &["all".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        scenario: "life".to_owned(),
        options: Options { tier: Tier::Memory, faults: faults.clone() },
        first: 1,
        seeds: SEEDS,
        time: None,
        until_covered: false,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        failures_max: 3,
        shrinks_max: 200,
        run_within: Duration::from_secs(300),
        out: folder.path().to_owned(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let launch = Launch::test(TEST);
    let (summary, failures) = campaign::run(&scenarios, &settings, &launch, &Unwatched).unwrap();
    println!("{summary}");
    for failure in &failures {
        println!("{}", std::fs::read_to_string(failure.folder.join("why.txt")).unwrap());
        println!("{}", std::fs::read_to_string(failure.folder.join("shrunk.json")).unwrap());
    }
    assert_eq!(summary.failed, 0, "seeds failed");
    assert_eq!(summary.runs, SEEDS, "not every seed has run");
    let never: Vec<_> = faults.iter().filter(|kind| !summary.struck.contains_key(*kind)).collect();
    assert!(never.is_empty(), "never struck: {never:?}");
    assert!(summary.missing.is_empty(), "never taken: {:?}", summary.missing);
}
