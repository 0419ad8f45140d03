//! Turns: when a simulated node has something to do, and how long it does it.
//!
//! Owns the clock that all nodes of a world share, and for each node what it waits for. A node without a frame, a
//! timer that is due or a task that somebody woke has no turn, and costs nothing. What it waits for it says by its
//! [`Env`](updraft_runtime::Env), as everything does that lives in a world, or by an [`Alarm`], as QUIC does; a timer that it
//! has got elsewhere may be late by [`LOOKED_AFTER`].

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::runtime::{Runtime, RuntimeMetrics};

/// How long a node that is waiting for nothing is left alone at most: as long as between two beats, which give a node with
/// a directory a turn anyway. Of half of it most turns of a cloud would be in vain.
const LOOKED_AFTER: Duration = updraft_runtime::directory::BEAT;

/// How many tasks a node may begin in one turn, many times what a control node does that hears of 10,000 hosts at once. One
/// that begins more goes on for ever at one moment: something starts itself again and waits for nothing.
const BEGUN_MAX: u32 = 1_000_000;

/// The clock of a world, and what the node whose turn it is waits for; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Clock {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    micros: AtomicU64,
    /// Handles on what nodes share, such as a store, are made by one and used by others: so it is kept by whose turn it
    /// is, and not by whose handle was asked.
    waits_until_ms: Mutex<Vec<u64>>,
    /// Tasks in this turn.
    begun: AtomicU32,
    /// What one was named that would have been too many.
    refused: Mutex<Option<&'static str>>,
}

impl Clock {
    /// Time since the start of the world.
    pub(super) fn now(&self) -> Duration {
        Duration::from_micros(self.shared.micros.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.shared.micros.store(micros, Ordering::Relaxed);
    }

    /// Whoever has the turn waits for so long.
    pub(super) fn note(&self, duration: Duration) {
        self.shared.waits_until_ms.lock().push(millis(self.now().saturating_add(duration)));
    }

    /// Whether whoever has the turn may begin another task in it.
    pub(super) fn may_begin(&self, task: &'static str) -> bool {
        let may = self.shared.begun.fetch_add(1, Ordering::Relaxed) < BEGUN_MAX;
        if !may {
            *self.shared.refused.lock() = Some(task);
        }
        may
    }

    /// What is named of the tasks that were too many in the turn that has ended, if there were too many.
    pub(super) fn refused(&self) -> Option<&'static str> {
        self.shared.begun.store(0, Ordering::Relaxed);
        self.shared.refused.lock().take()
    }

    fn noted(&self) -> Vec<u64> {
        std::mem::take(&mut *self.shared.waits_until_ms.lock())
    }
}

/// Up to the end of a millisecond, as tokio's timers.
fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// When timers go off that a node has set elsewhere than by its [`Env`](updraft_runtime::Env), and may set again before;
/// clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Alarms {
    shared: Arc<Mutex<Set>>,
}

#[derive(Default)]
struct Set {
    timers: u64,
    /// By milliseconds since the start of the world, and by timer.
    due: BTreeSet<(u64, u64)>,
}

/// One of these timers; dropped, it has no turn come.
pub(crate) struct Alarm {
    alarms: Alarms,
    timer: u64,
    due_ms: u64,
}

impl Alarms {
    /// A timer that goes off at this time since the start of the world.
    pub(crate) fn set(&self, at: Duration) -> Alarm {
        let mut shared = self.shared.lock();
        shared.timers += 1;
        let (timer, due_ms) = (shared.timers, millis(at));
        shared.due.insert((due_ms, timer));
        Alarm { alarms: self.clone(), timer, due_ms }
    }

    /// Forgets those until now, and tells of the next.
    fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let mut shared = self.shared.lock();
        while shared.due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            shared.due.pop_first();
        }
        shared.due.first().map(|(due_ms, _)| *due_ms)
    }
}

