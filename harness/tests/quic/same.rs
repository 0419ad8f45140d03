//! The same seed is the same run.

use std::process::Command;

use super::*;

/// Set in a child to the seed of the run whose log it shall print.
const CHILD: &str = "UPDRAFT_QUIC_SEED";

/// Five nodes with loss, a partition, and a crash and restart.
fn eventful(seed: u64) -> Vec<String> {
    let names = ["a", "b", "c", "d", "e"];
    let (mut sim, notes, log) = world(&names, seed, foul(seed, [5, 1, 1, 5]));
    run_for(&mut sim, Duration::from_secs(2));
    sim.partition("a", "b");
    run_for(&mut sim, Duration::from_secs(4));
    sim.repair("a", "b");
    sim.crash("c");
    run_for(&mut sim, Duration::from_secs(2));
    sim.bounce("c");
    run_for(&mut sim, Duration::from_secs(4));
    assert!(notes.of("a").contains(&"up c 2".to_owned()), "{:?}", notes.of("a"));
    let mut lines = log.lines();
    for name in names {
        lines.extend(notes.of(name).into_iter().map(|line| format!("{name} {line}")));
    }
    lines
}

/// Runs this very test in a process of its own, where it prints the log of one run.
fn eventful_elsewhere(seed: u64) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "same::the_same_seed_is_the_same_run_in_every_process", "--nocapture"])
        .env(CHILD, seed.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("log ")).map(str::to_owned).collect()
}

#[test]
fn the_same_seed_is_the_same_run_in_every_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        eventful(seed.parse().unwrap()).iter().for_each(|line| println!("log {line}"));
        return;
    }
    let first = eventful_elsewhere(7);
    let second = eventful_elsewhere(7);
    assert!(first.len() > 5000, "only {} lines", first.len());
    let difference = first.iter().zip(&second).position(|(one, other)| one != other);
    if let Some(at) = difference {
        panic!("line {at} differs:\n{}\n{}", first[at], second[at]);
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, eventful_elsewhere(8), "another seed is another run");
}
