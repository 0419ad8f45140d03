//! Random users, random faults: whatever is asked and whatever goes wrong, the cloud keeps its promises.
//!
//! Each case runs in a process of its own. The cases follow from a seed, so that the same ones run every time;
//! `UPDRAFT_RANDOM=SEED:CASES` runs others, and more. A case that fails is shrunk, and printed as a plan with the
//! command that replays it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use updraft_harness::fault::FaultKind;
use updraft_tests::{
    same,
    workload::{self, Case, gen_case},
};

const TEST: &str = "whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises";

/// What runs by default, as many cases as fit into CI's minutes.
const DEFAULT: (u64, usize) = (1, 60);

/// Runs that a failing case may take to become small.
const SHRINKS_MAX: u32 = 200;

/// What must have been taken at least once over all cases: else they show nothing of it.
const TAKEN: [&str; 15] = [
    "Attach",
    "ConfirmResize",
    "DeleteNetwork",
    "DeleteServer",
    "DeleteVolume",
    "Detach",
    "MakePort",
    "MakeServer",
    "MakeSnapshot",
    "Reboot",
    "Resize",
    "RevertResize",
    "Start",
    "Stop",
    "Upload",
];

fn wanted() -> (u64, usize) {
    let Ok(said) = std::env::var("UPDRAFT_RANDOM") else { return DEFAULT };
    let (seed, cases) = said.split_once(':').expect("UPDRAFT_RANDOM is SEED:CASES");
    (seed.parse().unwrap(), cases.parse().unwrap())
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { max_shrink_iters: SHRINKS_MAX, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn text(case: &Case) -> String {
    serde_json::to_string(case).unwrap()
}

/// How often each request was answered with each status, or what went wrong.
fn told(result: Result<Vec<String>, String>) -> Result<BTreeMap<String, u64>, String> {
    result.map(|lines| serde_json::from_str(&lines.concat()).unwrap())
}

/// What went wrong in a case, its plan, and how to see it again.
fn plan(why: &str, case: &Case) -> String {
    format!(
        "{why}\n{case}  replay: {}='{}' cargo test -p updraft-tests --test tier1_random -- --nocapture",
        same::CHILD,
        text(case)
    )
}

/// Makes a failing case small, and says all that is needed to see it again.
fn shrunk(runner: &mut TestRunner, tree: impl ValueTree<Value = Case>) -> String {
    let last = RefCell::new(String::new());
    let fails = |case: Case| match told(same::elsewhere(TEST, &text(&case))) {
        Ok(_) => Ok(()),
        Err(why) => {
            last.replace(why.clone());
            Err(TestCaseError::fail(why))
        }
    };
    match runner.run_one(tree, fails) {
        Err(TestError::Fail(_, case)) => plan(&last.take(), &case),
        other => {
            format!("it failed once and not again: a run is not a function of its seed: {other:?}")
        }
    }
}

#[test]
fn whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises() {
    if let Some(what) = same::child() {
        let case: Case = serde_json::from_str(&what).unwrap();
        let answered = same::seeded(case.seed, || workload::run(&case));
        return same::tell(&[serde_json::to_string(&answered).unwrap()]);
    }
    let (seed, cases) = wanted();
    let mut runner = runner(seed);
    let trees: Vec<_> =
        (0..cases).map(|_| gen_case::cases().new_tree(&mut runner).unwrap()).collect();
    let whats: Vec<String> = trees.iter().map(|tree| text(&tree.current())).collect();
    let (mut answered, mut failures) = (BTreeMap::<String, u64>::new(), Vec::new());
    for (tree, result) in trees.into_iter().zip(same::each_elsewhere(TEST, &whats)) {
        match told(result) {
            Ok(counts) => {
                for (what, count) in counts {
                    *answered.entry(what).or_default() += count;
                }
            }
            // One is enough to mend; the others may be the same.
            Err(_) if failures.is_empty() => failures.push(shrunk(&mut runner, tree)),
            Err(why) => failures.push(plan(&why, &tree.current())),
        }
    }
    println!("{answered:#?}");
    assert!(
        failures.is_empty(),
        "{} of {cases} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    let taken = |ask: &&str| answered.keys().any(|key| key.starts_with(&format!("{ask} 2")));
    let never: Vec<&str> = TAKEN.into_iter().filter(|ask| !taken(ask)).collect();
    assert!(never.is_empty(), "never taken: {never:?}");
    let struck = |kind: &&FaultKind| answered.contains_key(&format!("struck {kind}"));
    let targets = gen_case::targets();
    let never: Vec<_> = targets.kinds.iter().filter(|kind| !struck(kind)).collect();
    assert!(never.is_empty(), "never struck: {never:?}");
}
