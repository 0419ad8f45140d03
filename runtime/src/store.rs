//! The store: ordered keys, serializable transactions, watches and ordered logs.
//!
//! Owns what a service wants to find again after a crash. A transaction reads a snapshot and commits only if
//! everything it has read is still so; its outcome is *committed*, *conflict* or *unknown*, and unknown is
//! never folded into either. What is acknowledged is durable, and so is what a finished read has seen.
//!
//! Every engine keeps all rows in memory, in a persistent ordered map: reading never waits, and only committing
//! does. Beginning a transaction costs nothing where one process has the store to itself, and one question where
//! several share a database. It never holds large bytes (see [`limits`]), never retries a
//! commit of unknown outcome, and never lets a scoped handle touch another service's keys.
//!
//! ```
//! # use updraft_runtime::{Env, store::{IndexEntry, Record, Store, StoreError}};
//! #[derive(Clone, serde::Serialize, serde::Deserialize)]
//! struct Flavor { id: String, name: String, vcpus: u32 }
//!
//! impl Record for Flavor {
//!     const TABLE: &'static str = "compute/flavor";
//!     fn key(&self) -> String { self.id.clone() }
//!     fn indexes(&self) -> Vec<IndexEntry> { vec![IndexEntry::unique("name", &self.name)] }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = Store::memory(Env::real()).scoped("compute/");
//! let small = Flavor { id: "1".into(), name: "small".into(), vcpus: 1 };
//! store.transact(|txn| txn.insert(&small)).await?;
//! let found = store.read(|txn| txn.find_one::<Flavor>("name", "small")).await?;
//! assert_eq!(found.map(|flavor| flavor.vcpus), Some(1));
//! # Ok::<(), StoreError>(())
//! # }).unwrap();
//! ```

use std::{fmt, path::Path, sync::Arc};

use bytes::Bytes;

mod access;
mod copy;
mod core;
mod decoded;
mod disk;
mod engine;
mod error;
mod faults;
mod fill;
mod flusher;
mod group;
pub mod limits;
mod log;
mod memo;
mod migrate;
mod open;
mod owners;
#[cfg(feature = "postgres")]
mod postgres;
mod reads;
mod record;
mod renew;
mod retry;
mod shape;
mod txn;
mod typed;
mod watch;

use self::{access::Access, engine::Engine};
use crate::Env;

pub(crate) use self::record::key_under;
pub use redb::StorageBackend;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSettings;
pub use self::{
    copy::{Copy, Piece},
    decoded::Decoded,
    error::{OpenError, StoreError},
    faults::{BeginFate, CommitFate, StoreFaults},
    fill::Filling,
    log::LogEntry,
    migrate::{Change, MigrateError, Schema},
    owners::{RowRef, owned_of, owner_in},
    record::{IndexEntry, Record, entry_in, index_in, key_in},
    shape::Shape,
    txn::Txn,
    watch::{Changes, Watch},
};

/// The version that a transaction sees of what it has written itself.
pub const UNCOMMITTED: u64 = 0;

/// A stored value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// JSON text.
    pub value: Bytes,
    /// The sequence number of the commit that wrote it, or [`UNCOMMITTED`].
    pub version: u64,
}

/// A handle on a store; clones share it, and the store is closed when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    open: Arc<OpenStore>,
    access: Access,
}

/// Closes the store when nobody has a handle or a transaction any more.
struct OpenStore {
    engine: Engine,
    memo: memo::Memo,
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.engine.start_closing();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// An empty store in memory alone: for simulations, where it stands for a shared database, and for tests.
    #[must_use]
    pub fn memory(env: Env) -> Self {
        Self::on(Engine::Local(Arc::new(core::Core::in_memory(env))))
    }

    /// The store in a file, created if it does not exist. Waits a moment for another process to let go of it.
    pub async fn redb(env: Env, path: &Path) -> Result<Self, OpenError> {
        open::file(env, path).await
    }

    /// The store on any storage that redb can use, such as a simulated disk. Clones of `backend` are the same
    /// storage; one is opened anew after the storage was full.
    pub async fn redb_on(
        env: Env,
        backend: impl StorageBackend + Clone,
    ) -> Result<Self, OpenError> {
        open::backend(env, backend).await
    }

    /// The store in a PostgreSQL database, which other processes may use at the same time. Its tables are made
    /// if they are missing; a server that is just starting is waited for.
    ///
    /// What is acknowledged through one process is seen by every transaction that begins afterwards in any.
    #[cfg(feature = "postgres")]
    pub async fn postgres(env: Env, settings: PostgresSettings) -> Result<Self, OpenError> {
        Ok(Self::on(Engine::Shared(postgres::open(env, settings).await?)))
    }

    fn on(engine: Engine) -> Self {
        let open = OpenStore { engine, memo: memo::Memo::default() };
        Self { open: Arc::new(open), access: Access::default() }
    }

    /// A handle that may touch only keys and logs with this prefix, and only those this handle may touch.
    ///
    /// A service's prefix ends in a slash, such as `compute/`, and covers its rows and their index entries.
    #[must_use]
    pub fn scoped(&self, prefix: &str) -> Self {
        Self { open: Arc::clone(&self.open), access: self.access.clone().scoped(prefix) }
    }

    /// A handle on the same store for which things go wrong as `faults` says.
    #[must_use]
    pub fn with_faults(self, faults: Arc<dyn StoreFaults>) -> Self {
        Self { access: self.access.with_faults(faults), open: self.open }
    }

    /// The door to the world of whoever opened the store.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.open.engine.env()
    }

    /// A transaction on what is committed now.
    pub async fn begin(&self) -> Result<Txn, StoreError> {
        Txn::begin(&self.open, &self.access).await
    }

    /// Hints about changes under a prefix, as far as it lies in the scope; a log changes under its name.
    #[must_use]
    pub fn watch(&self, prefix: &str) -> Watch {
        let watches = self.open.engine.watches();
        match self.access.narrow(prefix) {
            Some(prefix) => watches.watch(prefix),
            None => {
                tracing::error!(
                    prefix,
                    "a watch outside the scope of its store handle never fires"
                );
                watches.never()
            }
        }
    }

    /// Up to `limit` entries of a log behind the sequence number `after`, oldest first, all durable.
    ///
    /// There may be more although fewer than `limit` are returned; there are no more if none is.
    pub async fn log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.access.check_key(log)?;
        self.access.check_begin()?;
        self.open.engine.log_read(log, after, limit).await
    }

    /// Forgets the entries of a log up to and with `up_to`.
    pub async fn trim_log(&self, log: &str, up_to: u64) -> Result<(), StoreError> {
        self.access.check_key(log)?;
        self.access.check_begin()?;
        self.open.engine.trim_log(log, up_to).await
    }

    /// Refuses new work through any handle, and returns when all earlier work is durable and the file is free.
    pub async fn close(&self) {
        self.open.engine.close().await;
    }
}
