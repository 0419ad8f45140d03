//! That something has changed, for whoever follows it.
//!
//! Promises that nothing is missed between two looks, and wakes those who wait in the order in which they came, so that
//! runs of one seed are the same: tokio's `watch` wakes several in an order that depends on what else its process has
//! done before. Never tells what has changed, or how often.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    version: AtomicU64,
    told: Notify,
}

/// Tells of changes; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    shared: Arc<Shared>,
}

impl Changed {
    pub(super) fn tell(&self) {
        self.shared.version.fetch_add(1, Ordering::Relaxed);
        self.shared.told.notify_waiters();
    }

    pub(super) fn follow(&self) -> Changes {
        let mut changes = Changes { shared: self.shared.clone(), seen: 0 };
        changes.mark_seen();
        changes
    }
}

/// Follows the changes of a directory, from when it was made.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changes {
    /// Waits until something has changed that was not seen yet, and takes all that for seen. Loses nothing when cancelled.
    pub async fn changed(&mut self) {
        loop {
            let mut told = pin!(self.shared.told.notified());
            // Before the look, so that nothing comes between.
            told.as_mut().enable();
            if self.shared.version.load(Ordering::Relaxed) != self.seen {
                self.seen = self.shared.version.load(Ordering::Relaxed);
                return;
            }
            told.await;
        }
    }

    /// Takes all that has changed until now for seen.
    pub fn mark_seen(&mut self) {
        self.seen = self.shared.version.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use super::*;
    use crate::Env;

    #[test]
    fn a_change_is_told_once_also_if_nobody_waited() {
        let changed = Changed::default();
        let mut changes = changed.follow();
        assert_eq!(changes.changed().now_or_never(), None);
        changed.tell();
        changed.tell();
        assert_eq!(changes.changed().now_or_never(), Some(()));
        assert_eq!(changes.changed().now_or_never(), None);
        changed.tell();
        changes.mark_seen();
        assert_eq!(changes.changed().now_or_never(), None);
    }

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let (changed, woken) = (Changed::default(), Arc::new(Mutex::new(Vec::new())));
        for number in 0..32 {
            let (mut changes, woken) = (changed.follow(), woken.clone());
            Env::real().spawn("waits", async move {
                changes.changed().await;
                woken.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        changed.tell();
        tokio::task::yield_now().await;
        assert_eq!(*woken.lock().unwrap(), (0..32).collect::<Vec<_>>());
    }
}
