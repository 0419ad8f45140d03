//! Workers: this very program, started again to do jobs that are lines of text.
//!
//! A job goes in as a line of the worker's standard input, and its answer comes back as a marked line of its standard
//! output, so that what a test runner prints besides harms nothing. A worker ends when its input does, also in the middle
//! of a job: one that never ends does not outlive a campaign that was killed. Works the same in a test binary, where
//! the worker is the test that asked, and in a program of one's own.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// In a worker's environment: `-` if jobs come on the standard input, or the one job that it shall do.
pub const WORKER: &str = "UPDRAFT_SIM_WORKER";

/// Jobs come on the standard input.
const FROM_INPUT: &str = "-";

/// What precedes an answer.
const MARK: &str = "updraft-sim answers ";

/// How this program is started again as a worker.
#[derive(Clone, Debug)]
pub struct Launch(Vec<String>);

impl Launch {
    /// With these arguments.
    #[must_use]
    pub fn with(args: &[&str]) -> Self {
        Self(args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    /// As the test of this name, of a test binary.
    #[must_use]
    pub fn test(name: &str) -> Self {
        Self::with(&["--exact", name, "--nocapture"])
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What it yields.
    Done(String),
    /// Why it failed.
    Failed(String),
    /// The worker did not answer, but ended or hung; it is of no use any more.
    Died(String),
}

impl Answer {
    /// What it yields, or why it does not.
    ///
    /// # Errors
    /// If the job failed or its worker died.
    pub fn result(self) -> Result<String, String> {
        match self {
            Self::Done(said) => Ok(said),
            Self::Failed(why) | Self::Died(why) => Err(why),
        }
    }
}

/// A worker; it is killed when this is dropped.
pub struct Worker {
    child: Child,
    jobs: ChildStdin,
    answers: Receiver<String>,
}

impl Worker {
    /// Starts one.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(launch: &Launch) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&launch.0).env(WORKER, FROM_INPUT).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C is for whoever started the campaign, who ends it in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let piped = child.stdin.take().zip(child.stdout.take());
        let Some((jobs, said)) = piped else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        Ok(Self { child, jobs, answers: marked_lines(said) })
    }

    /// Has it do a job, and waits no longer than this for the answer.
    pub fn ask(&mut self, job: &str, within: Duration) -> Answer {
        debug_assert!(!job.contains('\n'), "a job is a line");
        if writeln!(self.jobs, "{job}").is_err() {
            return self.dead("took no job");
        }
        match self.answers.recv_timeout(within) {
            Ok(line) => serde_json::from_str(&line)
                .unwrap_or_else(|error| Answer::Died(format!("no answer but {line}: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                self.dead(&format!("has not answered within {within:?}"))
            }
            Err(RecvTimeoutError::Disconnected) => self.dead("ended without an answer"),
        }
    }

    fn dead(&mut self, what: &str) -> Answer {
        // A process that has ended already cannot be killed.
        let _ = self.child.kill();
        let how = self.child.wait().map_or_else(|error| error.to_string(), |how| how.to_string());
        Answer::Died(format!("the process of the run {what} ({how})"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.dead("is not needed any more");
    }
}

#[allow(clippy::disallowed_methods, reason = "this thread only waits for a process")]
fn marked_lines(said: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            // A test runner begins a line of its own before the first answer.
            let Some(at) = line.find(MARK) else { continue };
            if sender.send(line[at + MARK.len()..].to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Has a job done in a process of its own.
#[must_use]
pub fn alone(launch: &Launch, job: &str, within: Duration) -> Answer {
    match Worker::start(launch) {
        Ok(mut worker) => worker.ask(job, within),
        Err(error) => Answer::Died(format!("no process for the run: {error}")),
    }
}

/// Whether this process is a worker.
#[must_use]
pub fn is_worker() -> bool {
    std::env::var_os(WORKER).is_some()
}

/// The lines of the standard input; the process ends with them.
#[allow(clippy::disallowed_methods, reason = "this thread only waits for the parent")]
fn jobs_asked() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for job in std::io::stdin().lines().map_while(Result::ok) {
            // Whoever does the jobs lives as long as the process.
            let _ = sender.send(job);
        }
        std::process::exit(0);
    });
    receiver
}

/// Does the jobs of a worker until there are no more.
///
/// # Panics
/// If the one job that stands in the environment fails: that is somebody who wants to see it.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub fn serve(mut work: impl FnMut(&str) -> Result<String, String>) {
    let job = std::env::var(WORKER).unwrap_or_default();
    if job != FROM_INPUT {
        match work(&job) {
            Ok(said) => return println!("{said}"),
            Err(why) => panic!("{why}"),
        }
    }
    for job in jobs_asked() {
        let answer = match work(&job) {
            Ok(said) => Answer::Done(said),
            Err(why) => Answer::Failed(why),
        };
        let line = serde_json::to_string(&answer).unwrap_or_default();
        println!("{MARK}{line}");
    }
}
