//! Commits on their way to the disk, and who waits for them.
//!
//! Commits that arrive while one group is being written form the next. A later write of a key replaces an
//! earlier one of the same group: they become durable together or not at all.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{log::LogEntry, reads::ReadSet};

/// What has to be written to make all commits up to `sequence` durable.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The last commit in the group.
    pub(super) sequence: u64,
    /// The newest value of each row, or its absence.
    pub(super) rows: BTreeMap<Arc<str>, Unflushed>,
    /// New log entries, in order.
    pub(super) appends: Vec<(Arc<str>, LogEntry)>,
    /// Up to where logs are to be forgotten.
    pub(super) trims: BTreeMap<Arc<str>, u64>,
    bytes: usize,
}

/// A row that is not on disk yet.
#[derive(Debug)]
pub(super) struct Unflushed {
    /// The commit that wrote or deleted it.
    pub(super) sequence: u64,
    /// Its value, unless deleted.
    pub(super) value: Option<Bytes>,
}

impl Group {
    /// Changes nothing that is durable up to `sequence`.
    pub(super) fn empty(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    pub(super) fn write(&mut self, key: &Arc<str>, sequence: u64, value: Option<&Bytes>) {
        self.bytes += key.len() + value.map_or(0, Bytes::len);
        let row = Unflushed { sequence, value: value.cloned() };
        if let Some(old) = self.rows.insert(Arc::clone(key), row) {
            self.bytes -= key.len() + old.value.map_or(0, |value| value.len());
        }
    }

    pub(super) fn append(&mut self, log: &Arc<str>, entry: LogEntry) {
        self.bytes += log.len() + entry.value.len();
        self.appends.push((Arc::clone(log), entry));
    }

    pub(super) fn trim(&mut self, log: &str, up_to: u64) {
        let trimmed = self.trims.entry(log.into()).or_default();
        *trimmed = up_to.max(*trimmed);
    }
}

/// What the flusher has to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Write this group, then call [`Queue::flushed`].
    Flush(Arc<Group>),
    /// Open the disk again: reading it has failed, and this is why.
    Reopen(Arc<str>),
    /// Nothing for this long, unless woken.
    In(Duration),
    /// Nothing until woken.
    Idle,
}

/// The groups of a store and their waiters.
#[derive(Debug, Default)]
pub(super) struct Queue {
    durable: u64,
    flushing: Option<Arc<Group>>,
    waiting: Group,
    /// When the waiting group has to be written at the latest, in the node's monotonic time.
    flush_by: Option<Duration>,
    waiters: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    abandoned: bool,
}

impl Queue {
    /// An empty queue of a store whose commits up to `durable` are on disk.
    pub(super) fn new(durable: u64) -> Self {
        Self { durable, ..Self::default() }
    }

