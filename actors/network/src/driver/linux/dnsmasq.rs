//! dnsmasq processes: found again by their arguments, started in their namespace, told of changes, ended.
//!
//! A server detaches itself, so it is nobody's child and outlives the agent. It is known by the argument that
//! names its process file, which lies in the agent's own directory: no other process is ever signalled.

use std::{fs, io, path::Path, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use updraft_runtime::Env;

use super::{command, files::Files};
use crate::driver::DriverError;

/// How long a server may take to end before it is killed. It has nothing to write.
const ENDS_WITHIN: Duration = Duration::from_millis(500);

/// How often a server that shall end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A log larger than this is put aside, and the one put aside before is dropped; in bytes. Some ten thousand
/// leases are in each.
const LOG_MAX_BYTES: u64 = 1 << 20;

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) pid: i32,
    /// Without the program's own name.
    pub(super) arguments: Vec<String>,
}

/// The arguments of a process; a process that has ended has none.
fn arguments_of(pid: i32) -> Option<Vec<String>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = line.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    Some(words.skip(1).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn running_as(pid: i32, mark: &str) -> Option<Running> {
    let arguments = arguments_of(pid)?;
    arguments.iter().any(|argument| argument == mark).then_some(Running { pid, arguments })
}

/// The server that its process file names, if it lives.
pub(super) fn named_by_file(files: &Files) -> Option<Running> {
    let pid = fs::read_to_string(files.pid()).ok()?.trim().parse().ok()?;
    running_as(pid, &files.mark())
}

/// Every server of these files, also one whose process file is lost.
pub(super) fn all(files: &Files) -> io::Result<Vec<Running>> {
    let mark = files.mark();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        // `ip netns exec` becomes the server it starts, so that it never counts as one for long.
        found.extend(pid.and_then(|pid| running_as(pid, &mark)));
    }
    Ok(found)
}

/// Starts a server; it has bound its sockets and read its files when this returns.
pub(super) async fn start(
    env: &Env,
    (ip, dnsmasq): (&Path, &Path),
    namespace: &str,
    arguments: &[String],
) -> Result<(), DriverError> {
    let program = dnsmasq.to_string_lossy();
    let mut words = vec!["netns", "exec", namespace, &program];
    words.extend(arguments.iter().map(String::as_str));
    let started = command::run(env, ip, &words, "").await;
    let doing = || format!("starting dnsmasq in {namespace}");
    started.map(drop).map_err(|error| DriverError::failed(doing(), error))
}

/// Lets a server read its files again.
pub(super) fn reload(server: &Running) -> Result<(), DriverError> {
    signal(server, Signal::SIGHUP)
}

/// Ends servers: politely, then by force.
pub(super) async fn end(env: &Env, files: &Files, servers: &[Running]) -> Result<(), DriverError> {
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        let mark = files.mark();
        let lives = |server: &&Running| running_as(server.pid, &mark).is_some();
        for server in servers.iter().filter(lives) {
            signal(server, how)?;
        }
        let patience_ends = env.now() + ENDS_WITHIN;
        while servers.iter().any(|server| lives(&server)) && env.now() < patience_ends {
            env.sleep(LOOK_EVERY).await;
        }
        if !servers.iter().any(|server| lives(&server)) {
            return Ok(());
        }
    }
    Err(DriverError::failed("ending dnsmasq", "it does not even end when it is killed"))
}

/// Puts a log aside that has grown too large.
pub(super) fn rotate_log(files: &Files, server: &Running) -> Result<(), DriverError> {
    let bytes = fs::metadata(files.log()).map_or(0, |found| found.len());
    if bytes <= LOG_MAX_BYTES {
        return Ok(());
    }
    let moved = fs::rename(files.log(), files.old_log());
    moved.map_err(|error| DriverError::failed("putting a log of dnsmasq aside", error))?;
    signal(server, Signal::SIGUSR2)
}

fn signal(server: &Running, what: Signal) -> Result<(), DriverError> {
    match kill(Pid::from_raw(server.pid), what) {
        // It ended by itself.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => {
            let doing = format!("sending {what} to dnsmasq ({})", server.pid);
            Err(DriverError::failed(doing, error))
        }
    }
}
