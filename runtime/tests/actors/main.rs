//! Actors of one node: who is started anew, in which order they stop, what their mailboxes hold.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod mailboxes;
mod supervision;
mod troupe;
