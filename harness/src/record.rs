//! What happens in a world, as values in the order in which it happens.
//!
//! Owns the record of a run: frames, nodes, faults, the states of rows, checks that fail. The text log is made from it,
//! and so is the timeline; both are the same for the same seed. How much is kept is chosen before a world is made:
//! nothing in a campaign, everything when a failing seed is run again to be looked at.

mod compare;

use std::{cell::RefCell, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use updraft_transport::{
    Class, Frame, Header, NodeId,
    wire::{self, Kind, WireVersion},
};

use crate::{quic::fingerprint, world::Verdict};

pub use compare::{Difference, difference};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing.
    Nothing,
    /// What happened, and a hash of each frame: enough to tell two runs apart.
    #[default]
    Events,
    /// Also what each frame is, and how rows change where the scenario tells: enough to understand a run.
    Everything,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, since the start of the world.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A frame is sent, and it is known what becomes of it.
    Frame(Box<Sent>),
    /// A frame is handed to a transport that nobody sees into, or by it to whom it is for.
    Passed(Box<Sent>, End),
    /// A node is added, starts or crashes.
    Node(NodeId, Turn),
    /// A fault begins, in words.
    FaultBegins(String),
    /// A fault ends, in the words with which it began.
    FaultEnds(String),
    /// A row is in another state.
    Row(RowState),
    /// A check failed.
    Violated {
        /// What should be so.
        check: String,
        /// What is so instead.
        words: String,
    },
    /// A datagram is sent or arrives.
    Datagram(String),
    /// A node draws a seed for a use of its own.
    Drawn {
        /// The node.
        node: NodeId,
        /// The use.
        stream: &'static str,
        /// How often the run has drawn entropy of the machine before, where that is overridden.
        entropy: u64,
    },
    /// The scenario takes a step, in words.
    Step(String),
    /// Somebody outside of the world, such as a user, asks a node.
    Asked(Asked),
    /// The node answers; the words are the answer's.
    Answered(Asked, Fate),
    /// Anything else.
    Note(String),
}

/// What somebody outside asks a node, or is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The node.
    pub node: NodeId,
    /// Which of a run's requests it is.
    pub number: u64,
    /// In words.
    pub words: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done, or will be.
    Taken,
    /// It is not.
    Refused,
}

/// A frame on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The class of its stream.
    pub class: Class,
    /// Its size.
    pub bytes: usize,
    /// A hash of its bytes.
    pub hash: u64,
    /// What each copy takes on its way; none if it is lost.
    pub delays: Vec<Duration>,
    /// An interceptor's word.
    pub verdict: Verdict,
    /// What it is, where everything is kept.
    pub heading: Option<Heading>,
}

/// An end of a frame's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it sets out.
    Sender,
    /// Where it arrives.
    Receiver,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Call, cast, reply and so on.
    pub kind: Kind,
    /// `topic/method`; empty on replies.
    pub method: String,
    /// The sender's number of it; a reply repeats the call's.
    pub id: u64,
    /// The sender's incarnation; a reply repeats the caller's.
    pub incarnation: u64,
    /// The W3C trace id in hexadecimal digits; empty where there is none.
    pub trace: String,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is there for the first time, and runs.
    Added,
    /// It runs again.
    Started,
    /// It is gone, with all its tasks.
    Crashed,
}

/// A row's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowState {
    /// Of what kind it is, as in "server".
    pub kind: String,
    /// Which.
    pub id: String,
    /// Its state; empty when it is gone.
    pub state: String,
}

