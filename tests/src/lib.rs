//! The cloud in the harness.

pub mod census;
pub mod cloud;
pub mod filters;
pub mod flow;
pub mod invariants;
pub mod life;
pub mod models;
pub mod points;
pub mod same;
pub mod scenario;
pub mod sweep;
pub mod workload;
