//! Wakes rows when their owners change, or what they own.

use super::Engine;
use crate::{
    rows::{Kin, Kind},
    store::{Record, StoreError, owned_of, owner_in},
};

impl<K: Kind> Engine<K> {
    /// Follows every kind of row that one of this kind may own or belong to.
    pub(super) fn follow_kin(&self) {
        let env = &self.shared.env;
        for kin in K::KIN {
            env.spawn("rows.kin", self.clone().follow(kin));
        }
        if !K::KIN.is_empty() {
            env.spawn("rows.owned", self.clone().follow_owned());
        }
    }

    async fn follow(self, kin: &'static Kin) {
        let mut watch = self.shared.store.watch(&format!("{}/", kin.table));
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.wake_all();
            }
            for key in changes.keys.iter().filter_map(|key| (kin.key_in)(key)) {
                match self.concerned(kin, &key).await {
                    Ok(Some(keys)) => keys.iter().for_each(|key| self.wake(key)),
                    Ok(None) => self.wake_all(),
                    Err(StoreError::Closed) => return,
                    // The next rescan looks at them all.
                    Err(error) => tracing::debug!(table = kin.table, key, %error, "woken later"),
                }
            }
        }
    }

    async fn concerned(&self, kin: &Kin, key: &str) -> Result<Option<Vec<String>>, StoreError> {
        self.shared.store.read(|txn| (kin.concerned)(txn, key, K::Row::TABLE)).await
    }

    /// A row that is gone no longer tells whose it was; the index does.
    async fn follow_owned(self) {
        let mut watch = self.shared.store.watch(&owned_of::<K::Row>());
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.wake_all();
            }
            for key in changes.keys.iter().filter_map(|key| owner_in::<K::Row>(key)) {
                self.wake(&key);
            }
        }
    }
}
