//! A node's disk that can fail: files whose writes wait in a cache until they are synced.
//!
//! There are two kinds: a [file](DriveFile) that is written in place, whose name is there from its first write on, and
//! [folders](Drive::folder) of small files, where names are lost as bytes are.
//!
//! Owns the bytes, which outlive every crash of their node as far as they were synced. What is not synced when the node
//! crashes is kept, unless the plan of the world has writes lost or torn then; what goes wrong before is the plan's too
//! ([`DiskTrouble`](crate::fault::DiskTrouble)). A handle of a life that has ended neither reads nor writes: what a node
//! would still have done in order, such as closing a file, it has not done. Never blocks: a sync that takes long is paid
//! for by the work that [`Env::blocking`](updraft_runtime::Env::blocking) ran it in.

mod file;
mod folder;
mod names;

use std::{collections::BTreeMap, fmt, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use updraft_runtime::store::StorageBackend;

use crate::fault::{DiskStruck, Faults, OnDisk};
use file::{Chance, Fate, File};
use folder::Small;
use names::{Inode, Names};

pub use file::SECTOR_BYTES;

/// The files of a node, in all its lives.
#[derive(Clone, Default)]
pub(crate) struct Platter {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Which life may use it now.
    life: u64,
    files: BTreeMap<String, File>,
    folders: BTreeMap<String, Names>,
    /// The files in folders.
    small: BTreeMap<Inode, Small>,
    last_inode: Inode,
}

/// The disk of a node, as one life of it uses it; cheap to clone.
#[derive(Clone)]
pub struct Drive {
    platter: Platter,
    /// `None` for one that looks on: nothing fails for it, and it outlives the node.
    life: Option<u64>,
    node: Arc<str>,
    faults: Faults,
}

/// A file on a [`Drive`]; cheap to clone, and the clones are the same file. There from the first write on.
#[derive(Clone)]
pub struct DriveFile {
    drive: Drive,
    name: Arc<str>,
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of {}", self.node)
    }
}

impl fmt::Debug for DriveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.drive.node)
    }
}

impl Platter {
    /// The drive of the life that begins now; those of former ones are of no more use.
    pub(crate) fn begin_life(&self, node: &str, faults: &Faults) -> Drive {
        let mut state = self.state.lock();
        state.life += 1;
        let (platter, life) = (self.clone(), Some(state.life));
        Drive { platter, life, node: node.into(), faults: faults.clone() }
    }

    /// The power fails, and the life that used it ends.
    pub(crate) fn fail_power(&self, node: &str, faults: &Faults, now: Duration) {
        let mut state = self.state.lock();
        state.life += 1;
        for file in state.files.values_mut() {
            file.fail_power(now, &mut AtCrash { node, faults });
        }
        folder::fail_power(&mut state, now, node, faults);
    }
}

/// What becomes of writes at a crash, as the plan has it.
struct AtCrash<'a> {
    node: &'a str,
    faults: &'a Faults,
}

impl Chance for AtCrash<'_> {
    fn fate(&mut self) -> Fate {
        match self.faults.on_disk(self.node, OnDisk::Crash) {
            Some(struck) if struck.is_torn() => Fate::Torn,
            Some(_) => Fate::Lost,
            None => Fate::Kept,
        }
    }

    fn coin(&mut self) -> bool {
        self.faults.coin_of_disk(self.node)
    }
}

impl Drive {
    /// A file of this name; empty if nothing was ever written to it.
    #[must_use]
    pub fn file(&self, name: &str) -> DriveFile {
        DriveFile { drive: self.clone(), name: name.into() }
    }

    /// The same disk for a test to look at, also while its node is down: nothing fails.
    #[must_use]
    pub fn looked_at(&self) -> Self {
        Self { life: None, ..self.clone() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.platter.state.lock();
        if self.life.is_some_and(|life| state.life != life) {
            return Err(io::Error::other("the node has no power"));
        }
        work(&mut state)
    }

    fn meets(&self, what: OnDisk) -> io::Result<Duration> {
        let struck = self.life.and_then(|_| self.faults.on_disk(&self.node, what));
        struck.map_or(Ok(Duration::ZERO), DiskStruck::outcome)
    }
}

impl DriveFile {
    fn with<T>(&self, work: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        self.drive.with(|state| match state.files.get_mut(&*self.name) {
            Some(file) => work(file),
            None => work(state.files.entry(self.name.to_string()).or_default()),
        })
    }
}

impl StorageBackend for DriveFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.with(|file| {
            self.drive.meets(OnDisk::Read)?;
            file.read(at, out)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = place(length)?;
        self.with(|file| {
            // What is given back needs no space.
            if length > file.len() {
                self.drive.meets(OnDisk::Write)?;
            }
            file.set_len(length);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let Drive { node, faults, .. } = &self.drive;
        self.with(|file| match self.drive.meets(OnDisk::Sync) {
            Ok(more) => {
                let ends_at = faults.disk_syncs(node, more);
                file.sync(faults.now(), ends_at);
                Ok(())
            }
            Err(error) => {
                file.fail_sync(&mut AtCrash { node, faults });
                Err(error)
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.with(|file| {
            self.drive.meets(OnDisk::Write)?;
            file.write(at, data)
        })
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
