//! How a call can end.

use bytes::Bytes;
use postcard::experimental::serialized_size;
use serde::{Deserialize, Serialize};
use updraft_transport::wire::varint_bytes;

/// Why a call has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// It certainly was not executed.
    #[error("{method} was refused: {refusal}")]
    Refused {
        /// The message.
        method: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// It may or may not have been executed.
    #[error("the outcome of {method} is unknown: {reason}")]
    Unknown {
        /// The message.
        method: &'static str,
        /// What is known.
        reason: String,
    },
    /// The handler executed it and said no.
    #[error(transparent)]
    Rejected(#[from] Fault),
}

impl CallError {
    /// The handler's own answer, if it gave one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Rejected(fault) => Some(fault),
            Self::Refused { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// Why a message certainly was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// No live server of the topic is known, or no address for it.
    #[error("no live server of {0} is known")]
    NoRoute(String),
    /// Every mailbox or queue that could take it is full.
    #[error("{0} is busy")]
    Busy(String),
    /// The sender's certificate does not carry a role that may send it.
    #[error("{0} may not be sent by this node")]
    Denied(String),
    /// Its deadline had passed before anybody began.
    #[error("its deadline passed before it was begun")]
    Expired,
    /// The server is going away.
    #[error("{0} is going away")]
    GoingAway(String),
    /// The server does not know the method, or cannot decode the message.
    #[error("the server does not understand it: {0}")]
    NotUnderstood(String),
    /// The message is over a limit.
    #[error("it is too large: {0}")]
    TooLarge(String),
    /// The sender stopped waiting before anybody began.
    #[error("its sender stopped waiting before it was begun")]
    Cancelled,
}

/// What kind of no a handler said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The thing does not exist, or is not for the asker to see.
    NotFound,
    /// The request cannot be understood or is out of range.
    Invalid,
    /// The thing's state does not allow it.
    Conflict,
    /// The asker has no right to it.
    Forbidden,
    /// Not, or no longer, authenticated.
    Unauthenticated,
    /// A quota or limit would be exceeded.
    OverLimit,
    /// A newer generation has been seen.
    Stale,
    /// It may work later.
    Unavailable,
    /// A broken invariant.
    Internal,
}

/// A handler's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The service's own name for it, such as `ImageNotFound`.
    pub code: String,
    /// For a person: what was wrong, where, and what to do.
    pub message: String,
}

impl Fault {
    /// A fault.
    pub fn new(kind: FaultKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into() }
    }

    /// A broken invariant, or a store that failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, "Internal", message)
    }
}

impl From<crate::store::StoreError> for Fault {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(FaultKind::Unavailable, "Store", error.to_string())
    }
}

/// Room that most outcomes without a reply fit into, so that their encoding does not move as it grows.
const USUAL_BYTES: usize = 256;

/// A reply as bytes.
pub(super) fn encode(value: &impl Serialize) -> postcard::Result<Bytes> {
    postcard::to_extend(value, Vec::with_capacity(serialized_size(value)?)).map(Bytes::from)
}

/// What a reply frame carries.
#[derive(Debug, Serialize)]
pub(crate) enum Outcome {
    /// The handler's reply, encoded.
    Reply(Bytes),
    /// The handler's no.
    Rejected(Fault),
    /// Not executed.
    Refused(Refusal),
    /// Begun and not finished: the handler died.
    Unknown(String),
}

/// The same where it lies.
#[derive(Deserialize)]
enum OutcomeView<'a> {
    Reply(#[serde(borrow)] &'a [u8]),
    Rejected(Fault),
    Refused(Refusal),
    Unknown(String),
}

impl Outcome {
    /// From bytes, whose memory a reply shares.
    pub(super) fn decode(from: &Bytes) -> postcard::Result<Self> {
        Ok(match postcard::from_bytes(from)? {
            OutcomeView::Reply(reply) => Self::Reply(from.slice_ref(reply)),
            OutcomeView::Rejected(fault) => Self::Rejected(fault),
            OutcomeView::Refused(refusal) => Self::Refused(refusal),
            OutcomeView::Unknown(reason) => Self::Unknown(reason),
        })
    }

    /// As bytes. A reply's fit exactly, because its server may keep them for whoever asks again.
    pub(super) fn encode(&self) -> postcard::Result<Bytes> {
        let room_bytes = match self {
            Self::Reply(reply) => VARIANT_BYTES + varint_bytes(reply.len() as u64) + reply.len(),
            _ => USUAL_BYTES,
        };
        postcard::to_extend(self, Vec::with_capacity(room_bytes)).map(Bytes::from)
    }
}

/// What tells one outcome from another.
const VARIANT_BYTES: usize = 1;

#[cfg(test)]
mod tests {
    use super::{Outcome, VARIANT_BYTES, varint_bytes};

    #[test]
    fn the_room_for_a_reply_is_what_it_takes() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let encoded = Outcome::Reply(vec![7; length].into()).encode().unwrap();
            assert_eq!(encoded.len(), VARIANT_BYTES + varint_bytes(length as u64) + length);
        }
    }
}
