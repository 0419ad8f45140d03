//! The composition root: what runs on a control node, what runs on a compute host, and how a machine becomes
//! either.
//!
//! The same two compositions run in the simulator and in the `updraft` program; only the parts they are given
//! differ: environment, transport, store and drivers.

pub mod backup;
pub mod control;
pub mod events;
pub mod flow;
pub mod host;
pub mod machine;
pub mod membership;
mod rest;
pub mod vitals;

use updraft_runtime::store::Shape;

pub use control::{Control, ControlConfig};
pub use host::{Host, HostDrivers};

/// Every kind of row that a data directory may hold.
#[must_use]
pub fn stored() -> Vec<Shape> {
    let mut shapes = updraft_identity::stored();
    shapes.extend(updraft_image::stored());
    shapes.extend(updraft_compute::stored());
    shapes.extend(updraft_network::stored());
    shapes.extend(updraft_volume::stored());
    shapes.extend(membership::stored());
    shapes
}
