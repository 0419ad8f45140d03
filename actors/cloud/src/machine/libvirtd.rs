//! The cloud's own libvirtd.
//!
//! Owns its life: it is started, and started again when it ended, for as long as the compute process lives.
//! Never uses a libvirtd that the cloud did not start. Why there is none stands in the data directory, for
//! `updraft status`.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;
use updraft_runtime::Env;

use super::data_dir::DataDir;

/// How often it is looked after; the driver notices by itself when it is gone.
const LOOK: Duration = Duration::from_secs(10);

/// How long a start may take: the script waits 60 s for libvirtd to answer, and before that as long for another start
/// to end.
const START_MAX: Duration = Duration::from_secs(150);

/// The script that runs a libvirtd of the cloud's own.
const SCRIPT: &str = include_str!("../../../../scripts/libvirtd.sh");

/// Where the script is kept, for `updraft down` too.
const SCRIPT_FILE: &str = "bin/libvirtd.sh";

/// What the last start lacked; empty when it succeeded.
const LACK_FILE: &str = "run/libvirtd-lacks";

fn folder(data: &DataDir) -> PathBuf {
    data.path("libvirt")
}

/// How the driver reaches it, once it runs.
pub(super) fn uri(data: &DataDir) -> String {
    format!("qemu:///system?socket={}/sock/libvirt-sock", folder(data).display())
}

/// Starts it, and looks after it for ever.
pub(super) async fn keep(env: Env, data: DataDir) {
    let (mut written, mut said) = (false, None);
    loop {
        let lack = start(&env, &data, &mut written).await.err().unwrap_or_default();
        if said.as_ref() != Some(&lack) {
            if !lack.is_empty() {
                tracing::warn!(lack, "libvirtd does not run, and neither do guests");
            }
            if let Err(error) = write(&env, &data, LACK_FILE, lack.clone()).await {
                tracing::warn!(error, "what libvirtd lacks is not noted");
            }
            said = Some(lack);
        }
        env.sleep(LOOK).await;
    }
}

/// Why the last start failed, in the words of the script.
pub(super) fn lack(data: &DataDir) -> Option<String> {
    // A note that cannot be read says nothing; the log has it too.
    let noted = data.read(LACK_FILE).ok().flatten()?;
    let last = noted.trim().lines().last()?;
    Some(last.trim_start_matches("libvirtd.sh: ").to_owned())
}

/// Starts it, or finds it running; the script is written before its first run.
async fn start(env: &Env, data: &DataDir, written: &mut bool) -> Result<(), String> {
    if !*written {
        write(env, data, SCRIPT_FILE, SCRIPT.to_owned()).await?;
        *written = true;
    }
    let mut script = Command::new("bash");
    script.arg(data.path(SCRIPT_FILE)).arg("start").arg(folder(data));
    run(env, script, START_MAX).await
}

/// Runs a program; its last words, if it fails or takes too long.
async fn run(env: &Env, mut program: Command, limit: Duration) -> Result<(), String> {
    let running = program.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match env.timeout(limit, running).await {
        Some(output) => output.map_err(|error| error.to_string())?,
        None => return Err(format!("the start of libvirtd took more than {} s", limit.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Writes a file, which waits for the disk, off the actors' threads.
async fn write(
    env: &Env,
    data: &DataDir,
    name: &'static str,
    content: String,
) -> Result<(), String> {
    let data = data.clone();
    let written = env.blocking(move || data.write(name, &content)).await;
    written.map_err(|gone| gone.to_string())?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script);
        shell
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_hangs_is_given_up() {
        let outcome = run(&Env::real(), shell("exec sleep 1000"), LIMIT).await;
        assert_eq!(outcome, Err("the start of libvirtd took more than 5 s".to_owned()));
    }

    #[tokio::test]
    async fn a_start_that_fails_is_told_in_its_own_words() {
        let outcome = run(&Env::real(), shell("echo no room >&2; exit 1"), LIMIT).await;
        assert_eq!(outcome, Err("no room".to_owned()));
    }

    #[tokio::test]
    async fn the_script_is_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(folder.path()).expect("a data directory");
        let mut written = true;
        let refused = start(&Env::real(), &data, &mut written).await.expect_err("started");
        assert!(refused.contains("libvirtd.sh"), "{refused}");
        assert!(!data.path(SCRIPT_FILE).exists(), "it was written again");
    }
}
