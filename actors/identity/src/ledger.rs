//! Changing rows, and writing down what of the published snapshot changes with them.
//!
//! Every change is one transaction that appends what it touched to an ordered log, the feed. The
//! feed's sequence numbers are the versions of the snapshot: whoever has followed it up to an entry
//! knows everything that was committed up to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::AuditId;
use updraft_runtime::store::{Record, Store, StoreError, Txn};

use crate::{error::Error, rows::Row};

/// The feed's log.
pub(crate) const FEED: &str = "identity/feed";

/// How many entries of the feed are kept. Whoever is further behind is sent the whole snapshot, which
/// is then no larger than the list of what changed.
pub(crate) const FEED_KEPT_ENTRIES: usize = 4_096;

/// Most parts that one entry of the feed names; a change that touches more is followed by reading
/// everything, which then costs no more. As text they stay below what a store takes for one value.
const TOUCHED_MAX: usize = 4_096;

/// A part of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Touched {
    User(String),
    Project(String),
    Domain(String),
    Role(String),
    /// By the user's id.
    Assignments(String),
    AuditId(AuditId),
    Catalog,
    Keys,
    /// More than can be named.
    Everything,
}

/// How far the feed has been trimmed; there is one such row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedRow {
    /// Entries up to and with this one may be gone.
    pub(crate) trimmed_to: u64,
}

impl FeedRow {
    pub(crate) const KEY: &'static str = "feed";
}

impl Record for FeedRow {
    const TABLE: &'static str = "identity/meta";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

/// A transaction that keeps account of what it touches.
pub(crate) struct Change<'a> {
    txn: &'a mut Txn,
    touched: BTreeSet<Touched>,
}

impl std::ops::Deref for Change<'_> {
    type Target = Txn;

    /// For reading; rows are written by the methods here alone.
    fn deref(&self) -> &Txn {
        self.txn
    }
}

impl Change<'_> {
    /// Inserts a row whose key is not taken.
    pub(crate) fn insert<R: Row>(&mut self, row: &R) -> Result<(), StoreError> {
        self.txn.insert(row)?;
        self.touch(row)
    }

    /// Inserts or replaces a row.
    pub(crate) fn put<R: Row>(&mut self, row: &R) -> Result<(), StoreError> {
        self.txn.put(row)?;
        self.touch(row)
    }

    /// Deletes a row and returns what it was.
    pub(crate) fn delete<R: Row>(&mut self, key: &str) -> Result<Option<R>, StoreError> {
        let Some(old) = self.txn.get::<R>(key)? else { return Ok(None) };
        self.touch(&old)?;
        self.txn.delete::<R>(key)
    }

    fn touch<R: Row>(&mut self, row: &R) -> Result<(), StoreError> {
        let touched = row.touched(self.txn)?;
        self.touched.extend(touched);
        Ok(())
    }
}

/// Runs a function as one transaction and writes what it touched into the feed.
pub(crate) async fn change<T>(
    store: &Store,
    mut work: impl FnMut(&mut Change<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    store
        .transact(|txn| {
            let mut change = Change { txn, touched: BTreeSet::new() };
            let value = work(&mut change)?;
            let mut touched = change.touched;
            if touched.len() > TOUCHED_MAX {
                touched = BTreeSet::from([Touched::Everything]);
            }
            if !touched.is_empty() {
                txn.append(FEED, entry(&touched)?)?;
            }
            Ok(value)
        })
        .await
}

fn entry(touched: &BTreeSet<Touched>) -> Result<bytes::Bytes, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        key: FEED.to_owned(),
        reason: error.to_string(),
    };
    serde_json::to_vec(touched).map(Into::into).map_err(corrupt)
}

/// What an entry of the feed says.
pub(crate) fn read_entry(value: &[u8]) -> Result<BTreeSet<Touched>, StoreError> {
    serde_json::from_slice(value)
        .map_err(|error| StoreError::Corrupt { key: FEED.to_owned(), reason: error.to_string() })
}

/// What the feed says behind a version.
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// This was touched up to this version.
    Touched(u64, BTreeSet<Touched>),
    /// More than can be named, or the feed no longer reaches back so far.
    Everything,
}

/// Follows the feed from a version to its end.
pub(crate) async fn news(store: &Store, known_version: u64) -> Result<News, StoreError> {
    let mut version = known_version;
    let mut all = BTreeSet::new();
    loop {
        let entries = store.log_read(FEED, version, usize::MAX).await?;
        let Some(last) = entries.last() else { break };
        version = last.sequence;
        for entry in &entries {
            all.extend(read_entry(&entry.value)?);
        }
    }
    if version == known_version {
        return Ok(News::Nothing);
    }
    // Asked for last: the trimming is written down before it happens.
    let trimmed_to = store.read(trimmed_to).await?;
    let too_old = trimmed_to > known_version;
    if too_old || all.len() > TOUCHED_MAX || all.contains(&Touched::Everything) {
        return Ok(News::Everything);
    }
    Ok(News::Touched(version, all))
}

/// The version of the feed's end.
pub(crate) async fn newest_version(store: &Store) -> Result<u64, StoreError> {
    let mut version = store.read(trimmed_to).await?;
    loop {
        let entries = store.log_read(FEED, version, usize::MAX).await?;
        let Some(last) = entries.last() else { return Ok(version) };
        version = last.sequence;
    }
}

fn trimmed_to(txn: &Txn) -> Result<u64, StoreError> {
    Ok(txn.get::<FeedRow>(FeedRow::KEY)?.unwrap_or_default().trimmed_to)
}

/// Forgets what of the feed nobody needs.
pub(crate) async fn trim(store: &Store) -> Result<(), StoreError> {
    let mut sequences = Vec::new();
    let mut after = store.read(trimmed_to).await?;
    loop {
        let entries = store.log_read(FEED, after, usize::MAX).await?;
        let Some(last) = entries.last() else { break };
        after = last.sequence;
        sequences.extend(entries.iter().map(|entry| entry.sequence));
    }
    // Twice as many as are kept, so that trimming is rare.
    if sequences.len() < 2 * FEED_KEPT_ENTRIES {
        return Ok(());
    }
    let up_to = sequences[sequences.len() - FEED_KEPT_ENTRIES];
    store
        .transact(|txn| {
            let trimmed_to = trimmed_to(txn)?.max(up_to);
            txn.put(&FeedRow { trimmed_to })
        })
        .await?;
    store.trim_log(FEED, up_to).await
}
