//! A hypervisor driver in a child process: one JSON object a line, in and out.
//!
//! Owns the child's life. A call that hangs or a driver that dies harms nothing else: the asker hears that
//! the outcome is unknown or that the hypervisor cannot be reached, and the child is started anew.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UnixStream,
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};
use updraft_protocol::hypervisor::{
    Answer, ConsoleKind, DriverError, GuestEvent, Op, Outgoing, Request,
};
use updraft_runtime::Env;
use uuid::Uuid;

use crate::hypervisor::{ConsoleEnd, Hypervisor};

/// How many requests wait for the child; the node asks about each guest one at a time.
const REQUESTS_MAX: usize = 1_024;

/// How many events wait for the node; one that is lost is made good by the next look at all guests.
const EVENTS_MAX: usize = 1_024;

/// The pause before a child that ended is started again.
const RESTART: Duration = Duration::from_secs(1);

/// How long one request may take to be read. The driver reads always, whatever it works on, so one that does not
/// read is stuck.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// What is left to the child after the asker's patience, to answer that it does not know.
const MARGIN: Duration = Duration::from_millis(500);

/// Which program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments; no secrets, since everybody can read them.
    pub arguments: Vec<OsString>,
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Result<Answer, DriverError>>>>>;

/// A driver in a child process.
pub struct ChildHypervisor {
    env: Env,
    next_id: AtomicU64,
    waiting: Waiting,
    requests: mpsc::Sender<Request>,
    events: tokio::sync::Mutex<mpsc::Receiver<GuestEvent>>,
}

impl ChildHypervisor {
    /// Starts the program and keeps it running for as long as the node lives.
    #[must_use]
    pub fn start(env: &Env, program: Program) -> Self {
        let (requests, to_send) = mpsc::channel(REQUESTS_MAX);
        let (happened, events) = mpsc::channel(EVENTS_MAX);
        let waiting = Waiting::default();
        let keeper = Keeper { env: env.clone(), program, waiting: waiting.clone(), happened };
        env.spawn("hypervisor.child", keeper.run(to_send));
        Self {
            env: env.clone(),
            next_id: AtomicU64::new(1),
            waiting,
            requests,
            events: tokio::sync::Mutex::new(events),
        }
    }
}

#[async_trait]
impl Hypervisor for ChildHypervisor {
    async fn perform(&self, op: Op, deadline: Duration) -> Result<Answer, DriverError> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        if self.requests.try_send(Request { id, deadline_ms, op }).is_err() {
            self.waiting.lock().remove(&id);
            return Err(DriverError::Unavailable("its requests are not taken".to_owned()));
        }
        let answer = self.env.timeout(deadline + MARGIN, receiver).await;
        self.waiting.lock().remove(&id);
        match answer {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(DriverError::Unknown(deadline_ms)),
        }
    }

    async fn console(
        &self,
        guest: Uuid,
        kind: ConsoleKind,
        deadline: Duration,
    ) -> Result<ConsoleEnd, DriverError> {
        let until = self.env.now() + deadline;
        let socket = match self.perform(Op::Console { guest, kind }, deadline).await? {
            Answer::Socket(socket) => socket,
            other => return Err(DriverError::Failed(format!("it answered {other:?}"))),
        };
        let left = until.saturating_sub(self.env.now());
        match self.env.timeout(left, UnixStream::connect(&socket)).await {
            Some(Ok(stream)) => Ok(Box::new(stream)),
            Some(Err(error)) => {
                let socket = socket.display();
                Err(DriverError::Failed(format!(
                    "its console at {socket} does not answer: {error}"
                )))
            }
            None => {
                Err(DriverError::Unknown(u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX)))
            }
        }
    }

    async fn next_event(&self) -> GuestEvent {
        match self.events.lock().await.recv().await {
            Some(event) => event,
            // The keeper ends with the node, and so does whoever waits here.
            None => std::future::pending().await,
        }
    }
}

struct Keeper {
    env: Env,
    program: Program,
    waiting: Waiting,
    happened: mpsc::Sender<GuestEvent>,
}

