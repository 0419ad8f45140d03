//! Why nobody was let in, or out.

use updraft_edge::rest::time::iso_secs_z;
use updraft_runtime::{revocations::KEYS_MAX, store::StoreError};
use updraft_transport::{
    NodeId,
    ca::CaError,
    join::{Denial, Denied},
};

use super::{TOKEN_LASTS_MAX, TOKENS_MAX};
use crate::membership::rows::Removal;

/// Why nothing was given out, in words for the one who asked.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The token is not one of this cloud's, or was forgotten long after its end.
    #[error(
        "the join token is not known here; 'updraft invite' on the control host prints another"
    )]
    UnknownToken,
    /// Its time has passed.
    #[error("the join token has expired; 'updraft invite' on the control host prints another")]
    Expired,
    /// Somebody has joined with it.
    #[error(
        "the join token has been used, by {0}: each lets one host join, once; 'updraft invite' on the \
         control host prints another"
    )]
    Used(NodeId),
    /// It is for another name.
    #[error("the join token is for a host named {0}; say so with --name {0}")]
    OtherName(NodeId),
    /// The name belongs to another key.
    #[error(
        "a host named {0} has joined before, with another key; choose another name with --name, or use the \
         data directory that it joined with"
    )]
    NameTaken(NodeId),
    /// The key was revoked, under this name.
    #[error(
        "the key of this host was revoked when node {0} was removed from the cloud; give an empty folder with \
         --data-dir, so that it draws another"
    )]
    Revoked(NodeId),
    /// No node of this name ever joined.
    #[error("no host named {0} has joined")]
    UnknownNode(NodeId),
    /// The node is one of the control host's own.
    #[error(
        "node {0} runs on the control host itself and cannot be removed from there; 'updraft down' ends it, and another \
         control host can remove it"
    )]
    Own(NodeId),
    /// The node was removed before.
    #[error("node {node} was removed already, at {at}", at = iso_secs_z(removal.at))]
    Removed {
        /// The node.
        node: NodeId,
        /// When, and by whom.
        removal: Removal,
    },
    /// More keys would be revoked than nodes remember.
    #[error(
        "{KEYS_MAX} keys are revoked already, which is the limit; each is forgotten a year after its node was \
         removed"
    )]
    TooManyRevoked,
    /// A lifetime that no token may have.
    #[error("a join token may last from 1 to {} minutes", TOKEN_LASTS_MAX.as_secs() / 60)]
    Lifetime,
    /// The store is this node's own.
    #[error(
        "a further control node needs PostgreSQL: the store of this cloud is a file that no other machine reaches;          'updraft db move' moves it into a database, after 'updraft down'"
    )]
    Alone,
    /// Too many tokens are open.
    #[error("{TOKENS_MAX} join tokens are remembered already; wait until some have expired")]
    TooMany,
    /// The store did not take it.
    #[error("the cloud could not note it: {0}; try again")]
    Store(#[from] StoreError),
    /// The certificate could not be made.
    #[error(transparent)]
    Ca(#[from] CaError),
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let why = match refusal {
            Refusal::UnknownToken => Denied::TokenUnknown,
            Refusal::Expired => Denied::TokenExpired,
            Refusal::Used(_) => Denied::TokenUsed,
            _ => Denied::Other,
        };
        Self { why, words: refusal.to_string() }
    }
}
