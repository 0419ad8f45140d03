//! The cloud in the harness.

#[cfg(feature = "planted")]
pub mod bugs;
pub mod census;
pub mod cloud;
mod contracts;
pub mod filters;
pub mod fleet;
pub mod flow;
pub mod invariants;
pub mod life;
pub mod models;
pub mod points;
pub mod rows;
pub mod same;
pub mod scenario;
pub mod sweep;
pub mod workload;
