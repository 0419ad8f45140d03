//! Typed rows and their indexes, on top of raw keys and values.
//!
//! Index entries are ordinary keys, written by the transaction that writes the row: they cannot be seen apart.
//! A unique index needs no lock: the look for another row is a range read, and a phantom in it is a conflict.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::{
    Entry, StoreError, Txn,
    owners::owners,
    record::{self, IndexEntry, Record},
};
use crate::notify::{self, Notice, Published};

/// The value of an index entry; all it says is in its key.
const INDEX_VALUE: Bytes = Bytes::from_static(b"null");

/// The longest list of which the rows are remembered.
const REMEMBERED_MAX: usize = 32;

impl Txn {
    /// The row with this key.
    pub fn get<R: Record>(&self, key: &str) -> Result<Option<R>, StoreError> {
        let key = row_key::<R>(key);
        self.get_raw(&key)?.map(|entry| self.row(&key, &entry)).transpose()
    }

    /// The row of an entry, as it is remembered or decoded.
    fn row<R: Record>(&self, key: &str, entry: &Entry) -> Result<R, StoreError> {
        if let Some(known) = self.memo().get(key, &entry.value) {
            return Ok(known);
        }
        let row = decode(key, entry)?;
        self.memo().keep(key, &entry.value, &row);
        Ok(row)
    }

    /// The rows of these entries. A long list is not remembered: it would leave no room for what is read again soon.
    fn rows<R: Record>(&self, found: &[(Arc<str>, Entry)]) -> Result<Vec<R>, StoreError> {
        let is_short = found.len() <= REMEMBERED_MAX;
        let row = |(key, entry): &(Arc<str>, Entry)| match is_short {
            true => self.row(key, entry),
            false => decode(key, entry),
        };
        found.iter().map(row).collect()
    }

