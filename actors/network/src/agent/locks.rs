//! One at a time per network: whoever adds to a bridge and whoever removes it must not meet. The same for security
//! groups.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

type Turn = tokio::sync::Mutex<()>;

/// The locks of all networks and groups that somebody is at work on.
#[derive(Clone, Default)]
pub(super) struct Locks {
    turns: Arc<Mutex<BTreeMap<Uuid, Weak<Turn>>>>,
}

impl Locks {
    /// Waits for the turn; it ends when the guard is dropped.
    pub(super) async fn lock(&self, of: Uuid) -> OwnedMutexGuard<()> {
        self.turn(of).lock_owned().await
    }

    fn turn(&self, of: Uuid) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&of).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(of, Arc::downgrade(&turn));
        turn
    }
}
