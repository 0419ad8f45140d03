//! The driver as its parent sees it: a process with two pipes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use updraft_protocol::hypervisor::{Answer, DriverError, GuestEvent, Op, Outgoing, Request};

/// How long an operation may take, unless a test says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// Beyond an operation's deadline: what an answer's way may take.
const MARGIN: Duration = Duration::from_secs(5);

/// A running driver.
pub(crate) struct Child {
    process: process::Child,
    requests: Option<ChildStdin>,
    said: Receiver<Outgoing>,
    events: Vec<GuestEvent>,
    next_id: u64,
}

impl Child {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the driver starts");
        let output = BufReader::new(process.stdout.take().unwrap());
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines() {
                let line = line.expect("the driver writes text");
                let outgoing = serde_json::from_str(&line).expect("the driver writes JSON");
                if tell.send(outgoing).is_err() {
                    return;
                }
            }
        });
        let requests = process.stdin.take();
        Self { process, requests, said, events: Vec::new(), next_id: 0 }
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, op: Op) -> Result<Answer, DriverError> {
        self.ask_within(op, DEADLINE)
    }

    /// Asks with a deadline of one's own.
    pub(crate) fn ask_within(&mut self, op: Op, within: Duration) -> Result<Answer, DriverError> {
        self.next_id += 1;
        let deadline_ms = within.as_millis().try_into().unwrap();
        let request = Request { id: self.next_id, deadline_ms, op };
        let line = serde_json::to_string(&request).unwrap() + "\n";
        self.requests.as_mut().unwrap().write_all(line.as_bytes()).expect("the driver listens");
        loop {
            match self.said.recv_timeout(within + MARGIN) {
                Ok(Outgoing::Event(event)) => self.events.push(event),
                Ok(Outgoing::Answer { id, result }) if id == self.next_id => return result,
                Ok(Outgoing::Answer { .. }) => {}
                Err(error) => panic!("no answer to {request:?}: {error}"),
            }
        }
    }

    /// Waits for an event, and forgets those before it.
    pub(crate) fn until_event(
        &mut self,
        within: Duration,
        wanted: impl Fn(&GuestEvent) -> bool,
    ) -> GuestEvent {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.events.iter().position(&wanted) {
                return self.events.drain(..=found).next_back().unwrap();
            }
            let left = within.saturating_sub(begun.elapsed());
            match self.said.recv_timeout(left) {
                Ok(Outgoing::Event(event)) => self.events.push(event),
                Ok(Outgoing::Answer { .. }) => {}
                Err(error) => panic!("no such event, only {:?}: {error}", self.events),
            }
        }
    }

    /// Waits until operations can succeed.
    pub(crate) fn until_available(&mut self) {
        self.until_event(DEADLINE, |event| {
            matches!(event, GuestEvent::Hypervisor { available: true, .. })
        });
    }

    /// Events since the last that was waited for.
    pub(crate) fn events(&self) -> &[GuestEvent] {
        &self.events
    }

    /// Forgets them.
    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Closes its input and waits for its end, as a parent does.
    pub(crate) fn end(mut self) {
        self.requests = None;
        until(MARGIN * 2, "the driver's end", || self.process.try_wait().unwrap());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.requests = None;
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Looks again and again until there is something, or it takes too long.
pub(crate) fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within, "waited {within:?} for {what}");
        thread::sleep(Duration::from_millis(100));
    }
}
