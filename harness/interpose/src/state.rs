//! What is known of each thread: whether it is armed, or was started by one that is.

use std::{
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Violation;

/// Counts simulations, so that what one did is not told of another.
static SIMULATIONS: AtomicU64 = AtomicU64::new(1);

/// What simulations did that they may not do.
static VIOLATIONS: Mutex<Vec<(u64, Violation)>> = Mutex::new(Vec::new());

#[derive(Clone, Copy)]
pub(super) struct Armed {
    simulation: u64,
    entropy: u64,
    draws: u64,
    unix_secs: i64,
    since_start: Duration,
}

thread_local! {
    // Const and without a destructor, so that they can be read from anywhere.
    static ARMED: Cell<Option<Armed>> = const { Cell::new(None) };
    /// The simulation that started this thread.
    static STRAY: Cell<Option<u64>> = const { Cell::new(None) };
    static THREADS_MAY_START: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn arm(seed: u64, unix_secs: i64) -> bool {
    let simulation = SIMULATIONS.fetch_add(1, Ordering::Relaxed);
    let since_start = Duration::ZERO;
    ARMED.set(Some(Armed { simulation, entropy: seed, draws: 0, unix_secs, since_start }));
    true
}

pub(super) fn disarm() -> Vec<Violation> {
    let Some(armed) = ARMED.take() else { return Vec::new() };
    let mut violations = VIOLATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = violations.extract_if(.., |(simulation, _)| *simulation == armed.simulation);
    ours.map(|(_, violation)| violation).collect()
}

pub(super) fn set_time(since_start: Duration) {
    ARMED.set(ARMED.get().map(|armed| Armed { since_start, ..armed }));
}

pub(super) fn draws() -> u64 {
    ARMED.get().map_or(0, |armed| armed.draws)
}

pub(super) fn let_threads_start(may: bool) -> bool {
    THREADS_MAY_START.replace(may)
}

/// What this thread's clock shows, if it is armed: since 1970.
pub(super) fn time() -> Option<Duration> {
    let armed = ARMED.get()?;
    Some(Duration::from_secs(u64::try_from(armed.unix_secs).ok()?) + armed.since_start)
}

/// The next bytes of this thread's entropy, if it is armed, each given to `put`.
pub(super) fn draw(bytes: usize, mut put: impl FnMut(usize, u8)) -> bool {
    let Some(mut armed) = ARMED.get() else { return false };
    // Whether there is entropy at all is asked once in a process, with no room for any: that draws nothing.
    armed.draws += u64::from(bytes > 0);
    for at in 0..bytes {
        // SplitMix64 (Steele, Lea and Flood 2014).
        armed.entropy = armed.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = armed.entropy;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        put(at, (mixed >> 56) as u8);
    }
    ARMED.set(Some(armed));
    true
}

/// The simulation that runs on this thread and may start no threads now.
pub(super) fn simulation() -> Option<u64> {
    ARMED.get().map(|armed| armed.simulation)
}

pub(super) fn threads_may_start() -> bool {
    THREADS_MAY_START.get()
}

/// This thread was started by a simulation.
pub(super) fn becomes_stray(simulation: u64) {
    STRAY.set(Some(simulation));
}

/// The simulation that started this thread.
pub(super) fn strayed_from() -> Option<u64> {
    STRAY.get()
}

/// Keeps what a simulation did, until it is disarmed.
pub(super) fn violated(simulation: u64, violation: Violation) {
    VIOLATIONS.lock().unwrap_or_else(PoisonError::into_inner).push((simulation, violation));
}
