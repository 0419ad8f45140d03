//! One transaction: a snapshot, what was read from it, and what shall change.
//!
//! Reading never waits and never sees another transaction's later work. Nothing is visible to others before
//! `commit`; dropping a transaction forgets it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Entry, OpenStore, UNCOMMITTED,
    access::Access,
    core::{Proposal, Snapshot},
    error::StoreError,
    faults::CommitFate,
    limits::{KEY_MAX_BYTES, TXN_MAX_BYTES, VALUE_MAX_BYTES},
    memo::Memo,
    reads::{KeyRange, ReadSet},
};
use crate::env::UnixMicros;

/// A transaction on a snapshot of the store.
pub struct Txn {
    store: Arc<OpenStore>,
    access: Access,
    snapshot: Snapshot,
    /// Reading takes `&self`, and a shared transaction may cross threads.
    reads: Mutex<ReadSet>,
    writes: BTreeMap<Arc<str>, Option<Bytes>>,
    appends: Vec<(Arc<str>, Bytes)>,
    bytes: usize,
    relaxed: bool,
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn")
            .field("sequence", &self.snapshot.sequence)
            .field("writes", &self.writes.len())
            .finish_non_exhaustive()
    }
}

impl Txn {
    pub(super) async fn begin(store: &Arc<OpenStore>, access: &Access) -> Result<Self, StoreError> {
        access.check_begin()?;
        let snapshot = store.engine.snapshot().await?;
        Ok(Self {
            store: Arc::clone(store),
            access: access.clone(),
            snapshot,
            reads: Mutex::default(),
            writes: BTreeMap::new(),
            appends: Vec::new(),
            bytes: 0,
            relaxed: false,
        })
    }

    /// The value under a key, as this transaction has left or found it.
    pub fn get_raw(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.access.check_key(key)?;
        if let Some(own) = self.writes.get(key) {
            return Ok(own.as_ref().map(uncommitted));
        }
        match self.snapshot.rows.get_key_value(key) {
            Some((key, entry)) => {
                self.reads.lock().add_key(Arc::clone(key))?;
                Ok(Some(entry.clone()))
            }
            None => {
                self.reads.lock().add_key(key.into())?;
                Ok(None)
            }
        }
    }

    /// Up to `limit` keys with this prefix behind the key `after`, in order, with their values.
    pub fn scan_raw(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, Entry)>, StoreError> {
        self.access.check_key(prefix)?;
        let range = KeyRange::new(prefix, after);
        let found: Vec<_> = self.merged(&range).take(limit).collect();
        let seen = match found.last() {
            Some((last, _)) if found.len() == limit => range.until(Arc::clone(last)),
            None if limit == 0 => return Ok(found),
            _ => range,
        };
        self.reads.lock().add_range(seen)?;
        Ok(found)
    }

    /// The rows of a range with this transaction's own changes.
    fn merged<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (Arc<str>, Entry)> + 'a {
        let mut stored = range.rows(&self.snapshot.rows).peekable();
        let mut own = range.entries(&self.writes).peekable();
        std::iter::from_fn(move || {
            loop {
                let own_first = match (stored.peek(), own.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => false,
                    (None, Some(_)) => true,
                    (Some((theirs, _)), Some((ours, _))) => ours <= theirs,
                };
                if !own_first {
                    return stored.next().map(|(key, entry)| (Arc::clone(key), entry.clone()));
                }
                let (key, value) = own.next()?;
                // Our change hides what is stored under the same key.
                stored.next_if(|(theirs, _)| *theirs == key);
                if let Some(value) = value {
                    return Some((Arc::clone(key), uncommitted(value)));
                }
            }
        })
    }

    /// Writes a key.
    pub fn put_raw(&mut self, key: &str, value: Bytes) -> Result<(), StoreError> {
        self.check_write(key, value.len())?;
        self.writes.insert(key.into(), Some(value));
        Ok(())
    }

    /// Deletes a key; one that does not exist may be deleted too.
    pub fn delete_raw(&mut self, key: &str) -> Result<(), StoreError> {
        self.check_write(key, 0)?;
        self.writes.insert(key.into(), None);
        Ok(())
    }

    /// Appends an entry to an ordered log.
    pub fn append(&mut self, log: &str, value: Bytes) -> Result<(), StoreError> {
        self.check_write(log, value.len())?;
        self.appends.push((log.into(), value));
        Ok(())
    }

    fn check_write(&mut self, key: &str, value_bytes: usize) -> Result<(), StoreError> {
        self.access.check_key(key)?;
        if key.contains('\0') {
            return Err(StoreError::BadKey { key: key.to_owned() });
        }
        let too_large = |what, size, limit| StoreError::TooLarge { what, size, limit };
        if key.len() > KEY_MAX_BYTES {
            let start: String = key.chars().take(64).collect();
            let what = format!("the key that starts with {start:?}");
            return Err(too_large(what, key.len(), KEY_MAX_BYTES));
        }
        if value_bytes > VALUE_MAX_BYTES {
            return Err(too_large(format!("the value of {key:?}"), value_bytes, VALUE_MAX_BYTES));
        }
        let bytes = self.bytes + key.len() + value_bytes;
        if bytes > TXN_MAX_BYTES {
            return Err(too_large("the transaction".to_owned(), bytes, TXN_MAX_BYTES));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The rows that were read last of this store.
    pub(super) fn memo(&self) -> &Memo {
        &self.store.memo
    }

    /// The wall clock of the node that writes.
    pub(super) fn wall(&self) -> UnixMicros {
        self.store.engine.env().wall()
    }

    /// Lets the commit be acknowledged before it is durable: for what can be learnt again, such as heartbeats.
    pub fn relax(&mut self) {
        self.relaxed = true;
    }

    /// Commits, if everything read is still as it was, and returns the commit's sequence number once durable.
    ///
    /// A transaction that writes nothing never conflicts; it waits until what it has read is durable, and
    /// returns the sequence number of its snapshot. Dropping the future of a commit that writes leaves its
    /// outcome unknown.
    pub async fn commit(self) -> Result<u64, StoreError> {
        if self.writes.is_empty() && self.appends.is_empty() {
            return self.settle().await;
        }
        let Self { store, access, snapshot, reads, writes, appends, relaxed, .. } = self;
        let proposal = Proposal { snapshot, reads: reads.into_inner(), writes, appends, relaxed };
        match access.commit_fate(|| proposal.keys_written()) {
            CommitFate::Proceed => store.engine.commit(proposal).await,
            CommitFate::Conflict => Err(StoreError::Conflict),
            CommitFate::Unavailable => Err(Access::injected()),
            CommitFate::UnknownNotApplied => Err(StoreError::Unknown),
            CommitFate::UnknownApplied => {
                store.engine.commit(proposal).await.and(Err(StoreError::Unknown))
            }
            CommitFate::Delay(delay) => {
                store.engine.env().sleep(delay).await;
                store.engine.commit(proposal).await
            }
        }
    }

    /// Writes nothing and waits until what was read is durable.
    pub(super) async fn settle(self) -> Result<u64, StoreError> {
        let reads = self.reads.into_inner();
        self.store.engine.settle(&self.snapshot, &reads).await?;
        Ok(self.snapshot.sequence)
    }
}

fn uncommitted(value: &Bytes) -> Entry {
    Entry { value: value.clone(), version: UNCOMMITTED }
}
