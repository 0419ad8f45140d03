//! The processes of a cloud on this machine, by the files that name them.
//!
//! Owns `run/NAME.pid`, which says which process it is, and `run/NAME.lock`, which the process holds for as long
//! as it lives. Promises that a folder has one process of a name at most, however they are started and ended.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
};

use updraft_runtime::Env;

use super::data_dir::{DataDir, DataDirError};

/// How often a process that shall end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process that was killed may take to let go of the folder.
const LET_GO: Duration = Duration::from_secs(2);

/// A process's id.
pub type Pid = nix::unistd::Pid;

/// Which processes of a data directory run.
#[derive(Clone, Debug)]
pub struct Processes {
    data: DataDir,
}

impl Processes {
    /// The processes of this folder.
    #[must_use]
    pub fn of(data: &DataDir) -> Self {
        Self { data: data.clone() }
    }

    /// Makes this process the one of that name, until what is returned is dropped. Waits a moment for one that
    /// is ending.
    pub async fn hold(&self, env: &Env, name: &str) -> Result<Held, DataDirError> {
        self.data.folder("run")?;
        let path = self.data.path(&format!("run/{name}.lock"));
        let io = |source| DataDirError::Io { path: path.clone(), source };
        let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let until = env.now() + LET_GO;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Err(TryLockError::WouldBlock) if env.now() < until => env.sleep(LOOK).await,
                Err(TryLockError::WouldBlock) => {
                    let process = self.running(name).map(|pid| format!("process {pid}"));
                    let process = process.unwrap_or_else(|| "another process".to_owned());
                    return Err(DataDirError::InUse { path: self.data.root().to_owned(), process });
                }
            }
        }
        self.note(name)?;
        Ok(Held { processes: self.clone(), name: name.to_owned(), _lock: lock })
    }

    /// Notes that this process is the one of that name.
    fn note(&self, name: &str) -> Result<(), DataDirError> {
        let pid = std::process::id();
        let started = started(pid).unwrap_or_default();
        self.data.write(&file(name), &format!("{pid} {started}\n"))
    }

    /// Forgets the process of that name.
    fn forget(&self, name: &str) {
        // A file that is not there any more is as good as removed.
        let _ = fs::remove_file(self.data.path(&file(name)));
    }

    /// The process of that name, if it runs still: the system gives its number to others later.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Pid> {
        let text = self.data.read(&file(name)).ok()??;
        let (pid, noted) = text.trim().split_once(' ')?;
        let pid = pid.parse::<u32>().ok().filter(|pid| *pid > 1)?;
        let same = started(pid).is_some_and(|started| started == noted);
        same.then_some(()).and_then(|()| pid.try_into().ok()).map(Pid::from_raw)
    }

    /// Asks the process to end, and pulls the plug when it has not within the grace; says whether it ran.
    pub async fn stop(&self, env: &Env, name: &str, grace: Duration) -> io::Result<bool> {
        let Some(pid) = self.running(name) else { return Ok(false) };
        signal(pid, Signal::SIGTERM)?;
        let patience = env.now() + grace;
        while self.running(name) == Some(pid) {
            if env.now() >= patience {
                signal(pid, Signal::SIGKILL)?;
            }
            env.sleep(LOOK).await;
        }
        Ok(true)
    }
}

/// The place of a process in its folder; given up when it is dropped, and by the system when the process ends.
#[derive(Debug)]
#[must_use = "the place is given up at once"]
pub struct Held {
    processes: Processes,
    name: String,
    _lock: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.processes.forget(&self.name);
    }
}

/// When a process that has not ended began, in the kernel's ticks since boot: field 22 of proc(5)'s `stat`,
/// counted behind the name, which may hold anything.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let lives = fields.next().is_some_and(|state| state != "Z");
    lives.then(|| fields.nth(18)).flatten().map(ToOwned::to_owned)
}

fn file(name: &str) -> String {
    format!("run/{name}.pid")
}

/// A process that has just ended needs no signal.
fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_has_one_process_of_a_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let processes = Processes::of(&DataDir::open(folder.path()).expect("opened"));
        let env = Env::real();
        let held = processes.hold(&env, "control").await.expect("it is free");
        let refused = processes.hold(&env, "control").await.expect_err("it is taken").to_string();
        assert!(refused.contains(&format!("in use by process {}", Pid::this())), "{refused}");
        assert!(processes.hold(&env, "compute").await.is_ok(), "another name is free");
        drop(held);
        assert!(processes.hold(&env, "control").await.is_ok(), "it is free again");
    }

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(folder.path()).expect("opened");
        let processes = Processes::of(&data);
        assert_eq!(processes.running("control"), None);
        processes.note("control").expect("written");
        let own = Pid::this();
        assert_eq!(processes.running("control"), Some(own));
        data.write(&file("control"), &format!("{own} 1\n")).expect("written");
        assert_eq!(processes.running("control"), None, "it began with the machine");
    }
}
