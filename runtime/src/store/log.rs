//! Ordered logs: what is in memory of them.
//!
//! An engine without a disk keeps every entry. One with a disk keeps the newest, and all that are not durable yet.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::limits::{LOG_TAIL_MAX_BYTES, LOG_TAIL_MAX_ENTRIES};

/// One entry of an ordered log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Grows strictly within a log, in the order of commits; not dense.
    pub sequence: u64,
    /// What was appended.
    pub value: Bytes,
}

/// Where the entries behind a sequence number are.
#[derive(Debug)]
pub(super) enum Found {
    /// These are the next ones.
    Here(Vec<LogEntry>),
    /// Those up to and with this sequence number have to be read from disk.
    OnDisk(u64),
}

/// The logs of a store, as far as they are in memory.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// Entries up to this sequence number were on disk when the store was opened.
    floor: u64,
    tails: BTreeMap<Arc<str>, Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    /// Every entry beyond this sequence number is in `entries`.
    floor: u64,
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Logs {
    /// Logs of which everything up to `floor` is on disk.
    pub(super) fn from_disk(floor: u64) -> Self {
        Self { floor, tails: BTreeMap::new() }
    }

    pub(super) fn append(&mut self, log: &Arc<str>, sequence: u64, value: Bytes) {
        let floor = self.floor;
        let tail =
            self.tails.entry(Arc::clone(log)).or_insert_with(|| Tail { floor, ..Tail::default() });
        tail.bytes += value.len();
        tail.entries.push_back(LogEntry { sequence, value });
    }

    /// Up to `limit` entries behind `after`, oldest first.
    pub(super) fn read(&self, log: &str, after: u64, limit: usize) -> Found {
        let floor = self.tails.get(log).map_or(self.floor, |tail| tail.floor);
        if after < floor {
            return Found::OnDisk(floor);
        }
        let entries = self.tails.get(log).map_or_else(Vec::new, |tail| tail.read(after, limit));
        Found::Here(entries)
    }

    /// Every entry in memory, by log.
    pub(super) fn all(&self) -> Vec<(Arc<str>, LogEntry)> {
        let entries = self.tails.iter().flat_map(|(log, tail)| {
            tail.entries.iter().map(|entry| (Arc::clone(log), entry.clone()))
        });
        entries.collect()
    }

    /// Forgets the entries up to and with `up_to`.
    pub(super) fn trim(&mut self, log: &str, up_to: u64) {
        if let Some(tail) = self.tails.get_mut(log) {
            while tail.entries.front().is_some_and(|entry| entry.sequence <= up_to) {
                tail.pop();
            }
        }
    }

    /// Drops from memory what is on disk (all up to `durable`) and beyond the limits of a tail.
    pub(super) fn shrink(&mut self, durable: u64) {
        for tail in self.tails.values_mut() {
            while tail.is_long() && tail.entries.front().is_some_and(|e| e.sequence <= durable) {
                if let Some(entry) = tail.pop() {
                    tail.floor = entry.sequence;
                }
            }
        }
    }
}

impl Tail {
    fn read(&self, after: u64, limit: usize) -> Vec<LogEntry> {
        let start = self.entries.partition_point(|entry| entry.sequence <= after);
        self.entries.iter().skip(start).take(limit).cloned().collect()
    }

    fn is_long(&self) -> bool {
        self.entries.len() > LOG_TAIL_MAX_ENTRIES || self.bytes > LOG_TAIL_MAX_BYTES
    }

    fn pop(&mut self) -> Option<LogEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.value.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(found: Found) -> Vec<u64> {
        match found {
            Found::Here(entries) => entries.iter().map(|entry| entry.sequence).collect(),
            Found::OnDisk(up_to) => panic!("on disk up to {up_to}"),
        }
    }

    #[test]
    fn a_long_tail_keeps_what_is_not_durable() {
        const DURABLE: u64 = 100;
        const LAST: u64 = 2 * LOG_TAIL_MAX_ENTRIES as u64;
        let mut logs = Logs::default();
        for sequence in 1..=LAST {
            logs.append(&"t/log".into(), sequence, Bytes::new());
        }
        logs.shrink(DURABLE);
        assert!(matches!(logs.read("t/log", 0, 1), Found::OnDisk(DURABLE)));
        let kept = sequences(logs.read("t/log", DURABLE, usize::MAX));
        assert_eq!(kept, (DURABLE + 1..=LAST).collect::<Vec<_>>());
    }

    #[test]
    fn a_tail_of_large_entries_is_short() {
        let large = Bytes::from(vec![0; LOG_TAIL_MAX_BYTES / 2]);
        let mut logs = Logs::default();
        for sequence in 1..=3 {
            logs.append(&"t/log".into(), sequence, large.clone());
        }
        logs.shrink(3);
        assert_eq!(sequences(logs.read("t/log", 1, usize::MAX)), [2, 3]);
    }

    #[test]
    fn a_log_not_written_since_opening_is_on_disk() {
        let logs = Logs::from_disk(7);
        assert!(matches!(logs.read("t/log", 6, 1), Found::OnDisk(7)));
        assert_eq!(sequences(logs.read("t/log", 7, 1)), [0; 0]);
    }
}
