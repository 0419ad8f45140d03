//! Bringing the rows that an older program has written into the shape of today, on any engine.
//!
//! A [`Schema`] is the ordered list of all changes that a service's rows have ever seen. The store keeps how many of
//! them it has behind it, and how far the one under way has come, in the transactions that make them: whoever is
//! killed in the middle goes on from there. Rows that have seen a change that this program does not know are refused
//! and not touched. A field that may be missing needs no change: its type says what that means, and
//! [`Shape`](super::Shape) holds it to that.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Entry, Record, Store, StoreError, Txn,
    limits::{MIGRATION_PAGE_MAX_BYTES, MIGRATION_PAGE_MAX_ROWS},
    record, typed,
};

/// All changes that the rows of a service have ever seen, the oldest first. None is ever taken away.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The service whose tables begin with this name and a slash.
    pub service: &'static str,
    /// What has changed. Rows that have seen none have version 0.
    pub changes: &'static [Change],
}

/// One change; made a page of rows at a time, each page once.
#[derive(Clone, Copy)]
pub struct Change {
    what: &'static str,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Rewrite { table: &'static str, row: fn(&mut Value) },
    Reindex { page: fn(&mut Txn, Option<&str>) -> Result<Option<String>, StoreError> },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Change").field(&self.what).finish()
    }
}

impl Change {
    /// Each row of this table becomes what `row` makes of it. Its index entries stay as they are: if others are
    /// wanted now, the next change is to [`reindex`](Self::reindex).
    #[must_use]
    pub const fn rewrite(what: &'static str, table: &'static str, row: fn(&mut Value)) -> Self {
        Self { what, work: Work::Rewrite { table, row } }
    }

    /// The rows of this record get the index entries that they want now, and lose all others; and what they belong to is
    /// found from now on.
    #[must_use]
    pub const fn reindex<R: Record>(what: &'static str) -> Self {
        Self { what, work: Work::Reindex { page: reindex::<R> } }
    }

    /// Makes the change to the next page; returns where to go on.
    fn page(&self, txn: &mut Txn, after: Option<&str>) -> Result<Option<String>, StoreError> {
        match self.work {
            Work::Rewrite { table, row } => rewrite(txn, table, row, after),
            Work::Reindex { page } => page(txn, after),
        }
    }
}

/// Why rows are not in the shape of today.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A newer program has written them.
    #[error(
        "the rows of {service} have version {found} and this program knows them up to version {known}: run the version of the program that wrote them, or use another data directory"
    )]
    Newer {
        /// The service.
        service: &'static str,
        /// The version that they have.
        found: usize,
        /// The newest version that this program knows.
        known: usize,
    },
    /// A change could not be made. What was made of it before is kept, and it goes on from there the next time.
    #[error("the rows of {service}: {what}: {source}")]
    Change {
        /// The service.
        service: &'static str,
        /// The change.
        what: &'static str,
        /// Why not.
        source: StoreError,
    },
    /// The store cannot be read or written now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the rows of a service are.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    version: usize,
    /// How far the change after that has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Store {
    /// Makes all changes that the rows of a service have not seen yet; returns in how many transactions. To be called
    /// before anybody uses the rows, and while no older program does.
    pub async fn migrate(&self, schema: &Schema) -> Result<usize, MigrateError> {
        let mut pages = 0;
        while self.transact(|txn| schema.advance(txn)).await? {
            pages += 1;
        }
        if pages > 0 {
            tracing::info!(
                schema.service,
                pages,
                "rows of an older version were brought up to date"
            );
        }
        Ok(pages)
    }

    /// Refuses rows that a newer program has changed, or has begun to. For whoever shares a store: another program may
    /// come while this one runs.
    pub async fn refuse_newer(&self, schemas: &[Schema]) -> Result<(), MigrateError> {
        self.read(|txn| schemas.iter().try_for_each(|schema| schema.known_progress(txn).map(drop)))
            .await
    }
}

impl Schema {
    fn key(&self) -> String {
        format!("{}/schema", self.service)
    }

    /// Makes the next page of the next change; false if there is none.
    fn advance(&self, txn: &mut Txn) -> Result<bool, MigrateError> {
        let known = self.changes.len();
        let stored = self.known_progress(txn)?;
        let is_new = stored.is_none();
        let Progress { version, after } = match stored {
            Some(progress) => progress,
            None => Progress { version: if self.has_rows(txn)? { 0 } else { known }, after: None },
        };
        let Some(change) = self.changes.get(version) else {
            // No word is version 0, which is what rows have that are written before there was a change.
            if is_new && version > 0 {
                self.note(txn, &Progress { version, after: None })?;
            }
            return Ok(false);
        };
        let (service, what) = (self.service, change.what);
        let page = change.page(txn, after.as_deref());
        let after = page.map_err(|source| MigrateError::Change { service, what, source })?;
        let version = if after.is_some() { version } else { version + 1 };
        self.note(txn, &Progress { version, after })?;
        Ok(true)
    }

