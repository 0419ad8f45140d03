//! What all handles of a store on PostgreSQL share: the mirror, and who waits for which task.
//!
//! The mirror only ever moves forward along the journal, whichever task brings the news.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    batch::Waiting,
    journal::{Loaded, Position},
    link::{Ears, Link, stored},
    settings::PostgresSettings,
};
use crate::{
    Env,
    store::{
        LogEntry,
        core::{Proposal, Snapshot},
        error::StoreError,
        limits::{LOG_READ_MAX_ENTRIES, LOG_TRIM_MAX_ENTRIES, WAITING_MAX_BYTES},
        reads::Rows,
        watch::Registry,
    },
};

mod tasks;

/// Asked what the journal says now.
pub(super) type Question = oneshot::Sender<Result<(), StoreError>>;

/// The tasks of a store: one follows the journal, one adds to it.
const TASKS: usize = 2;

/// What all handles of one store share.
pub(in crate::store) struct Hub {
    pub(in crate::store) env: Env,
    pub(in crate::store) watches: Arc<Registry>,
    pub(super) settings: PostgresSettings,
    pub(super) follower: Arc<Ears>,
    pub(super) committer: Arc<Ears>,
    state: Mutex<State>,
}

pub(super) struct State {
    rows: Rows,
    position: Position,
    epoch: u64,
    questions: Vec<Question>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Answers questions, or says why it cannot.
    reader: Result<Option<Arc<Link>>, StoreError>,
    /// Why nothing can be committed now.
    writer: Result<(), StoreError>,
    closing: bool,
    /// Why nothing is served any more.
    ended: Option<Arc<str>>,
    tasks: usize,
    closers: Vec<oneshot::Sender<()>>,
}

impl Hub {
    pub(super) fn new(env: Env, settings: PostgresSettings, loaded: Loaded) -> Self {
        let Loaded { rows, position } = loaded;
        let state = State {
            rows,
            position,
            epoch: 0,
            questions: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            reader: Ok(None),
            writer: Ok(()),
            closing: false,
            ended: None,
            tasks: TASKS,
            closers: Vec::new(),
        };
        Self {
            env,
            watches: Arc::default(),
            settings,
            follower: Arc::default(),
            committer: Arc::default(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn serving(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        match &state.ended {
            Some(why) => Err(StoreError::Unavailable(why.to_string())),
            None if state.closing => Err(StoreError::Closed),
            None => Ok(state),
        }
    }

    /// All that anyone has committed before this was called.
    pub(in crate::store) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        drop(self.serving()?);
        self.catch_up().await?;
        let state = self.state.lock();
        Ok(Snapshot {
            rows: state.rows.clone(),
            sequence: state.position.sequence,
            epoch: state.epoch,
        })
    }

    /// Returns when the mirror has all that was committed before this was called.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if let Err(why) = &state.reader {
                return Err(why.clone());
            }
            state.questions.push(sender);
        }
        self.follower.wake();
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Has a change decided, and returns its sequence number once it is durable.
    pub(in crate::store) async fn commit(&self, proposal: Proposal) -> Result<u64, StoreError> {
        let answer = self.propose(proposal)?;
        self.committer.wake();
        // Nobody is left to answer: it may have been on its way.
        answer.await.unwrap_or(Err(StoreError::Unknown))
    }

    fn propose(
        &self,
        proposal: Proposal,
    ) -> Result<oneshot::Receiver<Result<u64, StoreError>>, StoreError> {
        let mut state = self.serving()?;
        state.writer.clone()?;
        if state.waiting_bytes >= WAITING_MAX_BYTES {
            let why = format!("{WAITING_MAX_BYTES} bytes of commits wait for the database already");
            return Err(StoreError::Unavailable(why));
        }
        state.waiting_bytes += bytes(&proposal);
        let (answer, receiver) = oneshot::channel();
        state.waiting.push_back(Waiting { proposal, answer });
        Ok(receiver)
    }

    /// Up to `limit` entries of a log behind `after`.
    pub(in crate::store) async fn log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let limit = limit.min(LOG_READ_MAX_ENTRIES);
        let read = self.reader().await?;
        read.log_read(log, after, limit).await.map_err(|trouble| trouble.refusal())
    }

    /// Forgets the entries of a log up to and with `up_to`, and none that is still to come.
    pub(in crate::store) async fn trim_log(&self, log: &str, up_to: u64) -> Result<(), StoreError> {
        let link = self.reader().await?;
        let up_to = stored(up_to.min(self.position().sequence));
        loop {
            let trim = &link.statements.trim_log;
            let gone = link.execute(trim, &[&log, &up_to, &LOG_TRIM_MAX_ENTRIES]).await;
            if stored(gone.map_err(|_| StoreError::Unknown)?) < LOG_TRIM_MAX_ENTRIES {
                return Ok(());
            }
        }
    }

    /// A connection that works, with the mirror brought up to date.
    async fn reader(&self) -> Result<Arc<Link>, StoreError> {
        drop(self.serving()?);
        self.catch_up().await?;
        let reader = self.state.lock().reader.clone()?;
        reader.ok_or_else(|| StoreError::Unavailable("the database: not connected".to_owned()))
    }

    /// Refuses new work; what waits is still committed.
    pub(in crate::store) fn start_closing(&self) {
        self.state.lock().closing = true;
        self.watches.overflow(true);
        self.committer.wake();
        self.follower.wake();
    }

    /// Refuses new work, and returns when all earlier work has ended and the connections are let go.
    pub(in crate::store) async fn close(&self) {
        self.start_closing();
        let closed = {
            let mut state = self.state.lock();
            if state.tasks == 0 {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            state.closers.push(sender);
            receiver
        };
        // An error says the same: the tasks are gone.
        let _ = closed.await;
    }
}

fn bytes(proposal: &Proposal) -> usize {
    let rows = proposal.writes.iter();
    let rows = rows.map(|(key, value)| key.len() + value.as_ref().map_or(0, bytes::Bytes::len));
    let appends = proposal.appends.iter().map(|(log, value)| log.len() + value.len());
    rows.chain(appends).sum()
}
