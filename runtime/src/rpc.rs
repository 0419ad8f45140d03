//! Calls, casts and fan-outs between actors on many nodes.
//!
//! Owns addressing by (cell, topic, server), deadlines that shrink across hops, retries where the
//! message's contract allows them, and the memory that drops duplicates. Promises that the outcome of
//! a call is a value: a reply, a refusal that certainly did nothing, or *unknown*. Never retries what
//! may not be repeated, and never decodes a message that its sender's role may not send.

mod cancellation;
mod client;
mod context;
mod dedup;
mod dispatch;
mod handle;
mod message;
mod outcome;
mod pending;
mod service;

pub use client::{CALLS_MAX, Rpc};
pub use context::{Ctx, Cx, TraceContext};
pub use handle::Client;
#[doc(hidden)]
pub use message::method_bytes;
pub use message::{
    Address, BelongsTo, Call, Cast, Contract, Message, MessageBody, Protocol, Repeat, Topic,
};
pub use outcome::{CallError, Fault, FaultKind, Refusal};
pub use pending::Wait;
pub use tokio_util::sync::CancellationToken;

pub use service::{Handlers, MAILBOX_MAX, REPLY_MAX_BYTES, Service};

pub(crate) use dispatch::{Dispatcher, Opened, Opener, Reporter};
pub(crate) use message::{has_any, topic_of};
pub(crate) use outcome::Outcome;
