//! Runs whose every draw follows from a seed, in a thread or in a process of their own.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    process::Command,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use updraft_harness::world::EPOCH;

/// In a child's environment: what to run.
pub const CHILD: &str = "UPDRAFT_SIM_CHILD";

/// What precedes a line of a child's log.
const MARK: &str = "log ";

thread_local! {
    /// What tasks of this thread's simulation died of: a runtime keeps their panics to itself.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes every panic of a thread before it is told as usual.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            usual(info);
        }));
    });
}

/// Runs this on a fresh thread whose entropy and clock follow from the seed.
///
/// # Panics
/// If the work does, or any task of a simulation in it; if it does what no simulation may, such as to start a thread; or if
/// the machine's entropy cannot be overridden here.
#[allow(clippy::disallowed_methods, reason = "hash maps are seeded once per thread")]
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    let secs = i64::try_from(EPOCH.secs()).unwrap_or_default();
    let result = std::thread::scope(|scope| {
        let run = || {
            note_panics();
            assert!(updraft_interpose::arm(seed, secs), "entropy cannot be overridden here");
            let result = work();
            let panics = PANICS.take();
            assert!(panics.is_empty(), "tasks panicked: {panics:#?}");
            let violations = updraft_interpose::disarm();
            assert!(violations.is_empty(), "not of a simulation: {violations:#?}");
            result
        };
        scope.spawn(run).join()
    });
    match result {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs the test of this name in a process of its own with [`CHILD`] set, and returns what it logged, or what it
/// said when it failed.
pub fn elsewhere(test: &str, what: &str) -> Result<Vec<String>, String> {
    let output = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env(CHILD, what).env("RUST_BACKTRACE", "0");
        command.output()
    });
    let output = output.map_err(|error| error.to_string())?;
    let (said, told) = (text(&output.stderr), text(&output.stdout));
    if output.status.success() {
        return Ok(told.lines().filter_map(|l| l.strip_prefix(MARK)).map(str::to_owned).collect());
    }
    // A panic says where and why; what the runner adds tells nothing.
    let why = said.find("panicked at").map_or(said.as_str(), |at| &said[at..]);
    Err(why
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("note: "))
        .collect::<Vec<_>>()
        .join("\n"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What this process is to run, if it is a child.
#[must_use]
pub fn child() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs each of these in a process of its own, as many at a time as there are processors, and returns what came
/// of them in order.
#[allow(clippy::disallowed_methods, reason = "these threads only wait for processes")]
pub fn each_elsewhere(test: &str, whats: &[String]) -> Vec<Result<Vec<String>, String>> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(what) = whats.get(number) else { return };
            let result = elsewhere(test, what);
            results.lock().insert(number, result);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().into_values().collect()
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
