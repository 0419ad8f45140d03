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
mod standing;
pub mod vitals;

use updraft_runtime::store::{Schema, Shape};

pub use control::{Control, ControlConfig};
pub use host::{Host, HostDrivers};

/// What has changed in the rows of each control service since the first of them were written: nothing that a serde
/// default does not say.
const SCHEMAS: [Schema; 6] = [
    unchanged("identity"),
    unchanged("image"),
    unchanged("compute"),
    unchanged("network"),
    unchanged("volume"),
    unchanged("membership"),
];

const fn unchanged(service: &'static str) -> Schema {
    Schema { service, changes: &[] }
}

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
