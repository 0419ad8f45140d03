//! Runs whose every draw follows from a seed, in a thread or in a process of their own.

use std::process::Command;

use updraft_harness::world::EPOCH;

/// In a child's environment: what to run.
pub const CHILD: &str = "UPDRAFT_SIM_CHILD";

/// What precedes a line of a child's log.
const MARK: &str = "log ";

/// Runs this on a fresh thread whose entropy and clock follow from the seed.
///
/// # Panics
/// If the work does, or if the machine's entropy cannot be overridden here.
#[allow(clippy::disallowed_methods, reason = "hash maps are seeded once per thread")]
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    let secs = i64::try_from(EPOCH.secs()).unwrap_or_default();
    let result = std::thread::scope(|scope| {
        let run = || {
            assert!(updraft_interpose::arm(seed, secs), "entropy cannot be overridden here");
            work()
        };
        scope.spawn(run).join()
    });
    match result {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs the test of this name in a process of its own with [`CHILD`] set, and returns what it logged.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn elsewhere(test: &str, what: &str) -> Vec<String> {
    let output = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env(CHILD, what).output()
    });
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().filter_map(|line| line.strip_prefix(MARK)).map(str::to_owned).collect()
        }
        other => panic!("{test} with {what}: {other:?}"),
    }
}

/// Prints lines as [`elsewhere`] reads them.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub fn tell(lines: &[String]) {
    println!();
    for line in lines {
        println!("{MARK}{line}");
    }
}

/// Where two logs first differ, with what each says.
#[must_use]
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    let lines = one.len().max(other.len());
    let at = (0..lines).find(|at| one.get(*at) != other.get(*at))?;
    Some(format!("line {at} of {lines}:\n{:?}\n{:?}", one.get(at), other.get(at)))
}
