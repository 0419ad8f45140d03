//! The store: what every engine promises, and what only a disk can show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod copies;
mod crash;
mod faults;
mod kill;
mod migrate;
mod model;
mod open;
mod owners;
#[cfg(feature = "postgres")]
mod postgres;
mod support;
