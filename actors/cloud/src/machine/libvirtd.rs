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
    let mut said = None;
    loop {
        let lack = start(&data).await.err().unwrap_or_default();
        if said.as_ref() != Some(&lack) {
            if !lack.is_empty() {
                tracing::warn!(lack, "libvirtd does not run, and neither do guests");
            }
            if let Err(error) = data.write(LACK_FILE, &lack) {
                tracing::warn!(%error, "what libvirtd lacks is not noted");
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

/// Starts it, or finds it running.
async fn start(data: &DataDir) -> Result<(), String> {
    let script = data.path(SCRIPT_FILE);
    data.write(SCRIPT_FILE, SCRIPT).map_err(|error| error.to_string())?;
    let output = Command::new("bash")
        .arg(&script)
        .arg("start")
        .arg(folder(data))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
