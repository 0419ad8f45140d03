//! The shared heart of a store: the mirror of all rows, the order of commits and the way to durability.
//!
//! A commit is decided and becomes visible under one lock, without waiting; it is acknowledged when durable.
//! Nothing here knows scopes, faults or types.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::{
    Entry,
    disk::{Disk, DiskError, Loaded},
    error::StoreError,
    group::{Group, Queue, Work},
    limits::{LOG_READ_MAX_ENTRIES, RELAXED_FLUSH_DELAY, WAITING_MAX_BYTES},
    log::{Found, LogEntry, Logs},
    reads::{ReadSet, Rows},
    watch::Registry,
};
use crate::{
    Env,
    planted::{Bug, is_planted},
    sometimes,
};

mod copying;

/// The store as it was at one moment.
pub(super) struct Snapshot {
    pub(super) rows: Rows,
    pub(super) sequence: u64,
    /// How often the store had been read anew from its disk.
    pub(super) epoch: u64,
}

/// A change that a transaction wants to make.
pub(super) struct Proposal {
    pub(super) snapshot: Snapshot,
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

/// The flusher gave up on what was waited for.
struct Lost;

/// What is said to a reader of what never became durable.
fn lost() -> StoreError {
    StoreError::Unavailable("what was read did not reach the disk".to_owned())
}

/// The next entries of a log, or where they are.
enum Tail {
    Here(Vec<LogEntry>),
    OnDisk(u64, Weak<Disk>),
}

/// What all handles of one store share.
pub(super) struct Core {
    pub(super) env: Env,
    pub(super) watches: Arc<Registry>,
    state: Mutex<State>,
    /// Present if commits have to reach a disk.
    flusher: Option<Notify>,
}

struct State {
    rows: Rows,
    sequence: u64,
    logs: Logs,
    queue: Queue,
    /// The disk belongs to the flusher, which may let it go at any time.
    disk: Weak<Disk>,
    epoch: u64,
    closing: bool,
    /// Why nothing is served.
    outage: Option<Outage>,
    /// Why the disk has to be opened again, if reading it has failed.
    unread: Option<Arc<str>>,
    closers: Vec<oneshot::Sender<()>>,
}

/// Why a store serves nothing.
#[derive(Clone, Debug)]
pub(super) enum Outage {
    /// Until there is space on its disk.
    NoSpace(Arc<str>),
    /// Until its disk works.
    Failing(Arc<str>),
    /// For good.
    Ended(Arc<str>),
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NoSpace(why) | Self::Failing(why) | Self::Ended(why)) = self;
        f.write_str(why)
    }
}

impl Outage {
    fn refusal(&self) -> StoreError {
        match self {
            Self::NoSpace(why) => StoreError::NoSpace(why.to_string()),
            Self::Failing(why) | Self::Ended(why) => StoreError::Unavailable(why.to_string()),
        }
    }
}

impl Core {
    /// An empty store that lives and dies with the process.
    pub(super) fn in_memory(env: Env) -> Self {
        Self::new(env, Rows::new(), Logs::default(), Queue::default(), None)
    }

    /// A store with what `disk` holds; somebody has to run the flusher.
    pub(super) fn on_disk(env: Env, loaded: &Loaded) -> Self {
        let Loaded { disk, rows, sequence } = loaded;
        let core = Self::new(
            env,
            rows.clone(),
            Logs::from_disk(*sequence),
            Queue::new(*sequence),
            Some(Notify::new()),
        );
        core.state.lock().disk = Arc::downgrade(disk);
        core
    }

    fn new(env: Env, rows: Rows, logs: Logs, queue: Queue, flusher: Option<Notify>) -> Self {
        let state = State {
            rows,
            sequence: queue.durable(),
            logs,
            queue,
            disk: Weak::new(),
            epoch: 0,
            closing: false,
            outage: None,
            unread: None,
            closers: Vec::new(),
        };
        Self { env, watches: Arc::default(), state: Mutex::new(state), flusher }
    }

