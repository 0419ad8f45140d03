//! The files of a folder of this machine.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::Files;
use crate::env::UnixMicros;

/// Read and write for the owner, nothing for anybody else: nobody else has to do with what is kept so.
const FILE_MODE: u32 = 0o600;
/// The same for a folder that is made.
const FOLDER_MODE: u32 = 0o700;

/// A folder of this machine.
#[derive(Debug)]
pub struct RealFiles {
    path: PathBuf,
}

impl RealFiles {
    /// The folder of this path, which is made, durably, if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let missing = path.ancestors().take_while(|at| !at.exists()).count();
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
        // Also if it was there: whoever made it may have been ended before this.
        for made_in in path.ancestors().skip(1).take(missing.max(1)) {
            sync_folder(made_in)?;
        }
        Ok(Self { path: path.to_owned() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // A relative path may be one name long, and then its parent is empty.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

impl Files for RealFiles {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(name))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.at(name);
        match fs::remove_file(&path) {
            // A rest may be of any mode; `create_new` never opens one.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        file.write_all(content)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        // Also for what was written by another handle: an error of it that nobody was told of is told here.
        File::open(self.at(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn written_at(&self, name: &str) -> io::Result<UnixMicros> {
        let at = fs::metadata(self.at(name))?.modified()?;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
    }
}
