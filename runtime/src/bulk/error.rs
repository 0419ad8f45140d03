//! Why a body was not fetched.

use std::time::Duration;

use updraft_transport::body::Digest;

use crate::rpc::CallError;

/// Why a sink does not take more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// There is no room.
    #[error("no space left: {0}")]
    Full(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Two digests that should be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// What it should be.
    pub wanted: Digest,
    /// What it is.
    pub found: Digest,
}

/// Why a body was not fetched. What has come stays in the sink, unless it is of another body or
/// does not fit.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The server said no, and will again.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No byte has come for too long, from nobody that was asked.
    #[error(
        "no byte of {method} has come for {} s, after {done_bytes}; at last: {last}",
        .waited.as_secs()
    )]
    Stalled {
        /// The message that asks for it.
        method: &'static str,
        /// What has come before.
        done_bytes: u64,
        /// How long nothing has come.
        waited: Duration,
        /// What was wrong the last time.
        last: String,
    },
    /// What the server offers is not the body that is wanted, or that has come in part.
    #[error("{method} gives the body {} now, not {}", .digests.found, .digests.wanted)]
    Changed {
        /// The message that asks for it.
        method: &'static str,
        /// The body that is wanted, and the one that is offered.
        digests: Box<Digests>,
    },
    /// What has come is not the body that was offered, and was thrown away.
    #[error(
        "what has come of {method} has the digest {}, and should have {}",
        .digests.found,
        .digests.wanted
    )]
    Digest {
        /// The message that asks for it.
        method: &'static str,
        /// Of what was offered, and of what has come.
        digests: Box<Digests>,
    },
    /// The server does not do as it said.
    #[error("the server of {method} {what}")]
    Dishonest {
        /// The message that asks for it.
        method: &'static str,
        /// What it does.
        what: String,
    },
    /// The body is larger than who fetches it takes.
    #[error("the body of {method} has {size_bytes} bytes, and at most {limit_bytes} are taken")]
    TooLarge {
        /// The message that asks for it.
        method: &'static str,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// It could not be kept. If there was no room for it, the sink was told to discard what it had.
    #[error("the body of {method} was not kept: {error}")]
    Sink {
        /// The message that asks for it.
        method: &'static str,
        /// What the sink said.
        error: SinkError,
    },
    /// Who wanted it stopped waiting, or its time has passed.
    #[error("the fetch of {method} was ended by who wanted it, or by its deadline")]
    Cancelled {
        /// The message that asks for it.
        method: &'static str,
    },
}