    /// Where the rows are, unless they have seen something of a change that this program does not know.
    fn known_progress(&self, txn: &Txn) -> Result<Option<Progress>, MigrateError> {
        let (service, known) = (self.service, self.changes.len());
        let stored = self.progress(txn)?;
        // A change that is under way counts: some rows have its shape.
        let found = stored.as_ref().map_or(0, |progress| {
            progress.version.saturating_add(usize::from(progress.after.is_some()))
        });
        if found > known { Err(MigrateError::Newer { service, found, known }) } else { Ok(stored) }
    }

    fn progress(&self, txn: &Txn) -> Result<Option<Progress>, StoreError> {
        let key = self.key();
        txn.get_raw(&key)?.map(|entry| parse(&key, &entry)).transpose()
    }

    /// Whether somebody has written rows, as it was before versions were kept.
    fn has_rows(&self, txn: &Txn) -> Result<bool, StoreError> {
        Ok(!txn.scan_raw(&format!("{}/", self.service), None, 1)?.is_empty())
    }

    fn note(&self, txn: &mut Txn, progress: &Progress) -> Result<(), StoreError> {
        let key = self.key();
        let value = serde_json::to_vec(progress).map_err(|error| typed::corrupt(&key, &error))?;
        txn.put_raw(&key, value.into())
    }
}

fn parse<T: serde::de::DeserializeOwned>(key: &str, entry: &Entry) -> Result<T, StoreError> {
    serde_json::from_slice(&entry.value).map_err(|error| typed::corrupt(key, &error))
}

/// Some of what is stored under a prefix, and where to go on if that is not all.
type Found = (Vec<(std::sync::Arc<str>, Entry)>, Option<String>);

fn next_page(txn: &Txn, prefix: &str, after: Option<&str>) -> Result<Found, StoreError> {
    let mut found = txn.scan_raw(prefix, after, MIGRATION_PAGE_MAX_ROWS)?;
    let mut bytes = 0;
    let fitting = found.iter().take_while(|(_, entry)| {
        bytes += entry.value.len();
        bytes <= MIGRATION_PAGE_MAX_BYTES
    });
    let fits = fitting.count().max(1);
    let is_last = found.len() < MIGRATION_PAGE_MAX_ROWS && fits >= found.len();
    found.truncate(fits);
    let further = found.last().filter(|_| !is_last).map(|(key, _)| key.to_string());
    Ok((found, further))
}

fn rewrite(
    txn: &mut Txn,
    table: &str,
    row: fn(&mut Value),
    after: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let (rows, further) = next_page(txn, &record::table_prefix(table), after)?;
    for (key, entry) in rows {
        let mut value: Value = parse(&key, &entry)?;
        row(&mut value);
        let value = serde_json::to_vec(&value).map_err(|error| typed::corrupt(&key, &error))?;
        txn.put_raw(&key, value.into())?;
    }
    Ok(further)
}

/// First drops the entries that no row wants, so that what is unique is free, then adds those that are missing.
fn reindex<R: Record>(txn: &mut Txn, after: Option<&str>) -> Result<Option<String>, StoreError> {
    let rows = record::table_prefix(R::TABLE);
    match after {
        Some(key) if key.starts_with(&rows) => {
            // The prefix itself stands for the place before the first row.
            let after = Some(key).filter(|key| *key != rows);
            add_missing_entries::<R>(txn, after)
        }
        after => Ok(Some(drop_stale_entries::<R>(txn, after)?.unwrap_or(rows))),
    }
}

fn drop_stale_entries<R: Record>(
    txn: &mut Txn,
    after: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let (entries, further) = next_page(txn, &format!("{}~", R::TABLE), after)?;
    for (stored, _) in entries {
        let is_wanted = match record::owner_of::<R>(&stored) {
            Some(key) => txn.get::<R>(&key)?.is_some_and(|row| {
                row.indexes().iter().any(|e| record::index_key(R::TABLE, e, &key) == *stored)
            }),
            None => false,
        };
        if !is_wanted {
            txn.delete_raw(&stored)?;
        }
    }
    Ok(further)
}

fn add_missing_entries<R: Record>(
    txn: &mut Txn,
    after: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let (rows, further) = next_page(txn, &record::table_prefix(R::TABLE), after)?;
    for (stored, entry) in rows {
        let row: R = typed::decode(&stored, &entry)?;
        let key = row.key();
        for wanted in row.indexes() {
            if txn.get_raw(&record::index_key(R::TABLE, &wanted, &key))?.is_none() {
                txn.add_index_entry::<R>(&key, &wanted)?;
            }
        }
        txn.restore_owners(&key, &row)?;
    }
    Ok(further)
}