    /// The state, if the store still serves.
    fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        match state.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(state),
        }
    }

    /// The store as it is now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let state = self.serving()?;
        Ok(Snapshot { rows: state.rows.clone(), sequence: state.sequence, epoch: state.epoch })
    }

    /// Waits until everything that was read from a snapshot is durable.
    pub(super) async fn settle(
        &self,
        snapshot: &Snapshot,
        reads: &ReadSet,
    ) -> Result<(), StoreError> {
        let pending = {
            let mut state = self.state.lock();
            if state.epoch != snapshot.epoch {
                return Err(lost());
            }
            match (state.queue.newest_seen(reads), &state.outage) {
                (None, _) => None,
                (Some(_), Some(outage)) => return Err(outage.refusal()),
                (Some(sequence), None) => state.queue.wait_for(sequence),
            }
        };
        self.await_durable(pending).await.map_err(|Lost| lost())
    }

    async fn await_durable(&self, pending: Pending) -> Result<(), Lost> {
        let Some(pending) = pending else { return Ok(()) };
        self.wake_flusher();
        if is_planted(Bug::AcknowledgedBeforeDurable) {
            return Ok(());
        }
        pending.await.map_err(|_| Lost)
    }

    /// Decides a change and makes it visible, and returns its sequence number once it is durable.
    pub(super) async fn commit(&self, proposal: Proposal) -> Result<u64, StoreError> {
        let (sequence, pending) = self.decide(&proposal)?;
        self.watches.tell(&proposal.keys_written());
        if proposal.relaxed {
            self.wake_flusher();
        }
        drop(proposal);
        self.await_durable(pending).await.map_err(|Lost| StoreError::Unknown)?;
        Ok(sequence)
    }

    fn decide(&self, proposal: &Proposal) -> Result<(u64, Pending), StoreError> {
        let mut state = self.serving()?;
        let Snapshot { rows, epoch, .. } = &proposal.snapshot;
        if *epoch != state.epoch
            || (!proposal.reads.unchanged(rows, &state.rows)
                && !is_planted(Bug::StaleReadCommitted))
        {
            sometimes!(true, "what a transaction has read has changed when it commits");
            return Err(StoreError::Conflict);
        }
        state.check_room()?;
        let (first, sequence) = state.apply(proposal);
        if self.flusher.is_none() {
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
            if self.flusher.is_none() {
                return Ok(());
            }
            state.sequence += 1;
            let sequence = state.sequence;
            state.queue.add(sequence, Duration::ZERO, |group| group.trim(log, up_to));
            state.queue.wait_for(sequence)
        };
        self.await_durable(pending).await.map_err(|Lost| StoreError::Unknown)
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
                (Tail::Here(entries), pending) => {
                    self.await_durable(pending).await.map_err(|Lost| lost())?;
                    return Ok(entries);
                }
                (Tail::OnDisk(floor, disk), _) => {
                    let entries = self.log_on_disk(disk, log, after, limit).await?;
                    if !entries.is_empty() {
                        return Ok(entries);
                    }
                    after = floor;
                }
            }
        }
    }

    fn log_tail(&self, log: &str, after: u64, limit: usize) -> Result<(Tail, Pending), StoreError> {
        let mut state = self.serving()?;
        match state.logs.read(log, after, limit) {
            Found::OnDisk(floor) => Ok((Tail::OnDisk(floor, state.disk.clone()), None)),
            Found::Here(entries) => {
                let last = entries.last().map(|entry| entry.sequence);
                let pending = match (last, &self.flusher) {
                    (Some(last), Some(_)) => state.queue.wait_for(last),
                    _ => None,
                };
                Ok((Tail::Here(entries), pending))
            }
        }
    }

    async fn log_on_disk(
        &self,
        disk: Weak<Disk>,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let disk = disk.upgrade().ok_or_else(lost)?;
        let log = log.to_owned();
        let read = self.env.blocking(move || disk.log_read(&log, after, limit)).await;
        let unavailable = |why: String| StoreError::Unavailable(format!("reading a log: {why}"));
        read.map_err(|gone| unavailable(gone.to_string()))?.map_err(|error| {
            self.distrust(&error);
            unavailable(error.to_string())
        })
    }

    /// Has the disk opened again: once reading has failed, an open one neither reads nor writes any more.
    fn distrust(&self, error: &DiskError) {
        if error.is_of_the_disk() {
            self.state.lock().unread = Some(error.remedy().into());
            self.wake_flusher();
        }
    }

    /// Refuses new work, and returns when all earlier work is durable and the file is let go.
    pub(super) async fn close(&self) {
        self.start_closing();
        let Some(closed) = self.on_closed() else { return };
        // An error says the same: the flusher is gone.
        let _ = closed.await;
    }

    fn on_closed(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        let has_flusher = self.flusher.is_some() && !state.queue.is_abandoned();
        has_flusher.then(|| {
            let (sender, receiver) = oneshot::channel();
            state.closers.push(sender);
            receiver
        })
    }

    /// Refuses new work; what waits is still written.
    pub(super) fn start_closing(&self) {
        self.state.lock().closing = true;
        self.watches.overflow(true);
        self.wake_flusher();
    }

    fn wake_flusher(&self) {
        if let Some(flusher) = &self.flusher {
            flusher.notify_one();
        }
    }
}

