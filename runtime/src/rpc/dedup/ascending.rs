//! A map whose keys nearly always come in ascending order, such as the numbers of one sender's messages.
//!
//! Owns its entries in one ring, sorted. Promises what a [`BTreeMap`](std::collections::BTreeMap) does: a key that
//! comes late finds its place, at the cost of moving those behind it.

use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Ascending<V> {
    entries: VecDeque<(u64, V)>,
}

impl<V> Default for Ascending<V> {
    fn default() -> Self {
        Self { entries: VecDeque::new() }
    }
}

impl<V> Ascending<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        let at = self.place(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.place(key).is_ok()
    }

    /// Puts a value in the place of the former one of this key, which is returned.
    pub(super) fn insert(&mut self, key: u64, value: V) -> Option<V> {
        match self.place(key) {
            Ok(at) => Some(std::mem::replace(&mut self.entries.get_mut(at)?.1, value)),
            Err(at) => {
                self.entries.insert(at, (key, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let at = self.place(key).ok()?;
        self.entries.remove(at).map(|(_, value)| value)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(key, _)| *key)
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, V)> {
        self.entries.pop_front()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Where a key is, or where it belongs.
    fn place(&self, key: u64) -> Result<usize, usize> {
        if self.entries.back().is_none_or(|(last, _)| *last < key) {
            return Err(self.entries.len());
        }
        match self.place_without_gaps(key) {
            Some(at) => Ok(at),
            None => self.entries.binary_search_by_key(&key, |(key, _)| *key),
        }
    }

    /// Where a key is if no key is missing before it, as is usual: found at once.
    fn place_without_gaps(&self, key: u64) -> Option<usize> {
        let at = usize::try_from(key.checked_sub(self.first()?)?).ok()?;
        self.entries.get(at).filter(|(found, _)| *found == key).map(|_| at)
    }
}
