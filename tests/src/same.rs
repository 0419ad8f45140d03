//! Runs whose every draw follows from a seed, in a thread or in a process of their own.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use updraft_harness::campaign::{
    isolate::{self, Interposer},
    process::{self, Launch},
};

/// What the longest of these runs takes on a busy machine, several times over.
const RUN_WITHIN: Duration = Duration::from_secs(600);

/// Overrides entropy and clock of a thread, where this platform has that.
pub const INTERPOSER: Interposer = Interposer {
    arm: updraft_interpose::arm,
    disarm: || updraft_interpose::disarm().iter().map(ToString::to_string).collect(),
    set_time: updraft_interpose::set_time,
    draws: updraft_interpose::draws,
};

/// Runs this on a fresh thread whose entropy and clock follow from the seed; says what panicked if anything did.
pub fn apart<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    isolate::apart(seed, Some(INTERPOSER), work)
}

/// The same for somebody who has no answer to a failure.
///
/// # Panics
/// If the work does, or any task of a simulation in it, or if the machine's entropy cannot be overridden here.
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    apart(seed, work).unwrap_or_else(|why| panic!("{why}"))
}

/// Has the test of this name do a job in a process of its own, where it must come to [`process::serve`].
pub fn elsewhere(test: &str, job: &str) -> Result<String, String> {
    process::alone(&Launch::test(test), job, RUN_WITHIN).result()
}

/// Does each of these jobs in a process of its own, as many at a time as there are processors, and returns what came
/// of them in order.
#[allow(clippy::disallowed_methods, reason = "these threads only wait for processes")]
pub fn each_elsewhere(test: &str, jobs: &[String]) -> Vec<Result<String, String>> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return };
            let result = elsewhere(test, job);
            results.lock().insert(number, result);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().into_values().collect()
}
