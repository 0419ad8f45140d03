//! QUIC over the loopback interface: what arrives, who is refused, and what happens when a peer goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

mod bodies;
mod cloud;
mod counts;
mod crowd;
mod drain;
mod flood;
mod hostile;
mod joining;
mod life;
mod refusals;
mod revocation;
mod roaming;
mod slow;
mod traffic;
