//! `qemu-img`: every format is said, none is guessed, and every run ends in time.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::process::Command;
use updraft_runtime::Env;

use super::failed;
use crate::disks::DiskError;

/// How long one run may take; everything asked for here touches only metadata.
const RUN_MAX: Duration = Duration::from_secs(30);

/// What `qemu-img info` says, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Info {
    /// What a guest sees.
    pub(super) virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    format_specific: FormatSpecific,
}

#[derive(Default, Deserialize)]
struct FormatSpecific {
    #[serde(default)]
    data: FormatData,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FormatData {
    data_file: Option<String>,
}

impl Info {
    /// Whether whoever opens the file reads another one too.
    pub(super) fn names_another_file(&self) -> bool {
        self.backing_filename.is_some() || self.has_data_elsewhere()
    }

    /// Whether what was written to it is in another file.
    pub(super) fn has_data_elsewhere(&self) -> bool {
        self.format_specific.data.data_file.is_some()
    }
}

/// Looks at a file that is said to be of this format.
pub(super) async fn info(env: &Env, path: &Path, format: &str) -> Result<Info, DiskError> {
    let options = ["info", "-U", "--output=json", "-f", format].map(OsStr::new);
    let printed = run(env, &[&options, &[path.as_os_str()][..]].concat()).await?;
    serde_json::from_slice(&printed).map_err(|error| failed("reading `qemu-img info`", &error))
}

/// Makes a file that shows what `base` holds until it is written to; as large as the base if no size is given.
pub(super) async fn overlay(
    env: &Env,
    base: &Path,
    base_format: &str,
    path: &Path,
    size_bytes: Option<u64>,
) -> Result<(), DiskError> {
    let options = ["create", "-q", "-f", "qcow2", "-F", base_format, "-b"].map(OsStr::new);
    let size = size_bytes.map(|bytes| bytes.to_string());
    let mut arguments = [&options, &[base.as_os_str(), path.as_os_str()][..]].concat();
    arguments.extend(size.as_deref().map(OsStr::new));
    run(env, &arguments).await.map(|_| ())
}

/// Writes into an overlay that this is the file below it, which has the same bytes as the one that it named before.
pub(super) async fn rebase(
    env: &Env,
    path: &Path,
    base: &Path,
    base_format: &str,
) -> Result<(), DiskError> {
    let options = ["rebase", "-q", "-u", "-f", "qcow2", "-F", base_format, "-b"].map(OsStr::new);
    run(env, &[&options, &[base.as_os_str(), path.as_os_str()][..]].concat()).await.map(|_| ())
}

/// Runs it, and returns what it printed.
async fn run(env: &Env, arguments: &[&OsStr]) -> Result<Vec<u8>, DiskError> {
    let what = || {
        let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        format!("qemu-img {}", arguments.collect::<Vec<_>>().join(" "))
    };
    let running =
        Command::new("qemu-img").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match env.timeout(RUN_MAX, running).await {
        Some(output) => output.map_err(|error| failed(&what(), &error))?,
        None => return Err(failed(&what(), &"it did not end in time")),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(&what(), &String::from_utf8_lossy(&output.stderr).trim()))
}
