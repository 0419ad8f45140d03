//! What wakes an engine: changes of rows, times that they asked for, and a rescan of all now and then.

use std::time::Duration;

use super::{Engine, STORE_PAUSE};
use crate::{
    planted::{Bug, is_planted},
    rows::Kind,
    store::{Record, StoreError, key_in},
};

/// Every row is planned at least this often: the bound on what a lost wake-up costs.
const RESCAN: Duration = Duration::from_secs(10);

/// How many rows a rescan reads at once.
const PAGE: usize = 256;

impl<K: Kind> Engine<K> {
    pub(super) async fn follow_changes(self) {
        let mut watch = self.shared.store.watch(&format!("{}/", K::Row::TABLE));
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.wake_all();
            }
            for key in changes.keys {
                if let Some(key) = key_in::<K::Row>(&key) {
                    self.wake(&key);
                }
            }
        }
    }

    pub(super) async fn follow_timers(self) {
        loop {
            let now = self.shared.env.now();
            let due = self.shared.timers.lock().due(now);
            for key in due {
                self.wake(&key);
            }
            let next = self.shared.timers.lock().next();
            let changed = self.shared.timer_changed.notified();
            match next {
                Some(at) => {
                    let wait = at.saturating_sub(self.shared.env.now());
                    self.shared.env.timeout(wait, changed).await;
                }
                None => changed.await,
            }
        }
    }

    pub(super) async fn follow_rescans(self) {
        loop {
            self.rescan().await;
            let asked = self.shared.rescan.notified();
            if is_planted(Bug::RowWithoutTimer) {
                asked.await;
                continue;
            }
            self.shared.env.timeout(RESCAN, asked).await;
        }
    }

    async fn rescan(&self) {
        if let Err(error) = self.take_up_alarms().await {
            tracing::debug!(table = K::Row::TABLE, %error, "alarms are taken up at the next rescan");
        }
        let mut after: Option<String> = None;
        loop {
            let page = self
                .shared
                .store
                // Keys alone, so that one damaged row keeps no other from being planned.
                .read(|txn| txn.scan_keys::<K::Row>(after.as_deref(), PAGE))
                .await;
            match page {
                Ok(keys) => {
                    for key in &keys {
                        self.wake(key);
                    }
                    if keys.len() < PAGE {
                        return;
                    }
                    after = keys.into_iter().last();
                }
                Err(StoreError::Closed) => return,
                Err(error @ StoreError::Unavailable(_)) => {
                    // The store says itself why, and less often than it is asked.
                    tracing::debug!(table = K::Row::TABLE, %error, "not rescanned");
                    return self.schedule_rescan();
                }
                Err(error) => {
                    tracing::warn!(table = K::Row::TABLE, %error, "not rescanned");
                    return self.schedule_rescan();
                }
            }
        }
    }

    fn schedule_rescan(&self) {
        let engine = self.clone();
        self.shared.env.spawn("rows.rescan", async move {
            engine.shared.env.sleep(STORE_PAUSE).await;
            engine.wake_all();
        });
    }
}
