//! Leaves a process behind that goes on when the command returns.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use updraft_cloud::machine::{
    DataDir, SETTINGS_FILE,
    config::{DESCRIBED, Settings},
    this_program,
};
use updraft_runtime::Env;

use super::Failure;
use crate::say::Ended;

/// How long the process may take to be ready; an empty folder takes a second, a large store some more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// How much of what the process said is looked at for its last words.
const SAID_MAX_BYTES: u64 = 64 << 10;

/// Starts `updraft COMMAND` with these settings as a process of its own, and waits until it is ready.
pub(super) fn detach(
    command: &str,
    settings: &Settings,
    data: &DataDir,
    log: &str,
    ready: impl Fn() -> bool,
) -> Result<(), Failure> {
    let settings = Settings { data_dir: data.root().to_owned(), ..settings.clone() };
    data.write(SETTINGS_FILE, &settings.to_file()?)?;
    let mut log_file = data.append("logs", log)?;
    let begins = log_file.seek(SeekFrom::End(0))?;
    let log_path = data.path("logs").join(log);
    let mut process = this_program()?;
    process
        .args([command, "--detached", "--config"])
        .arg(data.path(SETTINGS_FILE))
        // In full, so that whoever lists processes sees whose they are.
        .arg("--data-dir")
        .arg(data.root())
        .env_remove("UPDRAFT_CONFIG")
        .env_remove("UPDRAFT_JOIN_TOKEN")
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file);
    for described in &DESCRIBED {
        // They are in the file already, under what the command line said.
        process.env_remove(described.variable());
    }
    let mut child = process.spawn()?;
    super::in_runtime(async {
        let env = Env::real();
        let until = env.now() + READY_WITHIN;
        while !ready() {
            if let Some(status) = child.try_wait()? {
                return Err(ended(status, &log_path, begins).into());
            }
            if env.now() >= until {
                return Err(format!("it is not ready yet; see {}", log_path.display()).into());
            }
            env.sleep(LOOK).await;
        }
        Ok(())
    })
}

fn ended(status: ExitStatus, log: &Path, begins: u64) -> Ended {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).max(1);
    let said = last_line(log, begins).unwrap_or_else(|| format!("it did not start ({status})"));
    Ended { code, said }
}

/// The last that was said behind this place, without the program's name.
fn last_line(path: &Path, begins: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(begins.max(length.saturating_sub(SAID_MAX_BYTES)))).ok()?;
    let mut said = Vec::new();
    file.take(SAID_MAX_BYTES).read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty())?;
    Some(last.trim_start_matches("updraft: ").to_owned())
}

/// Makes this process one of its own: the terminal's end is not its end.
pub(super) fn leave_terminal() -> Result<(), Failure> {
    nix::unistd::setsid()?;
    Ok(())
}
