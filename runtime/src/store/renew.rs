//! A store's storage that is written anew, byte for byte, before anything is built on what an unclean end has left.
//!
//! After a sync has failed, the system takes what was not written for written: reads show it from memory, and no later
//! sync writes it. A store that is opened again, by this process or the next, would take rows for durable that are not,
//! and put new ones beside pages that the disk never had. Writing back what is read makes all of it due for the next
//! sync. It changes no byte, so that it may end anywhere: what was durable stays as it was.

use std::{fmt, io, ops::Bound, sync::Arc};

use parking_lot::Mutex;
use redb::{BackendError, RepairSession, StorageBackend};

/// Bytes that are read and written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A storage that can be renewed; clones are the same.
pub(super) struct Renewed<B>(Arc<Inner<B>>);

struct Inner<B> {
    storage: B,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Untouched,
    Done,
    Failed(Option<io::Error>),
}

impl<B> Clone for Renewed<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: fmt::Debug> fmt::Debug for Renewed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.storage.fmt(f)
    }
}

impl<B: StorageBackend> Renewed<B> {
    pub(super) fn new(storage: B) -> Self {
        Self(Arc::new(Inner { storage, state: Mutex::default() }))
    }

    /// What the engine calls before it repairs, and several times while it does. It holds the storage's lock meanwhile.
    pub(super) fn renew_once(&self, session: &mut RepairSession) {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Untouched) {
            *state = match renew(&self.0.storage) {
                Ok(()) => State::Done,
                Err(error) => State::Failed(Some(error)),
            };
        }
        if matches!(*state, State::Failed(_)) {
            session.abort();
        }
    }

    /// Why it was not renewed, if it had to be; told once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        match &mut *self.0.state.lock() {
            State::Failed(error) => error.take(),
            State::Untouched | State::Done => None,
        }
    }
}

fn renew(storage: &impl StorageBackend) -> io::Result<()> {
    let (length, mut at) = (storage.len()?, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while at < length {
        let bytes = usize::try_from(length - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        storage.read(at, &mut piece[..bytes])?;
        storage.write(at, &piece[..bytes])?;
        at += bytes as u64;
    }
    storage.sync_data()
}

impl<B: StorageBackend> StorageBackend for Renewed<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.storage.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.storage.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.storage.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.storage.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.storage.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.storage.query_lock_range(start, end)
    }
}
