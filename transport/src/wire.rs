//! The frame: what one message looks like on a stream.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Incarnation;

/// Which stream of a connection carries a frame. Bulk never delays control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Membership and cancellation.
    Control,
    /// Calls, casts and their answers.
    Calls,
    /// Pieces of large bodies.
    Bulk,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Wants a reply.
    Call,
    /// Wants none.
    Cast,
    /// A reply; the body is the encoded outcome.
    Reply,
    /// The caller no longer waits for the call of this id.
    Cancel,
}

/// What travels before the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// `topic/method`; empty on replies and cancels.
    pub method: String,
    /// Counts the sender's messages within its incarnation; a reply repeats the call's.
    pub id: u64,
    /// The sender's incarnation; a reply repeats the caller's, so that an answer to a former life is dropped.
    pub incarnation: Incarnation,
    /// What is left of the caller's patience, in milliseconds.
    pub deadline_ms: u32,
    /// W3C trace id.
    pub trace_id: [u8; 16],
    /// W3C id of the sending span.
    pub span_id: [u8; 8],
    /// Who asked, in the service's own encoding; opaque here. At most 8 KiB.
    pub context: Bytes,
}

/// A header and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What travels before the body.
    pub header: Header,
    /// The encoded message.
    pub body: Bytes,
}
