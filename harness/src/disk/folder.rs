//! Folders of small files on a drive, as a service has them that replaces a file whole.

use std::{io, sync::Arc, time::Duration};

use updraft_runtime::{env::UnixMicros, folder::Files};

use super::{AtCrash, Drive, State, file::File, names::Names};
use crate::{
    fault::{Faults, OnDisk},
    world::EPOCH,
};

/// A file of a folder.
#[derive(Debug)]
pub(super) struct Small {
    file: File,
    written_at: UnixMicros,
}

/// A folder on a [`Drive`].
#[derive(Clone, Debug)]
struct DriveFolder {
    drive: Drive,
    path: Arc<str>,
}

impl Drive {
    /// The folder of this path; there are no files in it if none was written. What is in a folder below is not in it.
    #[must_use]
    pub fn folder(&self, path: &str) -> Arc<dyn Files> {
        Arc::new(DriveFolder { drive: self.clone(), path: path.into() })
    }

    /// When the disk begins what it is told now.
    fn ready_at(&self) -> Duration {
        self.faults.disk_ready_at(&self.node)
    }
}

/// The power fails for all folders.
pub(super) fn fail_power(state: &mut State, now: Duration, node: &str, faults: &Faults) {
    for names in state.folders.values_mut() {
        names.fail_power(now, &mut AtCrash { node, faults });
    }
    forget_nameless(state);
    for small in state.small.values_mut() {
        small.file.fail_power(now, &mut AtCrash { node, faults });
    }
}

fn forget_nameless(state: &mut State) {
    let named: Vec<_> = state.folders.values().map(Names::files).collect();
    state.small.retain(|inode, _| named.iter().any(|files| files.contains(inode)));
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl DriveFolder {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.drive.with(work)
    }

    fn names<'a>(&self, state: &'a mut State) -> &'a mut Names {
        state.folders.entry(self.path.to_string()).or_default()
    }

    fn small<'a>(&self, state: &'a mut State, name: &str) -> io::Result<&'a mut Small> {
        let inode = self.names(state).get(name).ok_or_else(not_found)?;
        state.small.get_mut(&inode).ok_or_else(not_found)
    }
}

impl Files for DriveFolder {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|state| {
            let small = self.small(state, name)?;
            self.drive.meets(OnDisk::Read)?;
            let mut content = vec![0; small.file.len()];
            small.file.read(0, &mut content)?;
            Ok(content)
        })
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.with(|state| {
            self.drive.meets(OnDisk::Write)?;
            let mut file = File::default();
            file.set_len(content.len());
            file.write(0, content)?;
            let written_at = EPOCH.plus(self.drive.faults.now());
            state.last_inode += 1;
            let inode = state.last_inode;
            state.small.insert(inode, Small { file, written_at });
            self.names(state).name(name, inode, self.drive.ready_at());
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let Drive { node, faults, .. } = &self.drive;
        self.with(|state| {
            let small = self.small(state, name)?;
            match self.drive.meets(OnDisk::Sync) {
                Ok(more) => {
                    small.file.sync(faults.now(), faults.disk_syncs(node, more));
                    Ok(())
                }
                Err(error) => {
                    small.file.fail_sync(&mut AtCrash { node, faults });
                    Err(error)
                }
            }
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            let inode = self.names(state).get(from).ok_or_else(not_found)?;
            self.drive.meets(OnDisk::Write)?;
            self.names(state).rename(from, to, inode, self.drive.ready_at());
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            self.names(state).get(name).ok_or_else(not_found)?;
            self.drive.meets(OnDisk::Remove)?;
            self.names(state).remove(name, self.drive.ready_at());
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        let Drive { node, faults, .. } = &self.drive;
        self.with(|state| {
            let begins_at = self.drive.ready_at();
            let more = self.drive.meets(OnDisk::Sync)?;
            let ends_at = faults.disk_syncs(node, more);
            let names = self.names(state);
            names.settle(faults.now());
            names.sync(begins_at, ends_at);
            forget_nameless(state);
            Ok(())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.with(|state| {
            self.drive.meets(OnDisk::Read)?;
            Ok(DriveFolder::names(self, state).seen())
        })
    }

    fn written_at(&self, name: &str) -> io::Result<UnixMicros> {
        self.with(|state| Ok(self.small(state, name)?.written_at))
    }
}
