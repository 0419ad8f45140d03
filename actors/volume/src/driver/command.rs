//! Programs of the host: run with a deadline, killed when nobody waits, their errors quoted.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use tokio::process::Command;
use updraft_runtime::Env;

use super::DriverError;

/// How much of what a program says on its standard error is quoted.
const QUOTED_MAX_CHARS: usize = 400;

/// Runs a program and returns what it prints.
pub(super) async fn run(
    env: &Env,
    program: &OsStr,
    arguments: &[&OsStr],
    deadline: Duration,
) -> Result<Vec<u8>, DriverError> {
    let name = program.to_string_lossy();
    let first = arguments.first().map(|argument| argument.to_string_lossy()).unwrap_or_default();
    let what = format!("`{name} {first}`");
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match env.timeout(deadline, output).await {
        Some(Ok(output)) => output,
        Some(Err(error)) => {
            let words = format!("{what} could not be run ({error}): is its package installed?");
            return Err(DriverError::Failed(words));
        }
        None => {
            let words = format!("{what} was stopped after {} seconds", deadline.as_secs());
            return Err(DriverError::Failed(words));
        }
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let quoted: String = stderr.trim().chars().take(QUOTED_MAX_CHARS).collect();
    if quoted.contains("No space left on device") {
        return Err(DriverError::Full(quoted));
    }
    Err(DriverError::Failed(format!("{what} failed ({}): {quoted}", output.status)))
}