/// As a line of the log.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10} {}", self.at.as_micros(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(sent) => sent.fmt(f),
            Self::Passed(sent, End::Sender) => write!(f, "{sent}, sent"),
            Self::Passed(sent, End::Receiver) => write!(f, "{sent}, arrived"),
            Self::Node(node, turn) => {
                let word = match turn {
                    Turn::Added => "add",
                    Turn::Started => "start",
                    Turn::Crashed => "crash",
                };
                write!(f, "{word} {node}")
            }
            Self::FaultBegins(words) => write!(f, "fault begins: {words}"),
            Self::FaultEnds(words) => write!(f, "fault ends: {words}"),
            Self::Row(row) if row.state.is_empty() => write!(f, "{} {} is gone", row.kind, row.id),
            Self::Row(row) => write!(f, "{} {} is {}", row.kind, row.id, row.state),
            Self::Violated { check, words } => write!(f, "violated: {check}: {words}"),
            Self::Drawn { node, stream, entropy } => {
                write!(f, "{node} draws {stream:?}, after {entropy} draws of the machine's entropy")
            }
            Self::Step(words) => write!(f, "step: {words}"),
            Self::Asked(Asked { node, number, words }) => {
                write!(f, "asks {node} #{number}: {words}")
            }
            Self::Answered(Asked { node, number, words }, _) => {
                write!(f, "{node} answers #{number}: {words}")
            }
            Self::Datagram(line) | Self::Note(line) => f.write_str(line),
        }
    }
}

/// Between whom, its class, size and hash, the delay of each copy, an interceptor's word, and what it is.
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, class, bytes, hash, .. } = self;
        write!(f, "{from}>{to} {class:?} {bytes} {hash:016x}")?;
        self.delays.iter().try_for_each(|delay| write!(f, " +{}", delay.as_micros()))?;
        if self.verdict != Verdict::Pass {
            write!(f, " {:?}", self.verdict)?;
        }
        match &self.heading {
            Some(Heading { kind, method, id, .. }) => write!(f, " {kind:?} {id} {method}"),
            None => Ok(()),
        }
    }
}

thread_local! {
    /// The record of the run that this thread is.
    static OF_THIS_THREAD: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Keeps what happens in a run; clones keep the same.
#[derive(Clone, Debug)]
pub struct Recorder {
    detail: Detail,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    now: Duration,
    records: Vec<Record>,
    /// The requests from outside so far.
    asked: u64,
    /// The states of the rows of each kind.
    rows: BTreeMap<String, BTreeMap<String, String>>,
}

impl Recorder {
    /// An empty one.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        Self { detail, kept: Arc::default() }
    }

    /// Has every world that this thread makes from now on record here.
    pub fn install(&self) {
        OF_THIS_THREAD.set(Some(self.clone()));
    }

    /// The installed one, or a new one that keeps events.
    #[must_use]
    pub fn of_this_thread() -> Self {
        OF_THIS_THREAD.with_borrow(Clone::clone).unwrap_or_else(|| Self::new(Detail::Events))
    }

    /// Whether everything is kept: then it is worth while to look for more to tell.
    #[must_use]
    pub fn keeps_everything(&self) -> bool {
        self.detail == Detail::Everything
    }

    /// How long the last world that recorded here has gone on.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.kept.lock().now
    }

    pub(crate) fn advance(&self, now: Duration) {
        self.kept.lock().now = now;
    }

    /// This happens now.
    pub fn tell(&self, what: What) {
        let at = self.now();
        self.tell_at(at, || what);
    }

    pub(crate) fn tell_at(&self, at: Duration, what: impl FnOnce() -> What) {
        if self.detail > Detail::Nothing {
            let what = what();
            self.kept.lock().records.push(Record { at, what });
        }
    }

    /// Somebody outside asks a node for this. Returns the request's number, for [`answered`](Self::answered).
    pub fn asked(&self, node: &NodeId, words: impl FnOnce() -> String) -> u64 {
        let (at, number) = {
            let mut kept = self.kept.lock();
            kept.asked += 1;
            (kept.now, kept.asked)
        };
        self.tell_at(at, || What::Asked(Asked { node: node.clone(), number, words: words() }));
        number
    }

    /// The node answers that request.
    pub fn answered(&self, node: &NodeId, number: u64, fate: Fate, words: impl FnOnce() -> String) {
        let answer = || What::Answered(Asked { node: node.clone(), number, words: words() }, fate);
        self.tell_at(self.now(), answer);
    }

    /// A frame is sent.
    pub(crate) fn frame(
        &self,
        at: Duration,
        (from, to): (&NodeId, &NodeId),
        class: Class,
        bytes: &[u8],
        (delays, verdict): (&[Duration], Verdict),
    ) {
        self.tell_at(at, || {
            What::Frame(Box::new(Sent {
                from: from.clone(),
                to: to.clone(),
                class,
                bytes: bytes.len(),
                hash: fingerprint(bytes),
                delays: delays.to_vec(),
                verdict,
                heading: self.keeps_everything().then(|| heading(bytes)).flatten(),
            }))
        });
    }

    /// A frame has come to an end of its way; it is kept if everything is. Its size and hash are its body's, which is
    /// the same at both ends.
    pub(crate) fn passed(
        &self,
        at: Duration,
        (from, to): (&NodeId, &NodeId),
        class: Class,
        frame: &Frame,
        end: End,
    ) {
        if !self.keeps_everything() {
            return;
        }
        let sent = Sent {
            from: from.clone(),
            to: to.clone(),
            class,
            bytes: frame.body.len(),
            hash: fingerprint(&frame.body),
            delays: Vec::new(),
            verdict: Verdict::Pass,
            heading: Some(Heading::of(&frame.header)),
        };
        self.tell_at(at, || What::Passed(Box::new(sent), end));
    }

    /// These are all rows of a kind now, with the state of each; what has changed is kept if everything is.
    pub fn rows(&self, kind: &str, states: impl IntoIterator<Item = (String, String)>) {
        if !self.keeps_everything() {
            return;
        }
        let mut kept = self.kept.lock();
        let now: BTreeMap<String, String> = states.into_iter().collect();
        let before = kept.rows.insert(kind.to_owned(), now.clone()).unwrap_or_default();
        let changed = now.iter().filter(|(id, state)| before.get(*id) != Some(*state));
        let gone = before.keys().filter(|id| !now.contains_key(*id));
        let told = changed.map(|(id, state)| (id, state.clone()));
        let at = kept.now;
        for (id, state) in told.chain(gone.map(|id| (id, String::new()))) {
            let row = RowState { kind: kind.to_owned(), id: id.clone(), state };
            kept.records.push(Record { at, what: What::Row(row) });
        }
    }

    /// Everything that was kept.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.kept.lock().records.clone()
    }

    /// The text log, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.kept.lock().records.iter().map(ToString::to_string).collect()
    }
}

