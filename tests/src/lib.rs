//! The cloud in the harness.

pub mod cloud;
pub mod filters;
pub mod flow;
pub mod same;
