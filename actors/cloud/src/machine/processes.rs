//! The processes of a cloud on this machine, by the files that name them.

use std::{fs, io, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
};

use updraft_runtime::Env;

use super::data_dir::{DataDir, DataDirError};

/// How often a process that shall end is looked at.
const LOOK: Duration = Duration::from_millis(20);

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

    /// Notes that this process is the one of that name.
    pub fn note(&self, name: &str) -> Result<(), DataDirError> {
        self.data.write(&file(name), &format!("{}\n", std::process::id()))
    }

    /// Forgets the process of that name.
    pub fn forget(&self, name: &str) {
        // A file that is not there any more is as good as removed.
        let _ = fs::remove_file(self.data.path(&file(name)));
    }

    /// The process of that name, if it runs and is a process of this program on this folder.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Pid> {
        let text = self.data.read(&file(name)).ok()??;
        let pid = text.trim().parse::<i32>().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let root = self.data.root().as_os_str().as_encoded_bytes();
        let ours = line.windows(root.len()).any(|part| part == root);
        (ours && pid > 1).then(|| Pid::from_raw(pid))
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
        self.forget(name);
        Ok(true)
    }
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
