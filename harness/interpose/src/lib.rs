//! Overrides entropy, clock, threads and sockets in a simulation binary.
//!
//! Owns `getrandom`, `getentropy`, `syscall`, `clock_gettime`, `nanosleep`, `clock_nanosleep`, `socket` and
//! `pthread_create` of the binary that links it. On a thread that is armed, entropy follows from a seed and the clock from
//! the simulation; what no simulation may do, such as opening a real socket, is refused there and kept as a
//! [violation](Violation). On every other thread all of them do what the C library does. It is what makes hash maps, IVs of
//! tokens and whatever a dependency draws follow from the seed. Never linked into anything but tests. x86-64 Linux only:
//! elsewhere nothing is overridden, and [`arm`] says so.
#![allow(unsafe_code, reason = "overriding symbols of the C library is what this crate is for")]

use std::{fmt, time::Duration};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod clock;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod entropy;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod guard;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kernel;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod state;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod state {
    //! A platform where nothing is overridden.
    use std::time::Duration;

    use super::Violation;

    pub(super) fn arm(_seed: u64, _unix_secs: i64) -> bool {
        false
    }

    pub(super) fn disarm() -> Vec<Violation> {
        Vec::new()
    }

    pub(super) fn set_time(_since_start: Duration) {}

    pub(super) fn draws() -> u64 {
        0
    }

    pub(super) fn let_threads_start(_may: bool) -> bool {
        true
    }
}

/// What a simulation did that it may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A thread was started: nobody decides when it runs.
    ThreadStarted,
    /// A thread that the simulation had started asked the machine for this: "entropy" or "the clock".
    StrayThread {
        /// The thread's name, at most 15 bytes.
        thread: String,
        /// What it asked for.
        asked: &'static str,
    },
    /// A real socket was to be opened.
    SocketOpened,
    /// The thread was to sleep for so long, and every host with it.
    Slept(Duration),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThreadStarted => f.write_str(
                "a thread was started inside a simulation: nobody would decide when it runs; spawn a task by Env, and do \
                 work that blocks by Env::blocking",
            ),
            Self::StrayThread { thread, asked } => write!(
                f,
                "thread {thread:?}, which a simulation has started, asked the machine for {asked}: what it does follows \
                 from no seed"
            ),
            Self::SocketOpened => f.write_str(
                "a real socket was to be opened inside a simulation: hosts talk by the transport that their node is given",
            ),
            Self::Slept(time) => write!(
                f,
                "a thread was to sleep for {time:?} inside a simulation, and every host with it: wait by Env::sleep"
            ),
        }
    }
}

/// Whether this thread's entropy and clock now follow from the seed; `unix_secs` is what its clock shows.
#[must_use]
pub fn arm(seed: u64, unix_secs: i64) -> bool {
    state::arm(seed, unix_secs)
}

/// Gives this thread the machine's entropy and clock back; returns what was done that may not be, in order.
pub fn disarm() -> Vec<Violation> {
    state::disarm()
}

/// Moves this thread's clock, if it is armed, to so long after the moment at which it was armed.
pub fn set_time(since_start: Duration) {
    state::set_time(since_start);
}

/// How often entropy was drawn on this thread since it was armed.
#[must_use]
pub fn draws() -> u64 {
    state::draws()
}

/// Runs this while threads may be started by this thread. They are not armed, so they may neither ask for the time nor for
/// entropy.
pub fn with_threads<T>(work: impl FnOnce() -> T) -> T {
    let before = state::let_threads_start(true);
    let result = work();
    state::let_threads_start(before);
    result
}
