//! Planted bugs: safeguards that a test can take away, one at a time, to see whether the checks notice.
//!
//! Owns the catalogue, [`Bug`]: what each bug is called, which law of the design it breaks, where it is, and what
//! goes wrong for a user. The code that has the safeguard asks [`is_planted`] and does without it if so.
//!
//! Promises that without the feature `planted` none of this remains: `is_planted` is then a constant `false`, and
//! nothing exists that could plant. One simulation runs per process, so that with the feature one bug at most is
//! planted, for the whole process. Never used to choose behaviour that anybody wants.

mod catalogue;

#[cfg(feature = "planted")]
use std::sync::atomic::{AtomicUsize, Ordering};

pub use catalogue::{Bug, NoSuchBug, Origin};

/// The number of the planted bug in [`Bug::ALL`], and one more; 0 is none.
#[cfg(feature = "planted")]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Plants this bug, and pulls out the one before; `None` leaves no bug. For the whole process.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
}

/// Whether the safeguard is taken away.
#[cfg(feature = "planted")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as usize + 1
}

/// Whether the safeguard is taken away: never, in what is built for use.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
