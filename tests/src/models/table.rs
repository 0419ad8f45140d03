//! Runs an exploration and prints a line of it, so that all lines are a table.

use std::{collections::BTreeSet, fmt, time::Duration};

use updraft_harness::explore::{Bounds, Model, Report, explore};
use updraft_runtime::Env;

/// Most states of one exploration, wide bounds included.
const STATES_MAX: usize = 20_000_000;

/// What widens the bounds, for a run by night.
const WIDE: &str = "UPDRAFT_TIER0";

/// Whether the bounds are to be as wide as a night is long.
#[must_use]
pub fn is_wide() -> bool {
    std::env::var(WIDE).is_ok_and(|value| value == "wide")
}

/// Bounds as a person reads them: what may happen, and how often.
#[must_use]
pub fn told(budget: &impl fmt::Debug) -> String {
    let text = format!("{budget:?}");
    let parts = text.split(['{', '}', ',']).map(str::trim);
    let bounded = parts.filter(|part| {
        part.split_once(": ")
            .is_some_and(|(_, times)| times.parse::<u8>().is_ok_and(|times| times > 0))
    });
    bounded.collect::<Vec<_>>().join(", ").replace(": ", " ")
}

/// Explores all of a model that keeps every law; panics if anything does not hold.
pub fn holds<M: Model>(name: &str, bounds: &str, model: &M) -> BTreeSet<&'static str> {
    let report = run(name, bounds, model, false);
    assert!(report.violation.is_none(), "{name} ({bounds}): {:?}", report.violation);
    assert!(report.stuck == 0, "{name} ({bounds}): stuck after {:#?}", report.stuck_after);
    report.marks.into_keys().collect()
}

/// Explores a model that breaks a law, and counts every state that must not be; whether there is any.
#[must_use]
pub fn is_found<M: Model>(name: &str, bounds: &str, model: &M) -> bool {
    let report = run(name, bounds, model, true);
    report.violation.is_some() || report.stuck > 0
}

/// Explores a model that breaks a law until it meets a state that must not be; whether it does.
#[must_use]
pub fn is_met<M: Model>(name: &str, bounds: &str, model: &M) -> bool {
    run(name, bounds, model, false).violation.is_some()
}

fn run<M: Model>(name: &str, bounds: &str, model: &M, count_all: bool) -> Report {
    // A clock, for the rate, and simulated drivers need one to be there; nothing runs on it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
    let _entered = runtime.enter();
    let env = Env::real();
    let begun = env.now();
    let report = explore(model, Bounds { states_max: STATES_MAX, count_all });
    print(name, bounds, &report, env.now() - begun);
    assert!(!report.truncated, "{name} ({bounds}): the bounds are too wide to be explored");
    report
}

#[allow(clippy::print_stdout, reason = "the counts are what an exploration is for")]
fn print(name: &str, bounds: &str, report: &Report, took: Duration) {
    let Report { states, moves, settled, stuck, .. } = report;
    let rate = *states as f64 / took.as_secs_f64().max(0.001);
    println!(
        "| {name} | {bounds} | {states} | {moves} | {settled} | {} | {rate:.0} |",
        bad(report)
    );
    let marks: Vec<_> =
        report.marks.iter().map(|(mark, states)| format!("{mark} {states}")).collect();
    println!("    {}", marks.join(", "));
    if let Some(violation) = &report.violation {
        println!("    {} after\n        {}", violation.reason, violation.moves.join("\n        "));
    }
    if *stuck > 0 {
        println!("    stuck after\n        {}", report.stuck_after.join("\n        "));
    }
}

/// States that must not be, by kinds.
fn bad(report: &Report) -> String {
    let of = |kind: &str| -> usize {
        let violations = report.violations.iter();
        violations.filter(|(reason, _)| reason.starts_with(kind)).map(|(_, states)| states).sum()
    };
    let kinds =
        ["double-run", "kill-live", "leak", "false-report"].map(|kind| of(kind).to_string());
    format!("{} | {}", kinds.join(" | "), report.stuck)
}

/// Fails unless every one of these situations was reached.
pub fn assert_reached(reached: &BTreeSet<&'static str>, all: &[&'static str]) {
    let missing: Vec<_> = all.iter().filter(|mark| !reached.contains(*mark)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