    /// The version of the row with this key: the sequence number of the commit that last wrote it, or
    /// [`UNCOMMITTED`](super::UNCOMMITTED) if this transaction did.
    pub fn version<R: Record>(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.get_raw(&row_key::<R>(key))?.map(|entry| entry.version))
    }

    /// Inserts or replaces a row.
    pub fn put<R: Record>(&mut self, row: &R) -> Result<(), StoreError> {
        let key = row.key();
        let old = self.get::<R>(&key)?;
        self.write(&key, old.as_ref(), row)
    }

    /// Inserts a row whose key is not taken.
    pub fn insert<R: Record>(&mut self, row: &R) -> Result<(), StoreError> {
        let key = row.key();
        if self.get_raw(&row_key::<R>(&key))?.is_some() {
            return Err(StoreError::Exists { table: R::TABLE, key });
        }
        self.write(&key, None, row)
    }

    fn write<R: Record>(&mut self, key: &str, old: Option<&R>, row: &R) -> Result<(), StoreError> {
        let stored_under = row_key::<R>(key);
        let value = serde_json::to_vec(row).map_err(|error| corrupt(&stored_under, &error))?;
        let before = old.map(index_entries).unwrap_or_default();
        let wanted = index_entries(row);
        for stale in before.difference(&wanted) {
            self.delete_raw(&record::index_key(R::TABLE, stale, key))?;
        }
        for new in wanted.difference(&before) {
            self.add_index_entry::<R>(key, new)?;
        }
        self.change_owners::<R>(key, &old.map(owners).unwrap_or_default(), &owners(row))?;
        self.put_raw(&stored_under, value.into())?;
        self.tell::<R>(R::notices(old, Some(row)))
    }

    /// Puts notices into the outbox of the row's service.
    pub(crate) fn tell<R: Record>(&mut self, notices: Vec<Notice>) -> Result<(), StoreError> {
        let (service, _) = R::TABLE.split_once('/').unwrap_or((R::TABLE, ""));
        for notice in notices {
            let published = Published::new(notice, self.wall());
            let value = serde_json::to_vec(&published);
            let outbox = notify::outbox(service);
            let value = value.map_err(|error| corrupt(&outbox, &error))?;
            self.append(&outbox, value.into())?;
        }
        Ok(())
    }

    pub(super) fn add_index_entry<R: Record>(
        &mut self,
        key: &str,
        entry: &IndexEntry,
    ) -> Result<(), StoreError> {
        if entry.unique {
            let others = record::index_prefix(R::TABLE, entry.name, &entry.value);
            if !self.scan_raw(&others, None, 1)?.is_empty() {
                let (table, index, value) = (R::TABLE, entry.name, entry.value.clone());
                return Err(StoreError::Duplicate { table, index, value });
            }
        }
        self.put_raw(&record::index_key(R::TABLE, entry, key), INDEX_VALUE)
    }

    /// Deletes a row and returns what it was.
    pub fn delete<R: Record>(&mut self, key: &str) -> Result<Option<R>, StoreError> {
        let Some(old) = self.get::<R>(key)? else { return Ok(None) };
        for entry in index_entries(&old) {
            self.delete_raw(&record::index_key(R::TABLE, &entry, key))?;
        }
        self.change_owners::<R>(key, &owners(&old), &BTreeSet::new())?;
        self.delete_raw(&row_key::<R>(key))?;
        self.tell::<R>(R::notices(Some(&old), None))?;
        Ok(Some(old))
    }

    /// Up to `limit` rows behind the key `after`, in key order.
    pub fn scan<R: Record>(&self, after: Option<&str>, limit: usize) -> Result<Vec<R>, StoreError> {
        let after = after.map(row_key::<R>);
        let prefix = record::table_prefix(R::TABLE);
        let found = self.scan_raw(&prefix, after.as_deref(), limit)?;
        self.rows(&found)
    }

    /// Up to `limit` keys of rows behind the key `after`, in order: the rows themselves are not read, so a
    /// damaged one is among them.
    pub fn scan_keys<R: Record>(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let after = after.map(row_key::<R>);
        let prefix = record::table_prefix(R::TABLE);
        let found = self.scan_raw(&prefix, after.as_deref(), limit)?;
        Ok(found.iter().filter_map(|(key, _)| record::key_in::<R>(key)).collect())
    }

    /// All rows with this value in the index, in key order.
    pub fn find<R: Record>(&self, index: &'static str, value: &str) -> Result<Vec<R>, StoreError> {
        self.find_page(index, value, None, usize::MAX)
    }

    /// The first row with this value in the index; for a unique index, the only one.
    pub fn find_one<R: Record>(
        &self,
        index: &'static str,
        value: &str,
    ) -> Result<Option<R>, StoreError> {
        Ok(self.find_page(index, value, None, 1)?.pop())
    }

    /// Up to `limit` rows with this value in the index behind the key `after`, in key order.
    pub fn find_page<R: Record>(
        &self,
        index: &'static str,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<R>, StoreError> {
        let found = self.entries::<R>(index, value, after, limit)?;
        self.rows(&found)
    }

    /// The value and the row's key of every entry of an index whose value begins so, in order. The rows are not
    /// read: one that changes without changing its entries is no conflict.
    pub fn index_entries<R: Record>(
        &self,
        index: &'static str,
        value_begins: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let prefix =
            format!("{}{}", record::index_in::<R>(index), record::encode(value_begins, true));
        let found = self.scan_raw(&prefix, None, usize::MAX)?;
        Ok(found.iter().filter_map(|(key, _)| record::entry_in::<R>(index, key)).collect())
    }

    /// The same of all rows as they are stored, each under its full key.
    pub(super) fn find_entries<R: Record>(
        &self,
        index: &'static str,
        value: &str,
    ) -> Result<Vec<(Arc<str>, Entry)>, StoreError> {
        self.entries::<R>(index, value, None, usize::MAX)
    }

    fn entries<R: Record>(
        &self,
        index: &'static str,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, Entry)>, StoreError> {
        let prefix = record::index_prefix(R::TABLE, index, value);
        let after = after.map(|key| format!("{prefix}{}", record::encode(key, false)));
        let found = self.scan_raw(&prefix, after.as_deref(), limit)?;
        found.iter().map(|(entry_key, _)| self.indexed::<R>(entry_key, &prefix)).collect()
    }

    fn indexed<R: Record>(
        &self,
        entry_key: &str,
        prefix: &str,
    ) -> Result<(Arc<str>, Entry), StoreError> {
        // The key's part of an entry is encoded as in the row's own key.
        let row_key = format!("{}/{}", R::TABLE, &entry_key[prefix.len()..]);
        match self.get_raw(&row_key)? {
            Some(entry) => Ok((row_key.into(), entry)),
            None => Err(corrupt(entry_key, &"it points at a row that does not exist")),
        }
    }
}

fn row_key<R: Record>(key: &str) -> String {
    const {
        assert!(
            record::is_table_name(R::TABLE),
            "a table is named service/kind, in a-z 0-9 - _ and with one slash"
        );
    }
    record::row_key(R::TABLE, key)
}

fn index_entries<R: Record>(row: &R) -> BTreeSet<IndexEntry> {
    row.indexes().into_iter().collect()
}

pub(super) fn decode<R: Record>(key: &str, entry: &Entry) -> Result<R, StoreError> {
    serde_json::from_slice(&entry.value).map_err(|error| corrupt(key, &error))
}

pub(super) fn corrupt(key: &str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { key: key.to_owned(), reason: reason.to_string() }
}
