//! What a message may count on, held against what was done: nodes that ask and nodes that are asked, and a record of
//! which message was begun where, how often, and what its sender was told.
//!
//! Owns the nodes, their messages, one of each contract, and the judgement. What goes wrong is the scenario's.

pub(crate) mod nodes;
mod record;

use serde::{Deserialize, Serialize};

pub(crate) use record::Record;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A call that may be repeated anywhere.
    Fenced,
    /// A call that is repeated to the same server, which remembers.
    Remembered,
    /// A call that is never repeated.
    Once,
    /// A cast.
    Note,
    /// A cast to every server.
    Fanout,
    /// A call that asks the other server, which asks back.
    Relay,
    /// A call that its sender may not send.
    Stranger,
}
