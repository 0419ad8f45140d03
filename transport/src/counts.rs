//! What a link has done and refused, in numbers.
//!
//! Owns the reasons of refusal and the snapshot that a metrics exporter reads. Counts grow from the start of
//! the link and never shrink, except for those that say how much there is now. Each side counts what it
//! refuses itself: who is refused has a failed dial or a lost connection.

use std::collections::BTreeMap;

use crate::{
    join::Denied,
    wire::{Class, WireVersion},
};

mod tally;

pub(crate) use tally::Tally;

/// Why a link has refused a peer, or somebody who would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// Its certificate is not from a CA that this node believes.
    OtherAuthority,
    /// Its certificate has expired, before the handshake or while the connection stood.
    Expired,
    /// Its certificate is not yet valid.
    NotYetValid,
    /// Its certificate was revoked, before the handshake or while the connection stood.
    Revoked,
    /// It shows no certificate, one that names no node, or one whose key it does not hold.
    BadCertificate,
    /// It is another node than was dialled, than it says, or this node itself.
    WrongNode,
    /// It speaks no wire version that this node speaks.
    NoCommonVersion,
    /// It does not open its connection with a hello and a stream for each class.
    BadOpening,
    /// It sent what is no frame.
    BrokenFrame,
    /// It sent more than is allowed, or is one peer more than is allowed.
    OverLimit,
    /// It is a former start of a peer that has started again since.
    FormerIncarnation,
    /// Too many handshakes were under way.
    TooManyHandshakes,
    /// It speaks nothing that this node offers, such as joining where no certificates are given.
    OtherProtocol,
    /// It wants to join, and its application makes no sense or is not its own.
    BadApplication,
    /// It wants to join with a token that nobody knows.
    TokenUnknown,
    /// It wants to join with a token that was used.
    TokenUsed,
    /// It wants to join with a token whose time has passed.
    TokenExpired,
    /// It wants to join with a good token, and may not all the same.
    JoinDenied,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::OtherAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::BadCertificate,
        Self::WrongNode,
        Self::NoCommonVersion,
        Self::BadOpening,
        Self::BrokenFrame,
        Self::OverLimit,
        Self::FormerIncarnation,
        Self::TooManyHandshakes,
        Self::OtherProtocol,
        Self::BadApplication,
        Self::TokenUnknown,
        Self::TokenUsed,
        Self::TokenExpired,
        Self::JoinDenied,
    ];

    /// The reason as the label of a metric: lower case with `_`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OtherAuthority => "other_authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::WrongNode => "wrong_node",
            Self::NoCommonVersion => "no_common_version",
            Self::BadOpening => "bad_opening",
            Self::BrokenFrame => "broken_frame",
            Self::OverLimit => "over_limit",
            Self::FormerIncarnation => "former_incarnation",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::OtherProtocol => "other_protocol",
            Self::BadApplication => "bad_application",
            Self::TokenUnknown => "token_unknown",
            Self::TokenUsed => "token_used",
            Self::TokenExpired => "token_expired",
            Self::JoinDenied => "join_denied",
        }
    }
}

impl From<Denied> for Refused {
    fn from(why: Denied) -> Self {
        match why {
            Denied::TokenUnknown => Self::TokenUnknown,
            Denied::TokenUsed => Self::TokenUsed,
            Denied::TokenExpired => Self::TokenExpired,
            Denied::Other => Self::JoinDenied,
        }
    }
}

/// What a link has done so far, and what there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that stand now.
    pub up: u64,
    /// The same by the wire version that they speak. After an upgrade the former version disappears here,
    /// and then a release may come that no longer speaks it.
    pub speaking: BTreeMap<WireVersion, u64>,
    /// Connections that came to stand, from whichever side.
    pub opened: u64,
    /// Dials begun.
    pub dialled: u64,
    /// Dials after which no connection stood.
    pub dials_failed: u64,
    /// Refusals by this side, by reason; every reason is there.
    pub refused: BTreeMap<Refused, u64>,
    /// Frames, by class; every class is there.
    pub classes: BTreeMap<Class, ClassCounts>,
}

/// The frames of one class. What a node sends itself is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Frames given to QUIC whole. Their peer may be gone before they arrive.
    pub sent_frames: u64,
    /// Their bytes, with the lengths in front.
    pub sent_bytes: u64,
    /// Frames that came whole.
    pub received_frames: u64,
    /// Their bytes, with the lengths in front.
    pub received_bytes: u64,
    /// Frames that were queued and not sent whole: their peer was gone or could not be reached, or their
    /// deadline had passed.
    pub dropped_frames: u64,
    /// Frames that were not queued, because the queue was full.
    pub turned_away_frames: u64,
    /// Frames that wait now, for all peers.
    pub waiting_frames: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
}
