//! For which request a task works, so that its log lines can say so.
//!
//! Owns the mark that work carries. A mark costs next to nothing until a line is written: a span for each message, whose
//! fields are made text at once, costs as much as carrying the message. Whoever writes the lines asks for the mark: the
//! fields of [`log`](super::log), or a subscriber of one's own by [`current_request`]. What a handler spawns carries none.

use std::fmt;

use tokio::task::futures::TaskLocalFuture;
use uuid::Uuid;

use crate::rpc::TraceContext;

tokio::task_local! {
    static TRACE: TraceContext;
}

/// A request, by the name that its answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req-{}", Uuid::from_bytes(self.0))
    }
}

/// The request for which this task works; `None` for what the cloud does by itself.
#[must_use]
pub fn current_request() -> Option<RequestId> {
    let trace = TRACE.try_with(|trace| *trace).ok()?;
    trace.is_of_a_request().then_some(RequestId(trace.trace_id))
}

impl TraceContext {
    /// Does the work in the name of its request.
    pub(crate) fn scope<F: Future>(self, work: F) -> TaskLocalFuture<TraceContext, F> {
        TRACE.scope(self, work)
    }

    /// The same for what does not wait.
    pub(crate) fn scope_now<T>(self, work: impl FnOnce() -> T) -> T {
        TRACE.sync_scope(self, work)
    }
}
