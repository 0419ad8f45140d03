//! Leaves a process behind that goes on when the command returns.

use std::{
    io::Read,
    path::Path,
    process::{ChildStdout, ExitStatus, Stdio},
    time::Duration,
};

use updraft_cloud::machine::{
    DataDir, SETTINGS_FILE,
    config::{DESCRIBED, Settings},
    this_program,
};
use updraft_runtime::Env;

use super::Failure;
use crate::{
    progress::Progress,
    say::{self, Ended},
};

/// How long the process may take to be ready; an empty folder takes a second, a large store some more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// How much a process may say about why it ended: a sentence.
const SAID_MAX_BYTES: u64 = 8 << 10;

/// Starts `updraft COMMAND` with these settings as a process of its own, and waits until it is ready, which is asked
/// with the time since it was started.
pub(super) fn detach(
    command: &str,
    settings: &Settings,
    data: &DataDir,
    log: &str,
    ready: impl Fn(Duration) -> bool,
) -> Result<(), Failure> {
    let settings = Settings { data_dir: data.root().to_owned(), ..settings.clone() };
    data.write(SETTINGS_FILE, &settings.to_file()?)?;
    let log_file = data.append("logs", log)?;
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
        .stdout(Stdio::piped())
        .stderr(log_file);
    for described in &DESCRIBED {
        // They are in the file already, under what the command line said.
        process.env_remove(described.variable());
    }
    let mut child = process.spawn()?;
    super::in_runtime(async {
        let env = Env::real();
        let begun = env.now();
        let progress = Progress::waiting("Starting");
        while !ready(env.now() - begun) {
            progress.goes_on();
            if let Some(status) = child.try_wait()? {
                return Err(ended(status, child.stdout.take(), &log_path).into());
            }
            if env.now() - begun >= READY_WITHIN {
                return Err(format!("it is not ready yet; see {}", log_path.display()).into());
            }
            env.sleep(LOOK).await;
        }
        Ok(())
    })
}

/// Why a process ended that should have gone on: its own words, which it sends here before it ends.
fn ended(status: ExitStatus, words: Option<ChildStdout>, log: &Path) -> Ended {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).max(1);
    let mut said = String::new();
    if let Some(words) = words {
        // What cannot be read stands in the log too.
        let _ = words.take(SAID_MAX_BYTES).read_to_string(&mut said);
    }
    let said = said.trim().to_owned();
    let silent = || format!("it did not start ({status}); see {}", log.display());
    Ended { code, said: if said.is_empty() { silent() } else { said } }
}

/// Tells the one who waits for this process why it ends, over the pipe that only it reads.
pub(super) fn tell(result: Result<(), Failure>) -> Result<(), Failure> {
    if let Err(error) = &result {
        // Nobody waits once this process was ready.
        let _ = say::say(say::sentence(error));
    }
    result
}

/// Makes this process one of its own: the terminal's end is not its end.
pub(super) fn leave_terminal() -> Result<(), Failure> {
    nix::unistd::setsid()?;
    Ok(())
}
