//! The shared heart of a store: the mirror of all rows, the order of commits and the way to durability.
//!
//! A commit is decided and becomes visible under one lock, without waiting; it is acknowledged when durable.
//! Nothing here knows scopes, faults or types.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::{
    Entry,
    disk::Disk,
    error::StoreError,
    group::{Group, Queue, Work},
    limits::{LOG_READ_MAX_ENTRIES, RELAXED_FLUSH_DELAY, WAITING_MAX_BYTES},
    log::{Found, LogEntry, Logs},
    reads::{ReadSet, Rows},
    watch::Registry,
};
use crate::Env;

/// A change that a transaction wants to make.
pub(super) struct Proposal {
    pub(super) snapshot: Rows,
    pub(super) reads: ReadSet,
    pub(super) writes: BTreeMap<Arc<str>, Option<Bytes>>,
    pub(super) appends: Vec<(Arc<str>, Bytes)>,
    pub(super) relaxed: bool,
}

impl Proposal {
    /// The keys and logs it writes.
    pub(super) fn keys_written(&self) -> Vec<Arc<str>> {
        self.writes.keys().chain(self.appends.iter().map(|(log, _)| log)).cloned().collect()
    }
}

/// Resolves when durable; `None` is durable already.
pub(super) type Pending = Option<oneshot::Receiver<()>>;

/// What all handles of one store share.
pub(super) struct Core {
    pub(super) env: Env,
    pub(super) watches: Arc<Registry>,
    state: Mutex<State>,
    /// Present if commits have to reach a disk; the disk itself belongs to the flusher.
    flush: Option<Flush>,
}

struct Flush {
    disk: Weak<Disk>,
    wake: Notify,
}

struct State {
    rows: Rows,
    sequence: u64,
    logs: Logs,
    queue: Queue,
    closing: bool,
    /// Why nothing is served any more.
    ended: Option<Arc<str>>,
    closers: Vec<oneshot::Sender<()>>,
}

impl Core {
    /// An empty store that lives and dies with the process.
    pub(super) fn in_memory(env: Env) -> Self {
        Self::new(env, Rows::new(), 0, Logs::default(), None)
    }

    /// A store with what `disk` holds; somebody has to run the flusher.
    pub(super) fn on_disk(env: Env, rows: Rows, sequence: u64, disk: Weak<Disk>) -> Self {
        let flush = Flush { disk, wake: Notify::new() };
        Self::new(env, rows, sequence, Logs::from_disk(sequence), Some(flush))
    }

    fn new(env: Env, rows: Rows, sequence: u64, logs: Logs, flush: Option<Flush>) -> Self {
        let state = State {
            rows,
            sequence,
            logs,
            queue: Queue::new(sequence),
            closing: false,
            ended: None,
            closers: Vec::new(),
        };
        Self { env, watches: Arc::default(), state: Mutex::new(state), flush }
    }

