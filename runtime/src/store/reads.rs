//! What a transaction has looked at, and whether it still looks the same.
//!
//! A read set remembers keys and ranges, not values: the snapshot that the transaction holds still has those.
//! Comparing snapshot and present costs what the reads cost, and finds phantoms, since a range is compared whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use super::{Entry, error::StoreError, group::Unflushed, limits::TXN_READS_MAX};

/// The rows of a store at one moment; a clone costs nothing and never changes.
pub(super) type Rows = imbl::OrdMap<Arc<str>, Entry>;

/// A stretch of keys: all from `start` that share `prefix`, up to and with `last` if there is one.
#[derive(Clone, Debug)]
pub(super) struct KeyRange {
    start: Bound<Arc<str>>,
    prefix: Arc<str>,
    last: Option<Arc<str>>,
}

impl KeyRange {
    /// All keys with this prefix, or those of them behind `after`.
    pub(super) fn new(prefix: &str, after: Option<&str>) -> Self {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.into()),
            _ => Bound::Included(prefix.into()),
        };
        Self { start, prefix: prefix.into(), last: None }
    }

    /// The same, but only as far as `last`.
    pub(super) fn until(mut self, last: Arc<str>) -> Self {
        self.last = Some(last);
        self
    }

    fn start(&self) -> Bound<&str> {
        match &self.start {
            Bound::Included(key) => Bound::Included(key),
            Bound::Excluded(key) => Bound::Excluded(key),
            Bound::Unbounded => Bound::Unbounded,
        }
    }

    fn holds(&self, key: &str) -> bool {
        key.starts_with(&*self.prefix) && self.last.as_deref().is_none_or(|last| key <= last)
    }

    /// The rows of the range, in order.
    pub(super) fn rows<'a>(
        &'a self,
        rows: &'a Rows,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
        let from = rows.range::<_, str>((self.start(), Bound::Unbounded));
        from.take_while(|(key, _)| self.holds(key))
    }

    /// The entries of any sorted map that lie in the range, in order.
    pub(super) fn entries<'a, V>(
        &'a self,
        map: &'a BTreeMap<Arc<str>, V>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a V)> {
        let from = map.range::<str, _>((self.start(), Bound::Unbounded));
        from.take_while(|(key, _)| self.holds(key))
    }
}

/// Everything a transaction has read from its snapshot.
#[derive(Debug, Default)]
pub(super) struct ReadSet {
    keys: BTreeSet<Arc<str>>,
    ranges: Vec<KeyRange>,
}

impl ReadSet {
    pub(super) fn add_key(&mut self, key: Arc<str>) -> Result<(), StoreError> {
        self.keys.insert(key);
        self.check_size()
    }

    pub(super) fn add_range(&mut self, range: KeyRange) -> Result<(), StoreError> {
        self.ranges.push(range);
        self.check_size()
    }

    fn check_size(&self) -> Result<(), StoreError> {
        let size = self.keys.len() + self.ranges.len();
        if size <= TXN_READS_MAX {
            return Ok(());
        }
        let what = "the number of keys and ranges read by the transaction".to_owned();
        Err(StoreError::TooLarge { what, size, limit: TXN_READS_MAX })
    }

    /// Whether all that was read from `then` reads the same from `now`.
    pub(super) fn unchanged(&self, then: &Rows, now: &Rows) -> bool {
        let version = |rows: &Rows, key: &str| rows.get(key).map(|entry| entry.version);
        then.ptr_eq(now)
            || (self.keys.iter().all(|key| version(then, key) == version(now, key))
                && self.ranges.iter().all(|range| same_rows(range, then, now)))
    }

    /// The newest of these unflushed commits that wrote or deleted anything read here.
    pub(super) fn newest(&self, unflushed: &BTreeMap<Arc<str>, Unflushed>) -> Option<u64> {
        if unflushed.is_empty() {
            return None;
        }
        let keys = self.keys.iter().filter_map(|key| unflushed.get(key));
        let ranges = self.ranges.iter().flat_map(|range| range.entries(unflushed));
        keys.chain(ranges.map(|(_, row)| row)).map(|row| row.sequence).max()
    }
}

fn same_rows(range: &KeyRange, then: &Rows, now: &Rows) -> bool {
    let then = range.rows(then).map(|(key, entry)| (key, entry.version));
    then.eq(range.rows(now).map(|(key, entry)| (key, entry.version)))
}
