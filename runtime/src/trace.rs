//! What happened, step by step, for people and tests to read.
//!
//! Owns the record of accepted messages and of whatever else a service wants told. A step is recorded
//! by whoever accepted it, so a lost message leaves no line. Recording never waits and never fails:
//! when the buffer is full the oldest steps go, and their number is kept.

pub mod collect;
#[cfg(feature = "log")]
pub mod log;
pub mod otlp;
mod request;
pub mod spans;

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use updraft_transport::NodeId;

pub use self::request::{RequestId, current_request};
use crate::{env::UnixMicros, rpc::Topic};

/// How many steps wait for [`Tracer::take`]; a burst of 200 servers makes some 6,000.
pub const STEPS_MAX: usize = 16_384;

/// How a step happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A message that wants a reply.
    Call,
    /// The answer to a call, as it arrived.
    Reply,
    /// A message that wants none.
    Cast,
    /// An HTTP request.
    Rest,
    /// A commit or a read of the store.
    Store,
    /// A decision without a message, such as a token verified locally.
    Local,
    /// An operation of a driver.
    Driver,
}

/// One step of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The request.
    pub trace_id: [u8; 16],
    /// When, by the wall clock of the node that recorded it.
    pub at: UnixMicros,
    /// How.
    pub kind: StepKind,
    /// What: the method, or a name in the same form.
    pub name: String,
    /// The actor that began it.
    pub from: String,
    /// Where that actor runs.
    pub from_node: String,
    /// The actor that took it.
    pub to: String,
    /// Where that actor runs.
    pub to_node: String,
}

/// A message that passed between two nodes. It shares its names with whoever recorded it: text is made of them when
/// the step is taken, and never if it is dropped.
pub(crate) struct Passed {
    pub(crate) trace_id: [u8; 16],
    pub(crate) at: UnixMicros,
    pub(crate) kind: StepKind,
    /// The method, which begins with its topic.
    pub(crate) name: &'static str,
    /// Who sent it; an answer comes from its method's topic, and nobody knows from which node.
    pub(crate) from: Option<(Topic, NodeId)>,
    pub(crate) to: Topic,
    pub(crate) to_node: NodeId,
}

impl From<Passed> for Step {
    fn from(passed: Passed) -> Self {
        let Passed { trace_id, at, kind, name, from, to, to_node } = passed;
        let (from, from_node) = match from {
            Some((topic, node)) => (topic.to_string(), node.to_string()),
            None => {
                (name.split_once('/').map_or(name, |(topic, _)| topic).to_owned(), String::new())
            }
        };
        Self {
            trace_id,
            at,
            kind,
            name: name.to_owned(),
            from,
            from_node,
            to: to.to_string(),
            to_node: to_node.to_string(),
        }
    }
}

enum Recorded {
    /// Seldom, and larger.
    Told(Box<Step>),
    Passed(Passed),
}

impl From<Recorded> for Step {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Told(step) => *step,
            Recorded::Passed(passed) => passed.into(),
        }
    }
}

#[derive(Default)]
struct Buffer {
    steps: VecDeque<Recorded>,
    dropped: u64,
}

/// Collects the steps of one node.
#[derive(Clone, Default)]
pub struct Tracer {
    buffer: Arc<Mutex<Buffer>>,
    ready: Arc<Notify>,
}

impl Tracer {
    /// Keeps a step; one that belongs to no request is not kept.
    pub fn record(&self, step: Step) {
        if step.trace_id != [0; 16] {
            self.keep(Recorded::Told(Box::new(step)));
        }
    }

    /// Keeps a message that belongs to a request.
    pub(crate) fn record_passed(&self, passed: Passed) {
        self.keep(Recorded::Passed(passed));
    }

    fn keep(&self, step: Recorded) {
        let mut buffer = self.buffer.lock();
        if buffer.steps.len() == STEPS_MAX {
            buffer.steps.pop_front();
            buffer.dropped += 1;
        }
        buffer.steps.push_back(step);
        drop(buffer);
        self.ready.notify_one();
    }

    /// Waits until there are steps.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes at most `limit` steps, oldest first.
    #[must_use]
    pub fn take(&self, limit: usize) -> Vec<Step> {
        let mut buffer = self.buffer.lock();
        let count = buffer.steps.len().min(limit);
        buffer.steps.drain(..count).map(Step::from).collect()
    }

    /// How many steps were lost for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.buffer.lock().dropped
    }
}
