//! Every example runs in both simulations and for real, from the same source.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the examples of this build are.
fn built() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples")
}

/// The examples that there are.
fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[allow(clippy::disallowed_methods, reason = "a test runs what a user runs")]
fn run(example: &str, arguments: &[&str]) -> String {
    let output = Command::new(built().join(example)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{example} {arguments:?}: {said}{complained}");
    said
}

fn all_run_on(tier: &str) {
    assert!(names().len() >= 4, "{:?}", names());
    for name in names() {
        assert_ne!(run(&name, &[tier]), "", "{name} says what it did");
    }
}

#[test]
fn every_example_runs_over_the_in_memory_switch_and_says_the_same_for_the_same_seed() {
    for name in names() {
        for seed in ["1", "2", "3"] {
            let said = run(&name, &["--memory", "--seed", seed]);
            assert_eq!(said, run(&name, &["--memory", "--seed", seed]), "{name}, seed {seed}");
        }
    }
}

#[test]
fn every_example_runs_over_simulated_udp() {
    all_run_on("--quic");
}

#[test]
fn every_example_runs_on_this_machine() {
    all_run_on("--real");
}