    /// The state, if the store still serves.
    fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        match &state.ended {
            Some(why) => Err(StoreError::Unavailable(why.to_string())),
            None if state.closing => Err(StoreError::Unavailable("it is closed".to_owned())),
            None => Ok(state),
        }
    }

    /// All rows as they are now.
    pub(super) fn snapshot(&self) -> Result<(Rows, u64), StoreError> {
        let state = self.serving()?;
        Ok((state.rows.clone(), state.sequence))
    }

    /// Waits until everything that was read is durable.
    pub(super) async fn settle(&self, reads: &ReadSet) -> Result<(), StoreError> {
        let pending = {
            let mut state = self.state.lock();
            let newest = state.queue.newest_seen(reads);
            if newest.is_some() && state.ended.is_some() {
                return Err(self.gone(&state));
            }
            newest.and_then(|sequence| state.queue.wait_for(sequence))
        };
        self.await_read(pending).await
    }

    async fn await_read(&self, pending: Pending) -> Result<(), StoreError> {
        let Some(pending) = pending else { return Ok(()) };
        self.wake_flusher();
        pending.await.map_err(|_| self.gone(&self.state.lock()))
    }

    fn gone(&self, state: &State) -> StoreError {
        let why = state.ended.as_deref().unwrap_or("it has ended");
        StoreError::Unavailable(why.to_owned())
    }

    /// Decides a change and makes it visible, and returns its sequence number once it is durable.
    pub(super) async fn commit(&self, proposal: Proposal) -> Result<u64, StoreError> {
        let (sequence, pending) = self.decide(&proposal)?;
        self.watches.tell(&proposal.keys_written());
        self.wake_flusher();
        drop(proposal);
        match pending {
            Some(pending) => pending.await.map(|()| sequence).map_err(|_| StoreError::Unknown),
            None => Ok(sequence),
        }
    }

    fn decide(&self, proposal: &Proposal) -> Result<(u64, Pending), StoreError> {
        let mut state = self.serving()?;
        if !proposal.reads.unchanged(&proposal.snapshot, &state.rows) {
            return Err(StoreError::Conflict);
        }
        state.check_room()?;
        let (first, sequence) = state.apply(proposal);
        if self.flush.is_none() {
            return Ok((sequence, None));
        }
        let flush_by =
            if proposal.relaxed { self.env.now() + RELAXED_FLUSH_DELAY } else { Duration::ZERO };
        state.queue.add(sequence, flush_by, |group| fill(group, proposal, first, sequence));
        let pending = if proposal.relaxed { None } else { state.queue.wait_for(sequence) };
        Ok((sequence, pending))
    }

    /// Forgets the entries of a log up to and with `up_to`.
    pub(super) async fn trim_log(&self, log: &str, up_to: u64) -> Result<(), StoreError> {
        let pending = {
            let mut state = self.serving()?;
            let up_to = up_to.min(state.sequence);
            state.logs.trim(log, up_to);
            if self.flush.is_none() {
                return Ok(());
            }
            state.sequence += 1;
            let sequence = state.sequence;
            state.queue.add(sequence, Duration::ZERO, |group| group.trim(log, up_to));
            state.queue.wait_for(sequence)
        };
        self.await_read(pending).await
    }

    /// Up to `limit` entries of a log behind `after`, all durable.
    pub(super) async fn log_read(
        &self,
        log: &str,
        mut after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let limit = limit.min(LOG_READ_MAX_ENTRIES);
        loop {
            match self.log_tail(log, after, limit)? {
                (Found::Here(entries), pending) => {
                    self.await_read(pending).await?;
                    return Ok(entries);
                }
                (Found::OnDisk(floor), _) => {
                    let entries = self.log_on_disk(log, after, limit).await?;
                    if !entries.is_empty() {
                        return Ok(entries);
                    }
                    after = floor;
                }
            }
        }
    }

    fn log_tail(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<(Found, Pending), StoreError> {
        let mut state = self.serving()?;
        let found = state.logs.read(log, after, limit);
        let last = match &found {
            Found::Here(entries) => entries.last().map(|entry| entry.sequence),
            Found::OnDisk(_) => None,
        };
        let pending = match (last, &self.flush) {
            (Some(last), Some(_)) => state.queue.wait_for(last),
            _ => None,
        };
        Ok((found, pending))
    }

    async fn log_on_disk(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let Some(disk) = self.flush.as_ref().and_then(|flush| flush.disk.upgrade()) else {
            return Err(self.gone(&self.state.lock()));
        };
        let log = log.to_owned();
        let read = self.env.blocking(move || disk.log_read(&log, after, limit)).await;
        let unavailable = |why: String| StoreError::Unavailable(format!("reading a log: {why}"));
        read.map_err(|gone| unavailable(gone.to_string()))?.map_err(|e| unavailable(e.to_string()))
    }

    /// Refuses new work, and returns when all earlier work is durable and the file is let go.
    pub(super) async fn close(&self) {
        self.start_closing();
        let closed = {
            let mut state = self.state.lock();
            if self.flush.is_none() || state.ended.is_some() {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            state.closers.push(sender);
            receiver
        };
        // An error says the same: the flusher is gone.
        let _ = closed.await;
    }

    /// Refuses new work; what waits is still written.
    pub(super) fn start_closing(&self) {
        self.state.lock().closing = true;
        self.watches.end();
        self.wake_flusher();
    }

    fn wake_flusher(&self) {
        if let Some(flush) = &self.flush {
            flush.wake.notify_one();
        }
    }

    /// For the flusher: returns when something has to be looked at again.
    pub(super) async fn woken(&self, within: Option<Duration>) {
        let Some(flush) = &self.flush else { return };
        match within {
            Some(limit) => drop(self.env.timeout(limit, flush.wake.notified()).await),
            None => flush.wake.notified().await,
        }
    }

    /// For the flusher: the next thing to do, or `None` when all is written and no more will come.
    pub(super) fn next_work(&self) -> Option<Work> {
        let now = self.env.now();
        let mut state = self.state.lock();
        let closing = state.closing;
        match state.queue.next(now, closing) {
            Work::Idle if closing => None,
            work => Some(work),
        }
    }

    /// For the flusher: this group is on disk.
    pub(super) fn flushed(&self, group: &Group) {
        let told = {
            let mut state = self.state.lock();
            let told = state.queue.flushed(group);
            let durable = state.queue.durable();
            state.logs.shrink(durable);
            told
        };
        for waiter in told {
            // A waiter that went away does not care.
            let _ = waiter.send(());
        }
    }

    /// For the flusher: it writes no more. Whoever still waits learns that the outcome is unknown.
    pub(super) fn end(&self, why: &str) {
        let closers = {
            let mut state = self.state.lock();
            state.ended.get_or_insert_with(|| why.into());
            state.queue.give_up();
            std::mem::take(&mut state.closers)
        };
        drop(closers);
        self.watches.end();
    }
}

impl State {
    fn check_room(&self) -> Result<(), StoreError> {
        if self.queue.bytes() < WAITING_MAX_BYTES {
            return Ok(());
        }
        let why = format!("{WAITING_MAX_BYTES} bytes of commits wait for the disk already");
        Err(StoreError::Unavailable(why))
    }

    /// Makes a change visible; returns the sequence numbers of its first log entry and of itself.
    fn apply(&mut self, proposal: &Proposal) -> (u64, u64) {
        let first = self.sequence + 1;
        for ((log, value), sequence) in proposal.appends.iter().zip(first..) {
            self.logs.append(log, sequence, value.clone());
            self.sequence = sequence;
        }
        self.sequence = self.sequence.max(first);
        for (key, value) in &proposal.writes {
            match value {
                Some(value) => {
                    let entry = Entry { value: value.clone(), version: self.sequence };
                    self.rows.insert(Arc::clone(key), entry);
                }
                None => drop(self.rows.remove(&**key)),
            }
        }
        (first, self.sequence)
    }
}

fn fill(group: &mut Group, proposal: &Proposal, first: u64, sequence: u64) {
    for (key, value) in &proposal.writes {
        group.write(key, sequence, value.as_ref());
    }
    for ((log, value), sequence) in proposal.appends.iter().zip(first..) {
        group.append(log, LogEntry { sequence, value: value.clone() });
    }
}
