//! The order of operations on each guest.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

/// Orders the operations on each guest: one begins when the one before has ended, so that the number of its
/// turn tells which answer is the newer.
pub(super) struct Turns {
    next: AtomicU64,
    guests: parking_lot::Mutex<BTreeMap<Uuid, Arc<Mutex<()>>>>,
}

/// A turn; the next begins when it is dropped.
pub(super) struct Turn {
    pub(super) number: u64,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Turns above those of the node's former lives.
    pub(super) fn new(lives: u64) -> Self {
        Self { next: AtomicU64::new((lives << 32) + 1), guests: parking_lot::Mutex::default() }
    }

    pub(super) async fn take(&self, guest: Uuid) -> Turn {
        let queue = self.guests.lock().entry(guest).or_default().clone();
        let held = queue.lock_owned().await;
        Turn { number: self.next.fetch_add(1, Ordering::Relaxed), _held: held }
    }

    /// Forgets a guest that is gone.
    pub(super) fn forget(&self, guest: Uuid) {
        self.guests.lock().remove(&guest);
    }
}
