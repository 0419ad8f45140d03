//! Where a simulation makes a store misbehave for one of its clients.
//!
//! Faults belong to a handle, not to the store: several nodes share one store and each sees its own trouble.

use std::{sync::Arc, time::Duration};

/// What becomes of an attempt to begin a transaction, or to read or trim a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginFate {
    /// It begins.
    Proceed,
    /// It is refused as unavailable.
    Unavailable,
}

/// What becomes of a commit that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It is handled as usual.
    Proceed,
    /// It is refused as a conflict; nothing is written.
    Conflict,
    /// It is refused as unavailable; nothing is written.
    Unavailable,
    /// Nothing is written, and the client is not told so.
    UnknownNotApplied,
    /// It is handled as usual, and the client does not learn that it committed.
    UnknownApplied,
    /// It takes effect this much later, if it then still can.
    Delay(Duration),
}

/// Decides what goes wrong for the clients of one handle.
pub trait StoreFaults: Send + Sync + 'static {
    /// Asked once for each transaction that begins.
    fn on_begin(&self) -> BeginFate {
        BeginFate::Proceed
    }

    /// Asked once for each commit that writes, with the keys and logs it writes.
    fn on_commit(&self, keys_written: &[Arc<str>]) -> CommitFate;
}
