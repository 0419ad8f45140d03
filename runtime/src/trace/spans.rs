//! Spans of OpenTelemetry: what a node sent and handled of each request, and what that was part of.
//!
//! Owns the spans that have ended here and wait to be [exported](super::otlp). A span begins with a message and ends
//! with its outcome; its id travels with the message, so that what is done for it elsewhere has it for a parent. Off
//! until somebody asks for spans; until then a message costs one look. Never waits and never fails: when there is no
//! room the newest are dropped, and counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use updraft_transport::NodeId;

use crate::{
    Env,
    env::UnixMicros,
    rpc::{CallError, Outcome, TraceContext},
};

/// How many spans wait to be exported; a burst of 200 servers makes some 12,000, at 200 bytes each a few megabytes.
pub const SPANS_MAX: usize = 16_384;

/// What a span tells of a message. The numbers are OpenTelemetry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A call was handled.
    Server = 2,
    /// A call was made.
    Client = 3,
    /// A cast was sent.
    Producer = 4,
    /// A cast was handled.
    Consumer = 5,
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanEnd {
    /// As it should.
    Well,
    /// Otherwise: how, in one word, and why.
    Badly(&'static str, String),
}

/// What a node did about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The request.
    pub trace_id: [u8; 16],
    /// The span.
    pub id: [u8; 8],
    /// What it is part of; zeros if it is the first of its request.
    pub parent: [u8; 8],
    /// What it tells of.
    pub kind: SpanKind,
    /// The message: `topic/method`.
    pub method: &'static str,
    /// Who sent it, where it was handled.
    pub peer: Option<NodeId>,
    /// When it began, by this node's wall clock.
    pub begun: UnixMicros,
    /// When it ended.
    pub ended: UnixMicros,
    /// How.
    pub end: SpanEnd,
}

/// The spans of one node; clones are the same.
#[derive(Clone)]
pub struct Spans(Arc<Kept>);

struct Kept {
    env: Env,
    ids: Mutex<ChaCha8Rng>,
    ended: Mutex<VecDeque<Span>>,
    dropped: AtomicU64,
    ready: Notify,
}

impl Spans {
    pub(crate) fn new(env: &Env) -> Self {
        Self(Arc::new(Kept {
            env: env.clone(),
            ids: Mutex::new(env.rng("span")),
            ended: Mutex::default(),
            dropped: AtomicU64::new(0),
            ready: Notify::new(),
        }))
    }

    /// Waits until there are some.
    pub async fn ready(&self) {
        self.0.ready.notified().await;
    }

    /// Takes at most `limit` of them, oldest first.
    #[must_use]
    pub fn take(&self, limit: usize) -> Vec<Span> {
        let mut ended = self.0.ended.lock();
        let count = ended.len().min(limit);
        ended.drain(..count).collect()
    }

    /// How many were lost, for want of room or because they could not be exported.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Counts spans that were taken and could not be exported.
    pub(super) fn lose(&self, count: usize) {
        self.0.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Begins one below `trace`, which is below it from now on; none for what the cloud does by itself.
    pub(crate) fn open(
        &self,
        kind: SpanKind,
        trace: &mut TraceContext,
        method: &'static str,
        peer: Option<&NodeId>,
    ) -> Option<Open> {
        if !trace.is_of_a_request() {
            return None;
        }
        let parent = trace.span_id;
        self.0.ids.lock().fill_bytes(&mut trace.span_id);
        trace.sampled = true;
        let begun = self.0.env.wall();
        let span = Span {
            trace_id: trace.trace_id,
            id: trace.span_id,
            parent,
            kind,
            method,
            peer: peer.cloned(),
            begun,
            ended: begun,
            end: SpanEnd::Badly("abandoned", "nobody waited for its end".to_owned()),
        };
        Some(Open { spans: self.clone(), span })
    }

    fn keep(&self, span: Span) {
        let mut ended = self.0.ended.lock();
        if ended.len() >= SPANS_MAX {
            drop(ended);
            return self.lose(1);
        }
        ended.push_back(span);
        drop(ended);
        self.0.ready.notify_one();
    }
}

/// A span that has begun; it is kept when this is dropped.
pub(crate) struct Open {
    spans: Spans,
    span: Span,
}

impl Open {
    /// Ends it as a call or cast ended for its sender.
    pub(crate) fn asked<T>(mut self, outcome: &Result<T, CallError>) {
        self.span.end = match outcome {
            Ok(_) => SpanEnd::Well,
            Err(error) => {
                let how = match error {
                    CallError::Rejected(_) => "rejected",
                    CallError::Refused { .. } => "refused",
                    CallError::Unknown { .. } => "unknown",
                };
                SpanEnd::Badly(how, error.to_string())
            }
        };
    }

    /// Ends it as a message ended for whoever handled it.
    pub(crate) fn handled(mut self, outcome: &Outcome) {
        self.span.end = match outcome {
            Outcome::Reply(_) => SpanEnd::Well,
            Outcome::Rejected(fault) => SpanEnd::Badly("rejected", fault.to_string()),
            Outcome::Refused(refusal) => SpanEnd::Badly("refused", refusal.to_string()),
            Outcome::Unknown(reason) => SpanEnd::Badly("unknown", reason.clone()),
        };
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.span.ended = self.spans.0.env.wall();
        self.spans.keep(self.span.clone());
    }
}

#[cfg(test)]
mod tests;
