//! The frame: what one message looks like on a stream.
//!
//! Owns the frame's types, every size limit of the wire and the two encodings: frames (`codec`), whose
//! headers look as the version of their connection has it (`layout`), and the hello that opens a connection
//! (`hello`). A length is checked before anything is allocated for it. Never reads a socket.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::id::Incarnation;

mod codec;
mod hello;
mod layout;

pub use codec::{Decoder, decode, encode, encode_head, encoded_bytes};
pub use hello::{Hello, WireVersion, WireVersions};
pub use layout::varint_bytes;

/// Largest control frame, header and body: membership of a large cloud in one message.
pub const CONTROL_MAX_BYTES: usize = 64 * 1024;
/// Largest call or reply, header and body: a page of rows, never an image.
pub const CALLS_MAX_BYTES: usize = 1024 * 1024;
/// Largest frame of bulk, header included. What is larger is a body: [`crate::body`].
pub const BULK_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Longest caller's context in a header: a token, a principal and room to grow.
pub const CONTEXT_MAX_BYTES: usize = 8 * 1024;
/// Longest method name in a header.
pub const METHOD_MAX_BYTES: usize = 128;
/// What a header takes at most beside its method and context: fixed fields and longest varints.
const HEADER_REST_MAX_BYTES: usize = 64;
/// What a header takes at most.
pub const HEADER_MAX_BYTES: usize = METHOD_MAX_BYTES + CONTEXT_MAX_BYTES + HEADER_REST_MAX_BYTES;
/// Bytes of the length in front of each frame: big-endian, counting what follows it.
pub const LENGTH_BYTES: usize = 4;

/// Which stream of a connection carries a frame. Bulk never delays control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Membership.
    Control,
    /// Calls, casts and their answers.
    Calls,
    /// Answers that are too large to go before others, and by itself each large body, on a stream of its own.
    Bulk,
}

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Calls, Self::Bulk];

    /// The byte that opens a stream of this class.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Calls => 1,
            Self::Bulk => 2,
        }
    }

    /// The largest frame of this class, header and body.
    #[must_use]
    pub const fn limit_bytes(self) -> usize {
        match self {
            Self::Control => CONTROL_MAX_BYTES,
            Self::Calls => CALLS_MAX_BYTES,
            Self::Bulk => BULK_MAX_BYTES,
        }
    }

    /// The largest body that fits a frame of this class whatever its header says.
    #[must_use]
    pub const fn body_limit_bytes(self) -> usize {
        self.limit_bytes() - HEADER_MAX_BYTES
    }
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

/// What travels before the body. The fields stand in the order in which the newest wire version writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// `topic/method`; empty on replies and cancels.
    pub method: ByteString,
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
    /// W3C trace flags; the lowest bit says that the sender records the trace. Zero from a peer that speaks
    /// version 1, which does not carry them.
    pub trace_flags: u8,
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

/// What is wrong with bytes from a peer, or with a frame meant for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame, or the length in front of it, is over its class's limit.
    #[error("a frame of {bytes} bytes is over the limit of {limit_bytes} for {class:?}")]
    FrameTooLarge {
        /// The class of its stream.
        class: Class,
        /// Its size.
        bytes: usize,
        /// The class's limit.
        limit_bytes: usize,
    },
    /// The method's name is too long.
    #[error("a method name of {0} bytes is over the limit of {METHOD_MAX_BYTES}")]
    MethodTooLong(usize),
    /// The caller's context is too large.
    #[error("a caller's context of {0} bytes is over the limit of {CONTEXT_MAX_BYTES}")]
    ContextTooLarge(usize),
    /// The header cannot be read or written.
    #[error("the header of a frame makes no sense")]
    Header(#[source] postcard::Error),
    /// The first bytes of a connection are no hello.
    #[error("the connection does not open with a hello")]
    NotAHello,
    /// The hello's length is out of bounds.
    #[error("a hello of {0} bytes is out of bounds")]
    HelloLength(usize),
    /// The hello's fields cannot be read.
    #[error("the hello makes no sense")]
    Hello(#[source] postcard::Error),
    /// Frames of this version are not known here.
    #[error("wire version {} is not known here", .0.0)]
    UnknownVersion(WireVersion),
    /// The two sides speak no common version.
    #[error("no common wire version: this side speaks {ours}, the peer {theirs}")]
    NoCommonVersion {
        /// What this side speaks.
        ours: WireVersions,
        /// What the peer's hello says.
        theirs: WireVersions,
    },
}