    /// Bytes that are not durable yet.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes + self.flushing.as_ref().map_or(0, |group| group.bytes)
    }

    /// The last commit that is on disk.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Adds commit `sequence` with `fill`, to be written by `flush_by`.
    pub(super) fn add(&mut self, sequence: u64, flush_by: Duration, fill: impl FnOnce(&mut Group)) {
        self.waiting.sequence = sequence;
        fill(&mut self.waiting);
        self.hurry(flush_by);
    }

    fn hurry(&mut self, flush_by: Duration) {
        self.flush_by = Some(self.flush_by.map_or(flush_by, |already| already.min(flush_by)));
    }

    /// The newest commit that these reads have seen and that is not durable yet.
    pub(super) fn newest_seen(&self, reads: &ReadSet) -> Option<u64> {
        let flushing = self.flushing.as_ref().and_then(|group| reads.newest(&group.rows));
        flushing.max(reads.newest(&self.waiting.rows))
    }

    /// Resolves when commit `sequence` is durable and fails when that can no longer be known; `None` if it is
    /// durable now. From here on the commit is not put off any longer.
    pub(super) fn wait_for(&mut self, sequence: u64) -> Option<oneshot::Receiver<()>> {
        if sequence <= self.durable {
            return None;
        }
        if self.flushing.as_ref().is_none_or(|group| sequence > group.sequence) {
            self.hurry(Duration::ZERO);
        }
        let (sender, receiver) = oneshot::channel();
        self.waiters.entry(sequence).or_default().push(sender);
        Some(receiver)
    }

    /// What to do at `now`; with `closing`, nothing is put off.
    pub(super) fn next(&mut self, now: Duration, closing: bool) -> Work {
        match self.flush_by {
            None => Work::Idle,
            Some(by) if by > now && !closing => Work::In(by - now),
            Some(_) => {
                self.flush_by = None;
                let group = Arc::new(std::mem::take(&mut self.waiting));
                self.flushing = Some(Arc::clone(&group));
                Work::Flush(group)
            }
        }
    }

    /// The group is on disk: who can be told so.
    pub(super) fn flushed(&mut self, group: &Group) -> Vec<oneshot::Sender<()>> {
        self.flushing = None;
        self.durable = group.sequence;
        let later = self.waiters.split_off(&(group.sequence + 1));
        let told = std::mem::replace(&mut self.waiters, later);
        told.into_values().flatten().collect()
    }

    /// Lets go of all who wait: what they wait for may never be written.
    pub(super) fn give_up(&mut self) {
        self.waiters.clear();
    }

    /// Nothing will be written any more.
    pub(super) fn abandon(&mut self) {
        self.give_up();
        self.abandoned = true;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reads::KeyRange;

    const SOON: Duration = Duration::from_millis(50);

    fn write(queue: &mut Queue, key: &str, sequence: u64, flush_by: Duration) {
        let value = Bytes::from_static(b"1");
        queue.add(sequence, flush_by, |group| group.write(&key.into(), sequence, Some(&value)));
    }

    fn flush(queue: &mut Queue) -> Arc<Group> {
        match queue.next(Duration::ZERO, true) {
            Work::Flush(group) => group,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_being_written_is_not_durable_yet() {
        let mut queue = Queue::new(6);
        let mut reads = ReadSet::default();
        reads.add_key("t/a".into()).unwrap();
        reads.add_range(KeyRange::new("u/", None)).unwrap();
        write(&mut queue, "t/a", 7, Duration::ZERO);
        let group = flush(&mut queue);
        assert_eq!(queue.newest_seen(&reads), Some(7));
        write(&mut queue, "t/b", 8, Duration::ZERO);
        assert_eq!(queue.newest_seen(&reads), Some(7));
        write(&mut queue, "u/b", 9, Duration::ZERO);
        assert_eq!(queue.newest_seen(&reads), Some(9));
        assert!(queue.bytes() > 0);
        queue.flushed(&group);
        let group = flush(&mut queue);
        queue.flushed(&group);
        assert_eq!((queue.newest_seen(&reads), queue.bytes()), (None, 0));
    }

    #[test]
    fn only_those_who_wait_for_a_written_commit_are_told() {
        let mut queue = Queue::new(0);
        write(&mut queue, "t/a", 1, Duration::ZERO);
        let mut first = queue.wait_for(1).unwrap();
        let group = flush(&mut queue);
        write(&mut queue, "t/b", 2, Duration::ZERO);
        let mut second = queue.wait_for(2).unwrap();
        for waiter in queue.flushed(&group) {
            waiter.send(()).unwrap();
        }
        assert_eq!(first.try_recv(), Ok(()));
        assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(queue.wait_for(1).is_none());
    }

    #[test]
    fn a_group_waits_until_somebody_needs_it() {
        let mut queue = Queue::new(0);
        write(&mut queue, "t/a", 1, SOON);
        assert!(matches!(queue.next(Duration::ZERO, false), Work::In(SOON)));
        let _waiting = queue.wait_for(1);
        assert!(matches!(queue.next(Duration::ZERO, false), Work::Flush(_)));
        assert!(matches!(queue.next(Duration::ZERO, false), Work::Idle));
    }
}
