//! A folder of small files, each of which is replaced whole, durably.
//!
//! Owns the order in which a file is replaced: a new one is written beside it and synced, takes its name, and the folder
//! is synced. Promises that a reader sees the old content or the new one, whatever crashes, and that what
//! [`Folder::replace`] and [`Folder::remove`] have returned for outlives a loss of power. It knows no disk: [`Files`] is
//! that of the machine, or one that fails as a simulation wants. Blocks; call it within
//! [`Env::blocking`](crate::Env::blocking), or at start-up. For what is large or grows there are files of other kinds.

use std::{
    fmt,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::env::UnixMicros;

mod real;

pub use real::RealFiles;

/// What the name of a file ends in that has not yet taken its own.
const UNFINISHED: &str = ".new";

/// What a disk does for the files of one folder. Nothing is durable that was not synced.
pub trait Files: Send + Sync + fmt::Debug + 'static {
    /// What a file holds.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes a file that holds this, in place of any that had its name.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes durable what a file holds, but not that it has its name.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of any that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which files have which names.
    fn sync_names(&self) -> io::Result<()>;
    /// The names of all files, in order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// When a file was written last, on the machine's wall clock.
    fn written_at(&self, name: &str) -> io::Result<UnixMicros>;
}

/// A folder; clones are the same. Whoever replaces one file at the same time takes turns.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    files: Arc<dyn Files>,
}

impl Folder {
    /// The folder of this path, on whatever disk has these files. [`Env::folder`](crate::Env::folder) opens one.
    #[must_use]
    pub fn on(path: &Path, files: Arc<dyn Files>) -> Self {
        Self { path: path.to_owned(), files }
    }

    /// Where a file is, for words.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a file holds; `None` if there is none.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.files.read(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Has a file hold this and nothing else, durably. After an error it holds the old content or the new one.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let fresh = format!("{name}{UNFINISHED}");
        self.files.write(&fresh, content)?;
        self.files.sync(&fresh)?;
        self.files.rename(&fresh, name)?;
        self.files.sync_names()
    }

    /// Takes a file away, durably; that there is none is as good.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.files.remove(name) {
            // It may have gone by an attempt that could not sync.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.files.sync_names(),
        }
    }

    /// The names of all files, in order; of one that was not finished too.
    pub fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    /// When a file was replaced last, on the machine's wall clock.
    pub fn written_at(&self, name: &str) -> io::Result<UnixMicros> {
        self.files.written_at(name)
    }
}

#[cfg(test)]
mod tests;
