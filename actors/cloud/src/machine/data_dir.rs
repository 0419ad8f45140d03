//! The folder that holds everything of a cloud on one machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use updraft_transport::{Incarnation, files};
use zeroize::Zeroizing;

/// The version of the folder's layout.
pub const FORMAT: &str = "updraft data 1";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system said no.
    #[error(
        "{path}: {source}. Give another folder with --data-dir, or make room and set its owner"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was made by another version.
    #[error(
        "{path} holds {found:?} and this program reads {FORMAT:?}. Use the program that made it, or \
         give an empty folder with --data-dir"
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
    /// It holds something else.
    #[error("{0} is not empty and holds no cloud. Give another folder with --data-dir")]
    Foreign(PathBuf),
}

/// The folder.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the folder, or makes it.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(io)?;
        let dir = Self { root: root.canonicalize().map_err(io)? };
        let format = dir.path("format");
        match fs::read_to_string(&format) {
            Ok(found) if found.trim() == FORMAT => Ok(dir),
            Ok(found) => {
                let found = found.trim().to_owned();
                Err(DataDirError::Format { path: dir.root, found })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let empty = fs::read_dir(&dir.root).map_err(io)?.next().is_none();
                if !empty {
                    return Err(DataDirError::Foreign(dir.root));
                }
                dir.write("format", FORMAT)?;
                Ok(dir)
            }
            Err(source) => Err(DataDirError::Io { path: format, source }),
        }
    }

    /// A file or folder below it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Its own path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file that only its owner can read, whole or not at all.
    pub fn write(&self, name: &str, content: &str) -> Result<(), DataDirError> {
        let path = self.path(name);
        files::write_private(&path, content).map_err(|source| DataDirError::Io { path, source })
    }

    /// Reads such a file; `None` if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>, DataDirError> {
        let path = self.path(name);
        match files::read_private(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// What the file holds, made and written now if there is none.
    pub fn keep(
        &self,
        name: &str,
        make: impl FnOnce() -> String,
    ) -> Result<Zeroizing<String>, DataDirError> {
        if let Some(kept) = self.read(name)? {
            return Ok(kept);
        }
        let made = Zeroizing::new(make());
        self.write(name, &made)?;
        Ok(made)
    }

    /// Counts a start of the node; durable before anything is sent.
    pub fn next_incarnation(&self, node: &str) -> Result<Incarnation, DataDirError> {
        let name = format!("nodes/{node}/incarnation");
        let last = self.read(&name)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0u64);
        let next = Incarnation(last + 1);
        self.write(&name, &format!("{}\n", next.0))?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_version_is_named() {
        let root = tempfile::tempdir().unwrap();
        files::write_private(&root.path().join("format"), "updraft data 99").unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert!(error.to_string().contains("\"updraft data 99\""), "{error}");
    }

    #[test]
    fn a_folder_with_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(DataDir::open(root.path()), Err(DataDirError::Foreign(_))));
    }

    #[test]
    fn incarnations_only_grow() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&root.path().join("cloud")).unwrap();
        let first = dir.next_incarnation("control").unwrap();
        assert!(DataDir::open(dir.root()).unwrap().next_incarnation("control").unwrap() > first);
    }
}
