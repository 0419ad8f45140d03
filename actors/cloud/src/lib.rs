//! The composition root: what runs on a control node, what runs on a compute host, and how a machine becomes
//! either.
//!
//! The same two compositions run in the simulator and in the `updraft` program; only the parts they are given
//! differ: environment, transport, store and drivers.

pub mod control;
pub mod flow;
pub mod host;
pub mod machine;
pub mod membership;
mod rest;

pub use control::{Control, ControlConfig};
pub use host::{Host, HostDrivers};
