//! One operation at a time on each guest, in the order asked.
//!
//! Promises that a turn lasts until the last call made under it has returned, even when nobody waits
//! for it any more: a call that hangs in libvirt is never overtaken by a later one on its guest.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// Queues kept for guests that nobody works on, before they are swept.
const IDLE_MAX: usize = 1024;

/// The right to work on one guest. A call into libvirt keeps a clone until it returns.
pub(crate) type Turn = Arc<OwnedMutexGuard<()>>;

/// The queues of all guests.
#[derive(Default)]
pub(crate) struct Turns {
    queues: Mutex<BTreeMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits for the turn on a guest; first come, first served.
    pub(crate) async fn take(&self, guest: Uuid) -> Turn {
        let queue = self.queue(guest);
        Arc::new(queue.lock_owned().await)
    }

    fn queue(&self, guest: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.queues.lock();
        if queues.len() > IDLE_MAX {
            // A queue that only this map holds has no one in it and no one waiting.
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        queues.entry(guest).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use updraft_runtime::Env;

    use super::*;

    const GUEST: Uuid = Uuid::from_u128(1);
    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_turn_lasts_until_its_last_clone_is_dropped() {
        let (env, turns) = (Env::real(), Turns::default());
        let turn = turns.take(GUEST).await;
        let kept_by_a_call = turn.clone();
        drop(turn);
        assert!(env.timeout(SOON, turns.take(GUEST)).await.is_none());
        drop(kept_by_a_call);
        assert!(env.timeout(SOON, turns.take(GUEST)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn guests_do_not_wait_for_one_another() {
        let (env, turns) = (Env::real(), Turns::default());
        let _held = turns.take(GUEST).await;
        assert!(env.timeout(SOON, turns.take(Uuid::from_u128(2))).await.is_some());
    }

    #[tokio::test]
    async fn idle_queues_are_swept() {
        let turns = Turns::default();
        for guest in 0..=u128::try_from(IDLE_MAX).unwrap() + 1 {
            drop(turns.take(Uuid::from_u128(guest)).await);
        }
        assert_eq!(turns.queues.lock().len(), 1);
    }
}
