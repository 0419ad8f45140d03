//! One run in a thread of its own, whose panics are a value.
//!
//! A simulation is a thread: what a thread keeps for itself, such as the keys of its hash maps, begins anew with
//! each. The tasks of a simulated node panic inside their runtime, which keeps that to itself, so every panic of the
//! thread is noted.

use std::{
    cell::{Cell, RefCell},
    panic::PanicHookInfo,
    sync::Once,
    time::Duration,
};

use crate::world::EPOCH;

/// What overrides entropy and clock of a thread; `updraft_interpose` does.
#[derive(Clone, Copy, Debug)]
pub struct Interposer {
    /// Makes them follow from a seed and show this Unix time in seconds; whether it could.
    pub arm: fn(seed: u64, unix_secs: i64) -> bool,
    /// Ends it; what the thread did meanwhile that no simulation may, a sentence each.
    pub disarm: fn() -> Vec<String>,
    /// Moves the clock to so long after the moment that it was armed with.
    pub set_time: fn(since_start: Duration),
    /// How often entropy was drawn since then.
    pub draws: fn() -> u64,
}

thread_local! {
    /// What panicked in this thread, if it is one of a run.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    /// What overrides this thread's entropy and clock.
    static INTERPOSER: Cell<Option<Interposer>> = const { Cell::new(None) };
}

/// Has this thread's clock, if it is overridden, show simulated time.
pub(crate) fn tell_time(since_start: Duration) {
    if let Some(interposer) = INTERPOSER.get() {
        (interposer.set_time)(since_start);
    }
}

/// How often this thread has drawn entropy of the machine; 0 where that is not overridden.
pub(crate) fn draws() -> u64 {
    INTERPOSER.get().map_or(0, |interposer| (interposer.draws)())
}

/// Notes the panics of runs; those of other threads are told as usual.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let noted = PANICS.with_borrow_mut(|panics| match panics {
                Some(panics) => {
                    panics.push(said(info));
                    true
                }
                None => false,
            });
            if !noted {
                usual(info);
            }
        }));
    });
}

/// What was said, and where, on a last line.
fn said(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let words = text.unwrap_or("something that is not text");
    match info.location() {
        Some(at) => format!("{words}\n  at {at}"),
        None => words.to_owned(),
    }
}

/// Whether entropy and clock can be overridden in this process; they are not, afterwards.
#[must_use]
pub fn can_arm(interposer: Interposer) -> bool {
    let armed = in_a_thread(|| {
        let armed = (interposer.arm)(0, 0);
        (interposer.disarm)();
        armed
    });
    matches!(armed, Ok(true))
}

#[allow(clippy::disallowed_methods, reason = "hash maps are seeded once per thread")]
fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> std::thread::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
}

/// Runs this in a thread of its own, with entropy and clock overridden if there is what does so.
///
/// # Errors
/// What panicked first, in it or in any task of a simulation in it, with how much more did.
pub fn apart<T: Send>(
    seed: u64,
    interposer: Option<Interposer>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    note_panics();
    let secs = i64::try_from(EPOCH.secs()).unwrap_or_default();
    let run = || {
        PANICS.set(Some(Vec::new()));
        INTERPOSER.set(interposer);
        let armed = interposer.is_none_or(|interposer| (interposer.arm)(seed, secs));
        let work = std::panic::AssertUnwindSafe(work);
        let result = std::panic::catch_unwind(move || {
            let work = work;
            assert!(armed, "entropy and clock cannot be overridden here");
            work.0()
        });
        let done = interposer.map(|interposer| (interposer.disarm)()).unwrap_or_default();
        let done = done.into_iter().map(|what| format!("not of a simulation: {what}"));
        (result.ok(), PANICS.take().into_iter().flatten().chain(done).collect::<Vec<_>>())
    };
    match in_a_thread(run) {
        Ok((Some(result), panics)) if panics.is_empty() => Ok(result),
        Ok((_, panics)) => Err(words(&panics)),
        Err(_) => Err("the run's thread died".to_owned()),
    }
}

fn words(panics: &[String]) -> String {
    let first = panics.first().map_or("nothing was said", String::as_str);
    match panics.len() {
        0 | 1 => first.to_owned(),
        number => format!("{first}\n  and {} more panics", number - 1),
    }
}
