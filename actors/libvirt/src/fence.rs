//! The newest generation served, per guest, on disk.
//!
//! Owns the folder `fence`, one small file a guest. Promises that a generation counts only once it
//! is on the disk, and that nothing older is admitted afterwards, also by a later process. What is
//! known of a removed guest is kept for [`REMOVED_KEPT`], so that a straggler cannot bring it back, and
//! forgotten within a day after that, whether the process is restarted or not.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_protocol::hypervisor::{DriverError, GuestRef};
use updraft_runtime::{
    env::{Env, UnixMicros},
    folder::Folder,
};
use uuid::Uuid;

/// How long a removed guest's generation is kept: far beyond the deadline of any message under way.
const REMOVED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often it is looked for what may be forgotten: when a guest is removed, since only that adds to it.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What the name of a guest's file ends in.
const EXTENSION: &str = ".json";

/// What is known of one guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The newest generation admitted.
    generation: u64,
    /// The generation whose reboot is done, so that a repeated request is not a second reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rebooted: Option<u64>,
    /// When it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed: Option<UnixMicros>,
}

/// The fence of one host.
pub(crate) struct Fence {
    folder: Folder,
    env: Env,
    records: Mutex<BTreeMap<Uuid, Record>>,
    pruned: Mutex<UnixMicros>,
}

/// The fence's folder could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FenceError {
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{path} is not a fence record: {source}; without it the guest cannot be fenced")]
    Content {
        /// Which file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
}

impl Fence {
    /// Reads what earlier processes served, and forgets what was removed long ago.
    pub(crate) fn open(instances: &Path, env: Env) -> Result<Self, FenceError> {
        let path = instances.join("fence");
        let folder = env.folder(&path).map_err(at(&path))?;
        let mut records = BTreeMap::new();
        for name in folder.names().map_err(at(&path))? {
            if let Some(guest) = guest_of(&name) {
                records.insert(guest, read(&folder, &name)?);
            }
        }
        let pruned = Mutex::new(env.wall());
        let fence = Self { folder, env, records: Mutex::new(records), pruned };
        fence.prune()?;
        Ok(fence)
    }

    /// Forgets what was removed long ago.
    fn prune(&self) -> Result<(), FenceError> {
        let now = self.env.wall();
        *self.pruned.lock() = now;
        let mut records = self.records.lock();
        let old =
            |record: &Record| record.removed.is_some_and(|when| now.since(when) > REMOVED_KEPT);
        let forgotten: Vec<Uuid> =
            records.iter().filter(|(_, record)| old(record)).map(|(guest, _)| *guest).collect();
        for guest in forgotten {
            let name = file_of(guest);
            self.folder.remove(&name).map_err(at(&self.folder.path(&name)))?;
            records.remove(&guest);
        }
        Ok(())
    }

    /// Lets an operation in, unless a newer generation was let in before. Writes to the disk.
    pub(crate) fn admit(&self, asked: GuestRef) -> Result<(), DriverError> {
        let mut records = self.records.lock();
        let known = records.get(&asked.guest).copied();
        refuse_older(asked, known)?;
        if known.is_some_and(|record| record.generation == asked.generation) {
            return Ok(());
        }
        let record =
            Record { generation: asked.generation, removed: None, ..known.unwrap_or_default() };
        self.keep(&mut records, asked.guest, record)
    }

    /// Whether an operation that was let in may go on: nothing newer came meanwhile.
    pub(crate) fn check(&self, asked: GuestRef) -> Result<(), DriverError> {
        refuse_older(asked, self.records.lock().get(&asked.guest).copied())
    }

    /// The newest generation served; 0 for a guest never heard of.
    pub(crate) fn served(&self, guest: Uuid) -> u64 {
        self.records.lock().get(&guest).map_or(0, |record| record.generation)
    }

    /// Whether the reboot that this generation asks for is done.
    pub(crate) fn is_rebooted(&self, asked: GuestRef) -> bool {
        let records = self.records.lock();
        records.get(&asked.guest).is_some_and(|r| r.rebooted == Some(asked.generation))
    }

    /// Notes that the reboot is done. Writes to the disk.
    pub(crate) fn note_rebooted(&self, done: GuestRef) -> Result<(), DriverError> {
        self.update(done, |record| record.rebooted = Some(done.generation))
    }

    /// Notes that the guest is gone. Writes to the disk.
    pub(crate) fn note_removed(&self, done: GuestRef) -> Result<(), DriverError> {
        let now = self.env.wall();
        self.update(done, |record| record.removed = Some(now))?;
        let due = now.since(*self.pruned.lock()) > PRUNE_EVERY;
        if due && let Err(error) = self.prune() {
            // What could not be forgotten now is tried again within a day.
            tracing::warn!(%error, "old fence records are kept");
        }
        Ok(())
    }

    fn update(&self, done: GuestRef, change: impl FnOnce(&mut Record)) -> Result<(), DriverError> {
        let mut records = self.records.lock();
        let mut record = records.get(&done.guest).copied().unwrap_or_default();
        if record.generation != done.generation {
            return Ok(());
        }
        change(&mut record);
        self.keep(&mut records, done.guest, record)
    }

    /// On the disk first, then in memory. The lock is held meanwhile: two writers never mix.
    fn keep(
        &self,
        records: &mut BTreeMap<Uuid, Record>,
        guest: Uuid,
        record: Record,
    ) -> Result<(), DriverError> {
        self.write(guest, record)
            .map_err(|e| DriverError::Failed(format!("the generation cannot be kept: {e}")))?;
        records.insert(guest, record);
        Ok(())
    }

