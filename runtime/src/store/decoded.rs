//! Rows kept decoded, for lists that are read far more often than their rows change.
//!
//! A row's key and version name its content for ever, so that nothing kept here is ever wrong, only unused. It
//! changes nothing about what a transaction has read: every row counts as read, whether it was kept or not.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Entry, StoreError, Txn, UNCOMMITTED, record::Record, typed};

/// Decoded rows of one table, at most so many; shared by whoever lists it.
pub struct Decoded<R> {
    rows: Mutex<BTreeMap<Arc<str>, Kept<R>>>,
    max: usize,
}

struct Kept<R> {
    version: u64,
    row: Arc<R>,
}

impl<R: Record> Decoded<R> {
    /// Keeps at most `max` rows; a longer list is decoded anew each time.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { rows: Mutex::default(), max }
    }

    /// The rows of these entries, in their order.
    fn rows(&self, entries: Vec<(Arc<str>, Entry)>) -> Result<Vec<Arc<R>>, StoreError> {
        let mut kept = self.rows.lock();
        let keep = entries.len() <= self.max;
        let new = entries.iter().filter(|(key, _)| !kept.contains_key(key)).count();
        // What was listed before may be gone by now, and what is not is soon here again.
        if keep && kept.len() + new > self.max {
            kept.clear();
        }
        let mut rows = Vec::with_capacity(entries.len());
        for (key, entry) in entries {
            let known = kept.get(&key).filter(|known| known.version == entry.version);
            let row = match known {
                Some(known) => Arc::clone(&known.row),
                None => Arc::new(typed::decode(&key, &entry)?),
            };
            if keep && entry.version != UNCOMMITTED {
                kept.insert(key, Kept { version: entry.version, row: Arc::clone(&row) });
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

impl Txn {
    /// As [`Txn::scan`] without bounds, with rows that have not changed since they were last decoded.
    pub fn scan_decoded<R: Record>(&self, kept: &Decoded<R>) -> Result<Vec<Arc<R>>, StoreError> {
        kept.rows(self.scan_raw(&super::record::table_prefix(R::TABLE), None, usize::MAX)?)
    }

    /// As [`Txn::find`], with rows that have not changed since they were last decoded.
    pub fn find_decoded<R: Record>(
        &self,
        kept: &Decoded<R>,
        index: &'static str,
        value: &str,
    ) -> Result<Vec<Arc<R>>, StoreError> {
        kept.rows(self.find_entries::<R>(index, value)?)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{
        Env,
        store::{IndexEntry, Store},
    };

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Fruit {
        name: String,
        colour: String,
    }

    impl Record for Fruit {
        const TABLE: &'static str = "shop/fruit";
        fn key(&self) -> String {
            self.name.clone()
        }
        fn indexes(&self) -> Vec<IndexEntry> {
            vec![IndexEntry::many("colour", &self.colour)]
        }
    }

    fn fruit(name: &str, colour: &str) -> Fruit {
        Fruit { name: name.to_owned(), colour: colour.to_owned() }
    }

    async fn put(store: &Store, row: &Fruit) {
        store.transact(|txn| txn.put(row)).await.expect("written");
    }

    async fn red(store: &Store, kept: &Decoded<Fruit>) -> Vec<Arc<Fruit>> {
        store.read(|txn| txn.find_decoded(kept, "colour", "red")).await.expect("read")
    }

    #[tokio::test]
    async fn a_row_is_decoded_again_when_it_has_changed_and_not_before() {
        let (store, kept) = (Store::memory(Env::real()), Decoded::new(10));
        put(&store, &fruit("apple", "red")).await;
        let first = red(&store, &kept).await;
        assert!(Arc::ptr_eq(&first[0], &red(&store, &kept).await[0]));
        put(&store, &fruit("apple", "green")).await;
        assert!(red(&store, &kept).await.is_empty());
        let all = store.read(|txn| txn.scan_decoded(&kept)).await.expect("read");
        assert_eq!(*all[0], fruit("apple", "green"));
    }

    #[tokio::test]
    async fn what_a_transaction_wrote_itself_is_read_and_not_kept() {
        let (store, kept) = (Store::memory(Env::real()), Decoded::new(10));
        put(&store, &fruit("apple", "red")).await;
        let mut txn = store.begin().await.expect("begun");
        txn.put(&fruit("cherry", "red")).expect("put");
        assert_eq!(txn.find_decoded(&kept, "colour", "red").expect("read").len(), 2);
        drop(txn);
        assert_eq!(red(&store, &kept).await.len(), 1);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_allowed() {
        let (store, kept) = (Store::memory(Env::real()), Decoded::new(2));
        for name in ["apple", "cherry", "currant"] {
            put(&store, &fruit(name, "red")).await;
            assert_eq!(red(&store, &kept).await.last().expect("one").name, name);
            assert!(kept.rows.lock().len() <= 2);
        }
    }
}
