//! What any supervised, distributed service needs, and nothing about clouds.
//!
//! Owns the environment (the one door to time, entropy, tasks and blocking work), calls between
//! actors on many nodes, the store, converging rows, the directory of members and the trace.

pub mod env;

pub use env::Env;
