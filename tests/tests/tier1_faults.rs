//! Every step of the provisioning flow fails, once, in every way it can.
//!
//! A run without faults yields the list of points: each message, each commit, each operation of a driver, from
//! the first request of a user to the last trace of what it made. Everything follows from one seed, so the same
//! point comes again in every later run, where one thing goes wrong at it. Each run is a process of its own.
//! All (point, fault) pairs run; with `UPDRAFT_SWEEP=N`, an even share of about N, for a quick look.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;

use updraft_harness::campaign::process;
use updraft_tests::{
    points::{self, Wrong},
    same,
    sweep::{self, Told},
};

const SEED: u64 = 4;

/// Points of the fault-free run; may only grow.
const POINTS_MIN: usize = 230;

const TEST: &str = "every_step_may_fail_in_every_way";

fn from_worker(said: &str) -> Told {
    serde_json::from_str(said).unwrap()
}

/// Runs with this fault, or with none.
fn told(job: &str) -> Result<String, String> {
    let target = serde_json::from_str(job).unwrap();
    let told = same::apart(SEED, || sweep::run(SEED, target))?;
    Ok(serde_json::to_string(&told).unwrap())
}

#[test]
fn every_step_may_fail_in_every_way() {
    if process::is_worker() {
        return process::serve(told);
    }
    let fine = from_worker(&same::elsewhere(TEST, "null").unwrap());
    assert!(fine.end.contains("ACTIVE") && fine.end.contains("in-use"), "{}", fine.end);
    let of = |kind: &str| fine.points.iter().filter(|point| point.starts_with(kind)).count();
    let (local, commits, drivers) = (of("local"), of("commit"), of("driver"));
    let messages = fine.points.len() - local - commits - drivers;
    println!(
        "{} points: {messages} messages between nodes and {local} within one, {commits} commits, \
         {drivers} operations of drivers",
        fine.points.len(),
    );
    assert!(fine.points.len() >= POINTS_MIN, "fewer points than before: {}", fine.points.len());
    let pairs: Vec<(usize, Wrong)> = (0..fine.points.len())
        .flat_map(|number| points::menu_of(&fine.points[number]).iter().map(move |w| (number, *w)))
        .collect();
    let share = std::env::var("UPDRAFT_SWEEP").map_or(pairs.len(), |share| share.parse().unwrap());
    let stride = pairs.len().div_ceil(share);
    let chosen: Vec<(usize, Wrong)> = pairs.iter().step_by(stride).copied().collect();
    println!("{} of {} (point, fault) pairs, every {stride}th", chosen.len(), pairs.len());
    let whats: Vec<String> =
        chosen.iter().map(|pair| serde_json::to_string(&Some(pair)).unwrap()).collect();
    let (mut ends, mut failures) = (BTreeMap::<String, usize>::new(), Vec::new());
    for ((pair, what), result) in chosen.iter().zip(&whats).zip(same::each_elsewhere(TEST, &whats))
    {
        let point = &fine.points[pair.0];
        let judged = result.and_then(|said| {
            let told = from_worker(&said);
            told.judge(point, pair.1).map(|()| told.end)
        });
        match judged {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(why) => failures.push(format!(
                "{:?} at point {} ({point}): {why}\n  replay: {}='{what}' cargo test -p \
                 updraft-tests --test tier1_faults -- --nocapture",
                pair.1,
                pair.0,
                process::WORKER,
            )),
        }
    }
    println!("{ends:#?}");
    let (failed, ran) = (failures.len(), chosen.len());
    assert!(failures.is_empty(), "{failed} of {ran} failed:\n{}", failures.join("\n"));
}
