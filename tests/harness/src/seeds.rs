//! Whole runs of the cloud under faults: how many in a time.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use updraft_harness::{
    campaign::{self, Options, Settings, Watcher, process::Launch},
    world::Tier,
};
use updraft_tests::scenario;

use crate::{child::Failure, table::Row};

const SCENARIO: &str = "life";

/// How long a run may take.
const RUN_WITHIN: Duration = Duration::from_secs(300);

struct Unwatched;

impl Watcher for Unwatched {}

/// Whether this process is a worker of a campaign, which has done its work.
pub(crate) fn served() -> bool {
    scenario::all().served()
}

/// Seeds on tier 1.
pub(crate) fn memory(time: Duration, jobs: usize) -> Row {
    let per_second = runs(Tier::Memory, time, jobs);
    let figures = per_second.map(|per_second| vec![("seeds per s", per_second)]);
    Row::of(&format!("whole clouds with faults on tier 1, {jobs} at a time"), figures)
}

/// Seeds on tier 2.
pub(crate) fn quic(time: Duration, jobs: usize) -> Row {
    let per_second = runs(Tier::Quic, time, jobs);
    let figures = per_second
        .map(|per_second| vec![("seeds per s", per_second), ("seeds per min", per_second * 60.0)]);
    Row::of(&format!("whole clouds with faults on tier 2, {jobs} at a time"), figures)
}

#[allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "real time is what is measured, and runs are few"
)]
fn runs(tier: Tier, time: Duration, jobs: usize) -> Result<f64, Failure> {
    let scenarios = scenario::all();
    let folder = tempfile::tempdir()?;
    let faults = scenarios.faults(SCENARIO, &["all".to_owned()])?;
    let settings = Settings {
        scenario: SCENARIO.to_owned(),
        options: Options { tier, faults },
        first: 1,
        seeds: u64::MAX,
        time: Some(time),
        until_covered: false,
        jobs,
        failures_max: 1,
        shrinks_max: 0,
        run_within: RUN_WITHIN,
        out: folder.path().to_owned(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let began = Instant::now();
    let (summary, _) = campaign::run(&scenarios, &settings, &Launch::with(&[]), &Unwatched)?;
    if summary.failed > 0 {
        return Err(format!("{} of {} seeds failed", summary.failed, summary.runs).into());
    }
    Ok(summary.runs as f64 / began.elapsed().as_secs_f64())
}
