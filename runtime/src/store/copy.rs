//! A whole store, read out while it serves, and written into one that is empty.
//!
//! A copy is everything at one moment, with the numbers of the commits that wrote it, so that whoever remembers a
//! version or a place in a log finds it in the other store too. What is filled appears whole or not at all.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Entry, LogEntry, Store, StoreError, limits::COPY_AHEAD_MAX_PIECES};

/// One thing that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A row or an entry of an index.
    Row {
        /// Its full key.
        key: Arc<str>,
        /// Its value and version.
        entry: Entry,
    },
    /// An entry of a log.
    Log {
        /// The log.
        log: Arc<str>,
        /// The entry.
        entry: LogEntry,
    },
}

impl Piece {
    /// Bytes of its key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Row { key, entry } => key.len() + entry.value.len(),
            Self::Log { log, entry } => log.len() + entry.value.len(),
        }
    }
}

/// What a reader hands over; it ends when nobody takes it.
pub(super) type Pieces = mpsc::Sender<Result<Piece, StoreError>>;

/// Everything in a store at one moment: rows by key, then the entries of logs.
#[derive(Debug)]
pub struct Copy {
    pub(super) sequence: u64,
    pub(super) pieces: mpsc::Receiver<Result<Piece, StoreError>>,
}

impl Copy {
    /// The commit up to which it has everything.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next piece; `None` behind the last.
    pub async fn next(&mut self) -> Option<Result<Piece, StoreError>> {
        self.pieces.recv().await
    }
}

impl Store {
    /// Everything that is committed and durable now. The store serves meanwhile.
    pub async fn copy(&self) -> Result<Copy, StoreError> {
        // A scope hides a part, and a part is no copy.
        self.access.check_key("")?;
        self.access.check_begin()?;
        self.open.engine.copy().await
    }

    /// The rows and entries of indexes under this prefix, and no log: for a look, which need not read all.
    pub async fn copy_rows(&self, prefix: &str) -> Result<Copy, StoreError> {
        let txn = self.begin().await?;
        let rows = txn.scan_raw(prefix, None, usize::MAX)?;
        let sequence = txn.commit().await?;
        let (sender, pieces) = channel();
        self.env().spawn("store-copy", async move {
            for (key, entry) in rows {
                if sender.send(Ok(Piece::Row { key, entry })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Copy { sequence, pieces })
    }
}

pub(super) fn channel() -> (Pieces, mpsc::Receiver<Result<Piece, StoreError>>) {
    mpsc::channel(COPY_AHEAD_MAX_PIECES)
}
