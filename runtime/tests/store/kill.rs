//! Whoever is killed in the middle of heavy writing has lost nothing that was acknowledged: the process that writes,
//! on each engine that keeps anything, and PostgreSQL itself.
//!
//! What was said is kept outside, by the process that kills. After every kill the store is opened anew and compared
//! with that: see [`told`].

mod processes;
#[cfg(feature = "postgres")]
mod server;
mod steps;
mod told;

/// How often each of them is killed.
const KILLS: u64 = 50;
/// Writers at once, so that commits are grouped.
const WRITERS: u64 = 8;