/// What the flusher needs.
impl Core {
    /// Returns when something has to be looked at again.
    pub(super) async fn woken(&self, within: Option<Duration>) {
        let Some(flusher) = &self.flusher else { return };
        match within {
            Some(limit) => drop(self.env.timeout(limit, flusher.notified()).await),
            None => flusher.notified().await,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// The next thing to do, or `None` when all is written and no more will come.
    pub(super) fn next_work(&self) -> Option<Work> {
        let now = self.env.now();
        let mut state = self.state.lock();
        if let Some(why) = state.unread.take() {
            return Some(Work::Reopen(why));
        }
        let closing = state.closing;
        match state.queue.next(now, closing) {
            Work::Idle if closing => None,
            work => Some(work),
        }
    }

    /// This group is on disk.
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

    /// Serves nothing until the disk works. Whoever waits learns that the outcome is unknown.
    pub(super) fn suspend(&self, outage: Outage) {
        let mut state = self.state.lock();
        state.outage = Some(outage);
        state.queue.give_up();
        drop(state);
        self.watches.overflow(false);
    }

    /// Serves again, from what the disk holds. No sequence number is given out twice.
    pub(super) fn resume(&self, loaded: &Loaded) {
        let mut state = self.state.lock();
        let sequence = state.sequence.max(loaded.sequence);
        state.rows = loaded.rows.clone();
        state.sequence = sequence;
        state.logs = Logs::from_disk(sequence);
        state.queue = Queue::new(sequence);
        state.disk = Arc::downgrade(&loaded.disk);
        state.epoch += 1;
        (state.outage, state.unread) = (None, None);
        drop(state);
        self.watches.overflow(false);
    }

    /// The flusher is gone for good, because of this failure or because the store was closed.
    pub(super) fn end(&self, failure: Option<&str>) {
        let mut state = self.state.lock();
        state.outage = failure.map(|why| Outage::Ended(why.into()));
        state.queue.abandon();
        let closers = std::mem::take(&mut state.closers);
        drop(state);
        drop(closers);
        self.watches.overflow(true);
    }
}

impl State {
    fn refusal(&self) -> Option<StoreError> {
        match &self.outage {
            Some(outage) => Some(outage.refusal()),
            None if self.closing => Some(StoreError::Closed),
            None => None,
        }
    }

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

/// Adds a change to a group, with the sequence numbers of its first log entry and of itself.
pub(super) fn fill(group: &mut Group, proposal: &Proposal, first: u64, sequence: u64) {
    for (key, value) in &proposal.writes {
        group.write(key, sequence, value.as_ref());
    }
    for ((log, value), sequence) in proposal.appends.iter().zip(first..) {
        group.append(log, LogEntry { sequence, value: value.clone() });
    }
}