    fn write(&self, guest: Uuid, record: Record) -> Result<(), FenceError> {
        let name = file_of(guest);
        let path = self.folder.path(&name);
        let content = serde_json::to_vec(&record)
            .map_err(|source| FenceError::Content { path: path.clone(), source })?;
        self.folder.replace(&name, &content).map_err(at(&path))
    }
}

fn refuse_older(asked: GuestRef, known: Option<Record>) -> Result<(), DriverError> {
    match known {
        Some(Record { generation: served, .. }) if served > asked.generation => {
            Err(DriverError::Stale { asked: asked.generation, served })
        }
        _ => Ok(()),
    }
}

fn file_of(guest: Uuid) -> String {
    format!("{guest}{EXTENSION}")
}

fn guest_of(name: &str) -> Option<Uuid> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}

fn read(folder: &Folder, name: &str) -> Result<Record, FenceError> {
    let path = folder.path(name);
    let content = folder.read(name).map_err(at(&path))?.unwrap_or_default();
    serde_json::from_slice(&content).map_err(|source| FenceError::Content { path, source })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FenceError + '_ {
    move |source| FenceError::Disk { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::{
        any::Any,
        fs,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use updraft_runtime::env::{BlockingWork, BoxFuture, Gone, World};

    use super::*;

    const GUEST: Uuid = Uuid::from_u128(7);

    fn at_generation(generation: u64) -> GuestRef {
        GuestRef { guest: GUEST, generation }
    }

    fn open(folder: &Path) -> Fence {
        Fence::open(folder, Env::real()).unwrap()
    }

    #[tokio::test]
    async fn an_older_generation_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        fence.admit(at_generation(5)).unwrap();
        let refused = fence.admit(at_generation(4));
        assert_eq!(refused, Err(DriverError::Stale { asked: 4, served: 5 }));
    }

    #[tokio::test]
    async fn the_same_generation_may_be_repeated_and_a_newer_one_takes_over() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        for generation in [5, 5, 6] {
            fence.admit(at_generation(generation)).unwrap();
        }
        assert_eq!(fence.served(GUEST), 6);
    }

    #[tokio::test]
    async fn an_older_generation_is_refused_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).admit(at_generation(5)).unwrap();
        let refused = open(folder.path()).admit(at_generation(4));
        assert_eq!(refused, Err(DriverError::Stale { asked: 4, served: 5 }));
    }

    #[tokio::test]
    async fn an_operation_under_way_learns_that_it_was_overtaken() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        fence.admit(at_generation(1)).unwrap();
        fence.admit(at_generation(2)).unwrap();
        assert_eq!(fence.check(at_generation(1)), Err(DriverError::Stale { asked: 1, served: 2 }));
    }

    #[tokio::test]
    async fn a_removed_guest_stays_fenced() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        fence.admit(at_generation(3)).unwrap();
        fence.note_removed(at_generation(3)).unwrap();
        let reopened = open(folder.path());
        assert!(reopened.admit(at_generation(2)).is_err());
    }

    #[tokio::test]
    async fn a_guest_removed_long_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        fence.admit(at_generation(3)).unwrap();
        let record = Record { generation: 3, removed: Some(UnixMicros(1)), rebooted: None };
        fence.write(GUEST, record).unwrap();
        assert_eq!(open(folder.path()).served(GUEST), 0);
    }

    /// A clock that a test sets.
    #[derive(Clone)]
    struct Clock(Arc<AtomicU64>);

    impl World for Clock {
        fn now(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::Relaxed))
        }
        fn wall(&self) -> UnixMicros {
            UnixMicros(self.0.load(Ordering::Relaxed))
        }
        fn seed(&self, _: &'static str) -> [u8; 32] {
            [0; 32]
        }
        fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}
        fn blocking(
            &self,
            work: BlockingWork,
        ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
            Box::pin(async move { Ok(work()) })
        }
    }

    #[test]
    fn a_process_that_runs_for_long_forgets_too() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock(Arc::new(AtomicU64::new(1)));
        let fence = Fence::open(folder.path(), Env::new(clock.clone())).unwrap();
        let remove = |guest: u128| {
            let done = GuestRef { guest: Uuid::from_u128(guest), generation: 3 };
            fence.admit(done).unwrap();
            fence.note_removed(done).unwrap();
        };
        let kept = || fs::read_dir(folder.path().join("fence")).unwrap().count();
        let day = u64::try_from(PRUNE_EVERY.as_micros()).unwrap();
        remove(1);
        clock.0.store(6 * day, Ordering::Relaxed);
        remove(2);
        assert_eq!(kept(), 2, "a week has not passed");
        clock.0.store(8 * day, Ordering::Relaxed);
        remove(3);
        assert_eq!(kept(), 2, "the first is forgotten");
        assert_eq!(fence.served(Uuid::from_u128(1)), 0);
        assert_eq!(fence.served(Uuid::from_u128(2)), 3);
    }

    #[tokio::test]
    async fn a_reboot_is_remembered_for_its_own_generation_only() {
        let folder = tempfile::tempdir().unwrap();
        let fence = open(folder.path());
        fence.admit(at_generation(1)).unwrap();
        fence.note_rebooted(at_generation(1)).unwrap();
        fence.admit(at_generation(2)).unwrap();
        let reopened = open(folder.path());
        assert!(reopened.is_rebooted(at_generation(1)) && !reopened.is_rebooted(at_generation(2)));
    }

    #[tokio::test]
    async fn a_damaged_record_is_an_error_and_not_a_forgotten_guest() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).admit(at_generation(1)).unwrap();
        fs::write(folder.path().join("fence").join(format!("{GUEST}.json")), "{").unwrap();
        let error = Fence::open(folder.path(), Env::real()).err().unwrap().to_string();
        assert!(error.contains("is not a fence record"), "{error}");
    }
}