impl Alarm {
    /// It goes off then instead.
    pub(crate) fn reset(&mut self, at: Duration) {
        let mut shared = self.alarms.shared.lock();
        shared.due.remove(&(self.due_ms, self.timer));
        self.due_ms = millis(at);
        shared.due.insert((self.due_ms, self.timer));
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.alarms.shared.lock().due.remove(&(self.due_ms, self.timer));
    }
}

/// Tells when a runtime has done all that it can do now.
#[derive(Default)]
struct Rest {
    awaited: Mutex<Option<Waker>>,
    reached: AtomicBool,
}

impl Rest {
    /// The runtime is about to wait.
    fn begins(&self) {
        if let Some(waker) = self.awaited.lock().take() {
            self.reached.store(true, Ordering::Relaxed);
            waker.wake();
        }
    }

    async fn reached(&self) {
        poll_fn(|cx| {
            if self.reached.swap(false, Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *self.awaited.lock() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The runtime of a node, from one turn to the next.
pub(super) struct Turns {
    runtime: Runtime,
    woken: RuntimeMetrics,
    rest: Arc<Rest>,
    /// What its clock shows.
    at: Duration,
    waits_until_ms: BTreeSet<u64>,
    alarms: Alarms,
    /// When it has something to do if nothing comes from outside.
    due: Duration,
}

impl Turns {
    /// Of a node that starts now; its first turn comes once something is spawned on it.
    pub(super) fn new(now: Duration) -> Self {
        let rest = Arc::new(Rest::default());
        let begins = rest.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || begins.begins())
            .build();
        let Ok(runtime) = runtime else { unreachable!("a runtime without drivers needs nothing") };
        let woken = runtime.metrics();
        let (waits_until_ms, alarms) = (BTreeSet::new(), Alarms::default());
        Self { runtime, woken, rest, at: now, waits_until_ms, alarms, due: now }
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn alarms(&self) -> Alarms {
        self.alarms.clone()
    }

    /// When it has something to do, which is not before `next`.
    pub(super) fn due(&self, next: Duration) -> Duration {
        let is_due = self.due <= next || self.woken.global_queue_depth() > 0;
        if is_due { next } else { self.due }
    }

    /// Has it do all that it can do at the clock's time. Its own clock jumps there; what was due meanwhile is due at once.
    #[allow(clippy::disallowed_methods, reason = "the harness is what makes time pass")]
    pub(super) fn take(&mut self, clock: &Clock) {
        let now = clock.now();
        let missed = now.saturating_sub(self.at);
        self.at = now;
        self.waits_until_ms = self.waits_until_ms.split_off(&(millis(now) + 1));
        let rest = &self.rest;
        self.runtime.block_on(async {
            tokio::time::advance(missed).await;
            rest.reached().await;
        });
        self.waits_until_ms.extend(clock.noted());
        let alarm = self.alarms.next_ms(millis(now));
        let waits_until = self.waits_until_ms.first().copied().into_iter().chain(alarm).min();
        let waits_until = waits_until.map(Duration::from_millis);
        let looked_at = now + LOOKED_AFTER;
        self.due = waits_until.map_or(looked_at, |until| until.min(looked_at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_when_a_timer_goes_off_that_was_set_elsewhere() {
        let (clock, ms) = (Clock::default(), Duration::from_millis);
        let mut turns = Turns::new(clock.now());
        let mut alarm = turns.alarms().set(ms(30));
        let mut due = |now: Duration| {
            clock.set(now);
            turns.take(&clock);
            turns.due(now)
        };
        assert_eq!(due(ms(0)), ms(30));
        alarm.reset(Duration::from_micros(49_001));
        assert_eq!(due(ms(1)), ms(50));
        assert_eq!(due(ms(50)), ms(50) + LOOKED_AFTER, "it has gone off");
        alarm.reset(ms(70));
        drop(alarm);
        assert_eq!(due(ms(51)), ms(51) + LOOKED_AFTER, "nobody waits for it");
    }
}
