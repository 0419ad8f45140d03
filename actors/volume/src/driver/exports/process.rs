//! The processes that serve files, each known by the lock that it holds on the file with its number: that lock goes with
//! the process and with nothing else. Blocks, all of it.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use uuid::Uuid;

const SUFFIX: &str = ".pid";

/// All of a file, for writing.
const WHOLE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as libc::c_short,
    l_whence: libc::SEEK_SET as libc::c_short,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};

/// The processes whose numbers are in one folder.
#[derive(Clone, Debug)]
pub(super) struct Processes {
    folder: PathBuf,
}

impl Processes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    /// Where the one that serves this file writes its number, and what it locks.
    pub(super) fn file(&self, id: Uuid) -> PathBuf {
        self.folder.join(format!("{id}{SUFFIX}"))
    }

    /// Removes the file of one that has ended.
    pub(super) fn forget(&self, id: Uuid) -> io::Result<()> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The number of the process that serves this file, if there is one.
    pub(super) fn running(&self, id: Uuid) -> io::Result<Option<Pid>> {
        let file = match File::options().read(true).write(true).open(self.file(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&WHOLE)) {
            Ok(_) => return Ok(None),
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(error) => return Err(error.into()),
        }
        let number = io::read_to_string(&file)?;
        let number = number.trim().parse().map_err(io::Error::other)?;
        Ok(Some(Pid::from_raw(number)))
    }

    /// Ends the process that serves this file, and returns when it is gone: when nobody holds its lock any more.
    pub(super) fn kill(&self, id: Uuid) -> io::Result<()> {
        let Some(process) = self.running(id)? else { return Ok(()) };
        match kill(process, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        let file = File::options().read(true).write(true).open(self.file(id))?;
        fcntl(&file, FcntlArg::F_OFD_SETLKW(&WHOLE))?;
        Ok(())
    }

    /// Ends all of them. A folder that is not there has none.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                self.kill(id)?;
            }
        }
        Ok(())
    }
}
