//! The processes that measure: this program once more, or one that does as it does.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};
use updraft_bench_load::{Drive, Failure, Serve};
use updraft_runtime::Env;

/// How long a server may take to listen.
const START_WITHIN: Duration = Duration::from_secs(20);

/// How long a job may take beside what it measures.
const JOB_WITHIN: Duration = Duration::from_secs(120);

/// A process that answers calls; it ends with this value.
pub(crate) struct Server {
    process: Child,
    /// What it has announced.
    pub(crate) address: String,
    _out: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(env: &Env, program: &Path, order: &Serve) -> Result<Self, Failure> {
        let log = Path::new(&order.folder).join(format!("{}.log", order.peer));
        let mut process = command(program, "serve", order)?
            // It ends when this pipe does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let mut out = BufReader::new(process.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        let read = env.timeout(START_WITHIN, out.read_line(&mut line)).await;
        if read.ok_or("its server does not listen")?? == 0 {
            return Err(last_line(&std::fs::read(log)?).into());
        }
        Ok(Self { process, address: line.trim().to_owned(), _out: out })
    }

    /// Ends it.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        Ok(self.process.kill().await?)
    }

    /// Its process.
    pub(crate) fn id(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.process.id().ok_or("the server has ended")?)?)
    }
}

/// Starts the process that does a job, and returns what it saw.
pub(crate) async fn job(env: &Env, program: &Path, order: &Drive) -> Result<String, Failure> {
    let running = command(program, "drive", order)?.stdin(Stdio::null()).output();
    let ended = env.timeout(JOB_WITHIN, running).await.ok_or("it took too long")??;
    if ended.status.success() {
        Ok(String::from_utf8(ended.stdout)?)
    } else {
        Err(last_line(&ended.stderr).into())
    }
}

fn command(program: &Path, main: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(program);
    command.arg(main).arg(serde_json::to_string(order)?).kill_on_drop(true);
    Ok(command)
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().rev().find(|line| !line.is_empty()).unwrap_or("it ended without a word").to_owned()
}

/// This program.
pub(crate) fn this_program() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?)
}
