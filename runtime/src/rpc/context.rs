//! What travels with a message: trace, patience, and who asked.

use std::time::Duration;

use bytes::Bytes;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use updraft_transport::PeerIdentity;
use uuid::Uuid;

use super::{Topic, cancellation::Cancellation};
use crate::Env;

/// W3C trace context: which request this belongs to, and which step sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The request.
    pub trace_id: [u8; 16],
    /// The step; zeros before the first.
    pub span_id: [u8; 8],
    /// Whether somebody keeps the request's [spans](crate::trace::spans): the lowest bit of W3C's flags. It travels
    /// with messages, and is not stored.
    #[serde(skip)]
    pub sampled: bool,
}

impl TraceContext {
    /// A trace of its own.
    #[must_use]
    pub fn fresh(env: &Env) -> Self {
        let mut rng = env.rng("trace");
        let mut trace = Self::default();
        rng.fill_bytes(&mut trace.trace_id);
        trace
    }

    /// A trace of the request that has this number already.
    #[must_use]
    pub fn of_request(request: Uuid) -> Self {
        Self { trace_id: request.into_bytes(), ..Self::default() }
    }

    /// Whether it is of a request; what the cloud does by itself has the empty trace.
    #[must_use]
    pub(crate) fn is_of_a_request(&self) -> bool {
        self.trace_id != [0; 16]
    }
}

/// What a sender gives along with a message.
#[derive(Clone, Debug)]
pub struct Cx {
    /// The topic that sends, for the trace.
    pub source: Topic,
    /// The request it belongs to.
    pub trace: TraceContext,
    /// Who asked, in the service's own encoding.
    pub context: Bytes,
    /// When patience ends, on [`Env::now`]; `None` leaves it to the message's contract.
    pub expires: Option<Duration>,
    /// Ends calls that nobody waits for any more; see [`Cx::until`].
    pub(super) cancellation: Option<CancellationToken>,
}

impl Cx {
    /// A context without a user, for what the cloud does by itself.
    #[must_use]
    pub fn new(source: &str, trace: TraceContext) -> Self {
        Self {
            source: Topic::new(source),
            trace,
            context: Bytes::new(),
            expires: None,
            cancellation: None,
        }
    }

    /// The same on behalf of somebody.
    #[must_use]
    pub fn with_context(mut self, context: Bytes) -> Self {
        self.context = context;
        self
    }

    /// The same with this much patience from now.
    #[must_use]
    pub fn within(mut self, env: &Env, patience: Duration) -> Self {
        self.expires = Some(env.now() + patience);
        self
    }

    /// The same until this token is cancelled: calls end then, and who handles them is told.
    #[must_use]
    pub fn until(mut self, cancellation: CancellationToken) -> Self {
        self.cancellation = Some(cancellation);
        self
    }

    /// Waits until nobody waits for its calls any more.
    pub(crate) async fn cancelled(&self) {
        match &self.cancellation {
            Some(cancellation) => cancellation.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

/// What a handler is given along with a message.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who sent it, as its certificate says.
    pub peer: PeerIdentity,
    /// The topic that sent it, by its own word: for the trace, never for a decision.
    pub source: Topic,
    /// The topic that handles it.
    pub topic: Topic,
    /// The request it belongs to.
    pub trace: TraceContext,
    /// Who asked, in the service's own encoding. It shares the memory that it was read from: who keeps it for longer than
    /// its handler runs keeps a copy.
    pub context: Bytes,
    /// When the sender stops waiting, on [`Env::now`].
    pub expires: Duration,
    pub(super) cancellation: Cancellation,
}

impl Ctx {
    /// Waits until the sender has said that it no longer waits, or has started anew. A handler is never ended from
    /// outside, since it may be in the middle of something: one whose work is long asks for this beside it. Calls
    /// that it makes [onward](Self::onward) end by themselves.
    pub async fn cancelled(&self) {
        self.cancellation.token().cancelled().await;
    }

    /// Whether the sender has said that it no longer waits.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// The context for a message that this handler sends on.
    #[must_use]
    pub fn onward(&self) -> Cx {
        Cx {
            source: self.topic.clone(),
            trace: self.trace,
            context: self.context.clone(),
            expires: Some(self.expires),
            cancellation: Some(self.cancellation.token().clone()),
        }
    }
}

/// What a frame's opaque context holds.
#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    pub(super) source: &'a Topic,
    pub(super) context: &'a Bytes,
}

/// The same as its reader finds it.
#[derive(Deserialize)]
struct Found<'a> {
    source: &'a str,
    #[serde(borrow)]
    context: &'a [u8],
}

impl Envelope<'_> {
    /// The sender and its context, which shares the memory that it is read from.
    pub(super) fn read(from: &Bytes) -> postcard::Result<(Topic, Bytes)> {
        let Found { source, context } = postcard::from_bytes(from)?;
        Ok((Topic::new(source), from.slice_ref(context)))
    }
}