impl Keeper {
    async fn run(self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let reason = match self.spawn() {
                Ok((child, input, output)) => {
                    self.attend(child, input, output, &mut requests).await
                }
                Err(error) => format!("{} cannot be run: {error}", self.program.path.display()),
            };
            tracing::warn!(reason, "the hypervisor driver ended");
            self.tell(GuestEvent::Hypervisor { available: false, reason: reason.clone() });
            self.refuse_for(RESTART, &reason, &mut requests).await;
        }
    }

    fn spawn(&self) -> std::io::Result<(Child, ChildStdin, Lines<BufReader<ChildStdout>>)> {
        let mut child = Command::new(&self.program.path)
            .args(&self.program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || std::io::Error::other("its pipes are missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok((child, input, BufReader::new(output).lines()))
    }

    /// Carries lines both ways until the child ends or is stuck; says why it did.
    async fn attend(
        &self,
        mut child: Child,
        mut input: ChildStdin,
        output: Lines<BufReader<ChildStdout>>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> String {
        // Side by side: a child that does not read may have much to say, and be waiting to say it.
        let stuck = tokio::select! {
            biased;
            () = self.listen(output) => None,
            stuck = self.speak(&mut input, requests) => stuck,
        };
        // It ends when its input is closed; if it does not, the drop kills it.
        drop(input);
        let status = self.env.timeout(RESTART, child.wait()).await;
        let reason = match (stuck, status) {
            (Some(stuck), _) => stuck,
            (None, Some(Ok(status))) => format!("the driver process ended: {status}"),
            (None, _) => "the driver process broke off".to_owned(),
        };
        self.fail_all();
        reason
    }

    /// Hears the child until it says no more.
    async fn listen(&self, mut output: Lines<BufReader<ChildStdout>>) {
        while let Ok(Some(line)) = output.next_line().await {
            self.hear(&line);
        }
    }

    /// Sends requests until the child cannot be reached; why, if it is there and does not read.
    async fn speak(
        &self,
        input: &mut ChildStdin,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<String> {
        while let Some(request) = requests.recv().await {
            match self.env.timeout(WRITE_MAX, write(input, &request)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.answer(request.id, Err(DriverError::Unavailable(error.to_string())));
                    break;
                }
                None => {
                    let waited = WRITE_MAX.as_secs();
                    return Some(format!("the driver process read nothing for {waited} s"));
                }
            }
        }
        None
    }

    fn hear(&self, line: &str) {
        match serde_json::from_str::<Outgoing>(line) {
            Ok(Outgoing::Answer { id, result }) => self.answer(id, result),
            Ok(Outgoing::Event(event)) => self.tell(event),
            Err(error) => tracing::error!(%error, "the driver process said something else"),
        }
    }

    fn answer(&self, id: u64, result: Result<Answer, DriverError>) {
        if let Some(sender) = self.waiting.lock().remove(&id) {
            // An asker that gave up misses nothing.
            let _ = sender.send(result);
        }
    }

    fn tell(&self, event: GuestEvent) {
        if self.happened.try_send(event).is_err() {
            tracing::warn!(
                "an event of the hypervisor was dropped; the next look finds what it said"
            );
        }
    }

    /// What was asked of a child that died may have happened.
    fn fail_all(&self) {
        for (_, sender) in std::mem::take(&mut *self.waiting.lock()) {
            // As above.
            let _ = sender.send(Err(DriverError::Unknown(0)));
        }
    }

    /// Answers at once that there is no child, until it is time for the next.
    async fn refuse_for(
        &self,
        pause: Duration,
        reason: &str,
        requests: &mut mpsc::Receiver<Request>,
    ) {
        let until = self.env.now() + pause;
        while self.env.now() < until {
            let left = until.saturating_sub(self.env.now());
            if let Some(Some(request)) = self.env.timeout(left, requests.recv()).await {
                self.answer(request.id, Err(DriverError::Unavailable(reason.to_owned())));
            }
        }
    }
}

async fn write(input: &mut ChildStdin, request: &Request) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    input.write_all(&line).await?;
    input.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }
    }

    #[tokio::test]
    async fn an_answer_finds_its_asker() {
        let script =
            r#"read line; echo '{"Answer":{"id":1,"result":{"Ok":"Done"}}}'; cat >/dev/null"#;
        let child = ChildHypervisor::start(&Env::real(), shell(script));
        assert_eq!(child.perform(Op::List, Duration::from_secs(10)).await, Ok(Answer::Done));
    }

    #[tokio::test]
    async fn a_child_that_dies_leaves_the_outcome_unknown() {
        let child = ChildHypervisor::start(&Env::real(), shell("read line; exit 3"));
        let outcome = child.perform(Op::List, Duration::from_secs(10)).await;
        assert_eq!(outcome, Err(DriverError::Unknown(0)));
        let (available, reason) = said(&child).await;
        assert!(!available && reason.contains("exit status: 3"), "{reason}");
    }

    /// What is said next of the hypervisor: whether it is there, and why.
    async fn said(child: &ChildHypervisor) -> (bool, String) {
        match child.next_event().await {
            GuestEvent::Hypervisor { available, reason } => (available, reason),
            other => panic!("{other:?}"),
        }
    }

    /// More than a pipe holds.
    fn long() -> Op {
        let guest = updraft_protocol::hypervisor::GuestRef { guest: Uuid::nil(), generation: 1 };
        Op::DetachDisk { guest, serial: "x".repeat(1 << 20) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_stops_reading_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("started before").display().to_string();
        let up = r#"{"Event":{"Hypervisor":{"available":true,"reason":"up"}}}"#;
        let script = format!(
            "if [ -e '{mark}' ]; then echo '{up}'; exec cat >/dev/null; fi
             touch '{mark}'; echo '{up}'; exec sleep 1000"
        );
        let child = ChildHypervisor::start(&Env::real(), shell(&script));
        assert_eq!(said(&child).await, (true, "up".to_owned()));
        let outcome = child.perform(long(), Duration::from_secs(600)).await;
        assert_eq!(outcome, Err(DriverError::Unknown(0)), "it may have been read in part");
        let reason = "the driver process read nothing for 10 s".to_owned();
        assert_eq!(said(&child).await, (false, reason));
        assert_eq!(said(&child).await, (true, "up".to_owned()), "there is no second one");
    }

    #[tokio::test]
    async fn a_child_is_heard_while_it_does_not_read() {
        let busy = r#"{"Event":{"Hypervisor":{"available":true,"reason":"busy"}}}"#;
        let script = format!("sleep 0.5; echo '{busy}'; exec sleep 1000");
        let child = ChildHypervisor::start(&Env::real(), shell(&script));
        let asked = child.perform(long(), Duration::from_secs(600));
        tokio::select! {
            biased;
            outcome = asked => panic!("{outcome:?}"),
            said = said(&child) => assert_eq!(said, (true, "busy".to_owned())),
        }
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_said_to_be() {
        let missing = Program { path: "/nonexistent/driver".into(), arguments: Vec::new() };
        let child = ChildHypervisor::start(&Env::real(), missing);
        let (_, reason) = said(&child).await;
        assert!(reason.contains("/nonexistent/driver cannot be run"), "{reason}");
        let outcome = child.perform(Op::List, Duration::from_secs(10)).await;
        assert!(matches!(outcome, Err(DriverError::Unavailable(_))), "{outcome:?}");
    }
}
