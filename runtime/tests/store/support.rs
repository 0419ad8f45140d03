//! Rows, worlds and disks for the tests.

use std::{any::Any, io, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    store::{IndexEntry, Record, StorageBackend, Store, StoreError, Txn},
};

/// A row with a unique and a shared index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) host: Option<String>,
}

impl Server {
    pub(crate) fn new(id: &str, name: &str, host: Option<&str>) -> Self {
        Self { id: id.into(), name: name.into(), host: host.map(Into::into) }
    }
}

impl Record for Server {
    const TABLE: &'static str = "compute/server";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let host = self.host.as_ref().map(|host| IndexEntry::many("host", host));
        [IndexEntry::unique("name", &self.name)].into_iter().chain(host).collect()
    }
}

pub(crate) fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Writes one key in a transaction of its own.
pub(crate) async fn put(store: &Store, key: &str, value: &str) -> u64 {
    let mut txn = store.begin().await.unwrap();
    txn.put_raw(key, json(value)).unwrap();
    txn.commit().await.unwrap()
}

/// Appends one entry in a transaction of its own.
pub(crate) async fn append(store: &Store, log: &str, value: &str) -> u64 {
    let mut txn = store.begin().await.unwrap();
    txn.append(log, json(value)).unwrap();
    txn.commit().await.unwrap()
}

/// The text under a key.
pub(crate) fn text(txn: &Txn, key: &str) -> Option<String> {
    let entry = txn.get_raw(key).unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

/// The text under a key, committed and durable.
pub(crate) async fn stored(store: &Store, key: &str) -> Option<String> {
    store.read(|txn| Ok::<_, StoreError>(text(txn, key))).await.unwrap()
}

/// All keys under a prefix.
pub(crate) fn keys(txn: &Txn, prefix: &str) -> Vec<String> {
    let found = txn.scan_raw(prefix, None, usize::MAX).unwrap();
    found.into_iter().map(|(key, _)| key.to_string()).collect()
}

/// A world on a paused tokio clock in which blocking work happens at once.
pub(crate) struct StillWorld {
    started: tokio::time::Instant,
}

/// An environment in which nothing depends on the machine.
#[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
pub(crate) fn still_env() -> Env {
    Env::new(StillWorld { started: tokio::time::Instant::now() })
}

impl World for StillWorld {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        UnixMicros(0)
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        [7; 32]
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

/// A disk that forgets everything that was not synced when the power fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossyDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    written: Vec<u8>,
    synced: Vec<u8>,
    syncs: usize,
    written_bytes: usize,
    broken: bool,
    unreadable: bool,
    full: bool,
}

impl LossyDisk {
    /// What a fresh machine would find if the power failed now.
    pub(crate) fn after_power_failure(&self) -> Self {
        let synced = self.0.lock().synced.clone();
        let platter = Platter { written: synced.clone(), synced, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    /// How often it was synced.
    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().syncs
    }

    /// How long it is.
    pub(crate) fn length(&self) -> usize {
        self.0.lock().written.len()
    }

    /// How many bytes were ever written.
    pub(crate) fn written_bytes(&self) -> usize {
        self.0.lock().written_bytes
    }

    /// Makes every further sync fail, or mends it.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.0.lock().broken = broken;
    }

    /// Makes every further read fail, or mends it.
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.0.lock().unreadable = unreadable;
    }

    /// Leaves no space for writes, or makes some.
    pub(crate) fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }
}

impl Platter {
    fn check_space(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn bounds(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + length
}

impl StorageBackend for LossyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock();
        if platter.unreadable {
            return Err(io::Error::other("the disk is broken"));
        }
        out.copy_from_slice(&platter.written[bounds(offset, out.len())]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.check_space()?;
        platter.written.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock();
        if platter.broken {
            return Err(io::Error::other("the disk is broken"));
        }
        platter.synced = platter.written.clone();
        platter.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.check_space()?;
        platter.written_bytes += data.len();
        platter.written[bounds(offset, data.len())].copy_from_slice(data);
        Ok(())
    }
}

/// A world in which nothing ever happens.
pub(crate) struct DeadWorld;

impl World for DeadWorld {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> UnixMicros {
        UnixMicros(0)
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        [0; 32]
    }

    fn spawn(&self, _name: &'static str, _task: BoxFuture<'static, ()>) {}

    fn blocking(
        &self,
        _work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async { Err(Gone) })
    }
}
