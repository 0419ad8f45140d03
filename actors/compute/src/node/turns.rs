//! The order of operations on each guest.

use std::sync::atomic::{AtomicU64, Ordering};

use updraft_runtime::turns;
use uuid::Uuid;

/// Orders the operations on each guest: one begins when the one before has ended, so that the number of its
/// turn tells which answer is the newer.
pub(super) struct Turns {
    next: AtomicU64,
    guests: turns::Turns<Uuid>,
}

/// A turn; the next begins when it is dropped.
pub(super) struct Turn {
    pub(super) number: u64,
    _held: turns::Turn,
}

impl Turns {
    /// Turns above those of the node's former lives.
    pub(super) fn new(lives: u64) -> Self {
        Self { next: AtomicU64::new((lives << 32) + 1), guests: turns::Turns::default() }
    }

    pub(super) async fn take(&self, guest: Uuid) -> Turn {
        let held = self.guests.take(guest).await;
        Turn { number: self.next.fetch_add(1, Ordering::Relaxed), _held: held }
    }
}
