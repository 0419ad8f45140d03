//! One at a time on each thing.
//!
//! Owns the order of those who want to work on something, by its key: first come, first served. Promises that two never
//! hold the turn of one key together. Keeps nothing of a key that nobody holds or waits for, and needs not be told that
//! a thing is gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Queue = tokio::sync::Mutex<()>;

/// The right to work on one thing; the next in line has it when it is dropped.
pub type Turn = OwnedMutexGuard<()>;

/// The turns of all things that somebody works on; clones share them.
#[derive(Clone)]
pub struct Turns<K> {
    queues: Arc<Mutex<BTreeMap<K, Weak<Queue>>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { queues: Arc::default() }
    }
}

impl<K: Ord> Turns<K> {
    /// Waits for the turn.
    pub async fn take(&self, of: K) -> Turn {
        self.queue(of).lock_owned().await
    }

    fn queue(&self, of: K) -> Arc<Queue> {
        let mut queues = self.queues.lock();
        // Whoever holds a turn or waits for one holds its queue.
        queues.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = queues.get(&of).and_then(Weak::upgrade) {
            return queue;
        }
        let queue = Arc::new(Queue::default());
        queues.insert(of, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::Env;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn who_waits_keeps_its_turn_whoever_else_comes_and_goes() {
        let turns = Turns::default();
        let held = turns.take("guest").await;
        let mut second = Box::pin(turns.take("guest"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        // The first has gone and the second was not looked at since: its turn is not to be had.
        let mut third = Box::pin(turns.take("guest"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second.await);
        drop(third.await);
    }

    #[tokio::test(start_paused = true)]
    async fn things_do_not_wait_for_one_another() {
        let (env, turns) = (Env::real(), Turns::default());
        let _held = turns.take("guest").await;
        assert!(env.timeout(SOON, turns.take("other")).await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_what_nobody_works_on() {
        let turns = Turns::default();
        for thing in 0..100 {
            drop(turns.take(thing).await);
        }
        drop(turns.take(100).await);
        assert_eq!(turns.queues.lock().len(), 1, "the last is swept when the next comes");
    }
}
