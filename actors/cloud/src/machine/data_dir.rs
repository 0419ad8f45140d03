//! The folder that holds everything of a cloud on one machine.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use updraft_runtime::{
    Env,
    folder::Folder,
    incarnation::{self, CountError},
};
use updraft_transport::{Incarnation, files};
use zeroize::Zeroizing;

/// The version of the folder's layout, and of what is stored in it.
pub const FORMAT: &str = "updraft data 1";

/// What the file system itself puts into an empty one.
const NOBODYS: &str = "lost+found";

/// The mode bits of group and others.
const OTHERS_MASK: u32 = 0o077;

/// Why a folder cannot be used, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system said no.
    #[error("{path}: {source}; {remedy}", remedy = remedy(source.kind()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was made by another version.
    #[error(
        "{path} holds {found:?} and this program reads {FORMAT:?}; use the program that made it, or give an \
         empty folder with --data-dir"
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
    /// It holds something else.
    #[error("{0} is not empty and holds no cloud; give another folder with --data-dir")]
    Foreign(PathBuf),
    /// There is none.
    #[error("{0} holds no cloud; say where it is with --data-dir, or start one with 'updraft up'")]
    Nothing(PathBuf),
    /// A file in it cannot be read as what it should be.
    #[error("{path} {what}; restore it from a copy, or give an empty folder with --data-dir")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another process works in it.
    #[error(
        "{path} is in use by {process}; see it with 'updraft status', end it with 'updraft down', or give \
         another folder with --data-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Which process.
        process: String,
    },
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there, or give another folder with --data-dir"
        }
        ErrorKind::ReadOnlyFilesystem => "give a folder on a writable file system with --data-dir",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "it has to be a folder; give another with --data-dir"
        }
        _ => "make it writable for this user, or give another folder with --data-dir",
    }
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
        match dir.format()? {
            Some(()) => {}
            None if dir.is_empty()? => dir.write("format", FORMAT)?,
            None => return Err(DataDirError::Foreign(dir.root)),
        }
        dir.close_to_others()?;
        Ok(dir)
    }

    /// Stores and disks below it hold secrets, whatever modes an older program gave them.
    fn close_to_others(&self) -> Result<(), DataDirError> {
        let io = |source| DataDirError::Io { path: self.root.clone(), source };
        let mode = fs::metadata(&self.root).map_err(io)?.permissions().mode();
        if mode & OTHERS_MASK == 0 {
            return Ok(());
        }
        fs::set_permissions(&self.root, Permissions::from_mode(mode & !OTHERS_MASK)).map_err(io)
    }

    /// Opens a folder that a cloud was started in before; never makes one.
    pub fn existing(root: &Path) -> Result<Self, DataDirError> {
        let nothing = || DataDirError::Nothing(root.to_owned());
        let root = match root.canonicalize() {
            Ok(root) => root,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(nothing()),
            Err(source) => return Err(DataDirError::Io { path: root.to_owned(), source }),
        };
        let dir = Self { root };
        dir.format()?.ok_or_else(nothing)?;
        Ok(dir)
    }

    /// Whether it is stamped, and as this program does.
    fn format(&self) -> Result<Option<()>, DataDirError> {
        let path = self.path("format");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == FORMAT => Ok(Some(())),
            Ok(found) => {
                let found = found.trim().to_owned();
                Err(DataDirError::Format { path: self.root.clone(), found })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Whether nothing but the rest of an attempt to stamp it is there.
    fn is_empty(&self) -> Result<bool, DataDirError> {
        let io = |source| DataDirError::Io { path: self.root.clone(), source };
        for entry in fs::read_dir(&self.root).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if name != NOBODYS && name != "format.unfinished" {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// A folder below it, made if there is none.
    pub fn folder(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let path = self.path(name);
        fs::create_dir_all(&path)
            .map_err(|source| DataDirError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// A file below it to write behind what it has, such as a log.
    pub fn append(&self, folder: &str, name: &str) -> Result<File, DataDirError> {
        let path = self.folder(folder)?.join(name);
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.map_err(|source| DataDirError::Io { path, source })
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
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Removes such a file, if there is one.
    pub fn remove(&self, name: &str) -> Result<(), DataDirError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DataDirError::Io { path, source: error })
            }
            _ => Ok(()),
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

    /// What tells the folder from every other that is in use anywhere, for as long as this machine runs.
    pub fn place(&self) -> Result<String, DataDirError> {
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(boot)
            .map_err(|source| DataDirError::Io { path: boot.to_owned(), source })?;
        let about = fs::metadata(&self.root)
            .map_err(|source| DataDirError::Io { path: self.root.clone(), source })?;
        Ok(format!("{} {}:{}", boot_id.trim(), about.dev(), about.ino()))
    }

    /// Counts a start of the node; durable before anything is sent.
    pub fn next_incarnation(&self, env: &Env, node: &str) -> Result<Incarnation, DataDirError> {
        incarnation::next(&self.of_node(env, node)?).map_err(|error| match error {
            CountError::Disk(source) => {
                DataDirError::Io { path: self.path(&name_of_count(node)), source }
            }
            damaged @ CountError::Damaged(_) => self.damaged(&name_of_count(node), damaged),
        })
    }

    /// Notes the last start of the node.
    pub fn count_from(&self, env: &Env, node: &str, last: Incarnation) -> Result<(), DataDirError> {
        let counted = incarnation::count_from(&self.of_node(env, node)?, last);
        counted.map_err(|source| {
            let path = self.path(&name_of_count(node));
            DataDirError::Io { path, source }
        })
    }

    fn of_node(&self, env: &Env, node: &str) -> Result<Folder, DataDirError> {
        let path = self.path(&format!("nodes/{node}"));
        env.folder(&path).map_err(|source| DataDirError::Io { path, source })
    }

    /// That a file is not what it should be.
    pub(super) fn damaged(&self, name: &str, why: impl std::fmt::Display) -> DataDirError {
        DataDirError::Damaged { path: self.path(name), what: format!("is damaged: {why}") }
    }
}

fn name_of_count(node: &str) -> String {
    format!("nodes/{node}/{}", incarnation::FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_version_is_named() {
        let root = tempfile::tempdir().unwrap();
        files::write_private(&root.path().join("format"), "updraft data 99").unwrap();
        for error in [DataDir::open(root.path()), DataDir::existing(root.path())] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("\"updraft data 99\""), "{error}");
        }
    }

    #[test]
    fn a_folder_with_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(DataDir::open(root.path()), Err(DataDirError::Foreign(_))));
        assert!(matches!(DataDir::existing(root.path()), Err(DataDirError::Nothing(_))));
    }

    #[test]
    fn a_fresh_file_system_is_empty_enough() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        fs::write(root.path().join("format.unfinished"), "updr").unwrap();
        assert!(DataDir::open(root.path()).is_ok());
    }

    #[test]
    fn to_look_for_a_cloud_makes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let typing_error = root.path().join("dta");
        assert!(matches!(DataDir::existing(&typing_error), Err(DataDirError::Nothing(_))));
        assert!(!typing_error.exists());
    }

    #[test]
    fn nobody_else_can_look_into_the_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        DataDir::open(root.path()).unwrap();
        let mode = fs::metadata(root.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("it has to be a folder"), "{error}");
    }

    #[tokio::test]
    async fn incarnations_only_grow() {
        let (root, env) = (tempfile::tempdir().unwrap(), Env::real());
        let dir = DataDir::open(&root.path().join("cloud")).unwrap();
        // As earlier programs have written it.
        dir.write("nodes/control/incarnation", "7\n").unwrap();
        assert_eq!(dir.next_incarnation(&env, "control").unwrap(), Incarnation(8));
        let again = DataDir::open(dir.root()).unwrap();
        assert_eq!(again.next_incarnation(&env, "control").unwrap(), Incarnation(9));
        assert_eq!(again.next_incarnation(&env, "other").unwrap(), Incarnation(1));
    }

    #[tokio::test]
    async fn an_incarnation_that_cannot_be_read_is_not_counted_anew() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        dir.write("nodes/one/incarnation", "seven").unwrap();
        let error = dir.next_incarnation(&Env::real(), "one").unwrap_err().to_string();
        assert!(error.contains("nodes/one/incarnation is damaged"), "{error}");
    }
}