/// What a frame is; nothing of what is none, such as a part of a large body.
fn heading(bytes: &[u8]) -> Option<Heading> {
    let bytes = Bytes::copy_from_slice(bytes.get(4..)?);
    Some(Heading::of(&wire::decode(&bytes, WireVersion::NEWEST).ok()?.header))
}

impl Heading {
    fn of(header: &Header) -> Self {
        let trace = u128::from_be_bytes(header.trace_id);
        Self {
            kind: header.kind,
            method: header.method.to_string(),
            id: header.id,
            incarnation: header.incarnation.0,
            trace: if trace == 0 { String::new() } else { format!("{trace:032x}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(recorder: &Recorder) -> Vec<String> {
        let mut lines = recorder.lines();
        lines.iter_mut().for_each(|line| *line = line.trim_start().to_owned());
        lines
    }

    #[test]
    fn a_row_is_told_when_it_changes_and_when_it_is_gone() {
        let recorder = Recorder::new(Detail::Everything);
        let rows = |states: &[(&str, &str)]| {
            let states = states.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned()));
            recorder.rows("server", states);
        };
        rows(&[("a", "building"), ("b", "building")]);
        recorder.advance(Duration::from_micros(7));
        rows(&[("a", "active"), ("b", "building")]);
        recorder.rows("port", [("a".to_owned(), "DOWN".to_owned())]);
        rows(&[("a", "active")]);
        let lines = [
            "0 server a is building",
            "0 server b is building",
            "7 server a is active",
            "7 port a is DOWN",
            "7 server b is gone",
        ];
        assert_eq!(told(&recorder), lines);
    }

    #[test]
    fn what_is_not_to_be_kept_is_not() {
        for (detail, kept) in [(Detail::Nothing, 0), (Detail::Events, 1), (Detail::Everything, 2)] {
            let recorder = Recorder::new(detail);
            recorder.rows("server", [("a".to_owned(), "active".to_owned())]);
            recorder.tell(What::Note("heal".to_owned()));
            assert_eq!(recorder.records().len(), kept, "{detail:?}");
        }
    }
}
