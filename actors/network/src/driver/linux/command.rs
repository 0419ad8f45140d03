//! Programs of the host: run with a deadline, killed when nobody waits, their errors quoted.

use std::{ffi::OsStr, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};
use updraft_runtime::Env;

/// How long a program may run. Each makes a few netlink requests; a loaded machine takes a tenth of it.
const RUNS_WITHIN: Duration = Duration::from_secs(3);

/// How much of what a program says on its standard error is quoted.
const QUOTED_MAX_CHARACTERS: usize = 400;

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started, or spoken to.
    #[error("`{command}` could not be run: is its package installed?")]
    NotRun {
        /// The program and its arguments.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// It ran for too long and was killed.
    #[error("`{command}` was killed after {} ms", RUNS_WITHIN.as_millis())]
    Late {
        /// The program and its arguments.
        command: String,
    },
}

impl CommandError {
    /// Whether the program said this when it failed.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Failed { stderr, .. } if stderr.contains(words))
    }
}

/// Runs a program, gives it `input`, and returns what it prints.
pub(super) async fn run<A: AsRef<OsStr>>(
    env: &Env,
    program: &Path,
    arguments: &[A],
    input: &str,
) -> Result<String, CommandError> {
    let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into_owned());
    let all: Vec<String> =
        std::iter::once(program.to_string_lossy().into_owned()).chain(words).collect();
    let command = all.join(" ");
    let not_run = |source| CommandError::NotRun { command: command.clone(), source };
    let child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(not_run)?;
    let Some(output) = env.timeout(RUNS_WITHIN, converse(child, input)).await else {
        return Err(CommandError::Late { command });
    };
    let output = output.map_err(not_run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = stderr.trim().chars().take(QUOTED_MAX_CHARACTERS).collect();
    Err(CommandError::Failed { command, status: output.status.to_string(), stderr })
}

async fn converse(mut child: Child, input: &str) -> io::Result<std::process::Output> {
    let stdin = child.stdin.take();
    let say = async {
        if let Some(mut stdin) = stdin {
            // A program that ends before it has read all tells why by its exit status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), say);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<String, CommandError> {
        run(&Env::real(), Path::new("sh"), &["-c", script], "hello\n").await
    }

    #[tokio::test]
    async fn a_program_is_given_its_input_and_its_output_is_returned() {
        assert_eq!(sh("cat; echo $LC_ALL").await.unwrap(), "hello\nC\n");
    }

    #[tokio::test]
    async fn a_programs_own_words_are_quoted_when_it_fails() {
        let error = sh("echo no such thing >&2; exit 3").await.unwrap_err();
        assert!(error.says("no such thing"));
        assert!(error.to_string().contains("exit status: 3): no such thing"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let missing = Path::new("no-such-program");
        let error = run(&Env::real(), missing, &["link"], "").await.unwrap_err();
        assert!(error.to_string().contains("`no-such-program link`"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        let script = "echo $$ >&2; exec sleep 1000";
        let error = sh(script).await.unwrap_err();
        assert!(matches!(error, CommandError::Late { .. }), "{error}");
    }
}
