//! The network service: networks, subnets, ports, security groups, routers and floating IPs, and the
//! agents that make ports real on hosts.
//!
//! Two halves share only messages. [`Network`] runs on control nodes: it owns the rows below `network/`,
//! answers clients and the compute service, and drives ports until the agents of their hosts have
//! confirmed them. [`agent`] runs on hosts and keeps what it was told on its own disk.
//!
//! Never: an address given twice; a port plugged on a second host before the first has let go; a network or
//! subnet deleted under a port; a late request making ports for a server that is gone.

pub mod agent;
pub mod driver;

mod actor;
mod agents;
mod api;
mod config;
mod converge;
mod error;
mod follow;
mod ipam;
mod ops;
pub mod plan;
pub mod policy;
pub mod rows;
mod service;
mod work;

pub use actor::STEP_ALLOCATED;
pub use config::Config;
pub use converge::{Ports, STEP_RECORDED};
pub use error::{Kind, NetworkError};
pub use service::Network;

use updraft_runtime::store::Shape;

/// Every kind of row that this crate stores, on control nodes and on hosts.
#[must_use]
pub fn stored() -> Vec<Shape> {
    let mut shapes = vec![
        Shape::of::<rows::NetworkRow>(),
        Shape::of::<rows::SubnetRow>(),
        Shape::of::<rows::AllocationRow>(),
        Shape::of::<rows::PortRow>(),
        Shape::of::<rows::DeviceRow>(),
        Shape::of::<rows::GroupRow>(),
        Shape::of::<rows::RuleRow>(),
        Shape::of::<rows::FilterRow>(),
        Shape::of::<rows::OverlayRow>(),
        Shape::of::<rows::TunnelRow>(),
        Shape::of::<rows::DhcpRow>(),
        Shape::of::<rows::RouterRow>(),
        Shape::of::<rows::FloatingIpRow>(),
        Shape::of::<rows::AgentRow>(),
        Shape::of::<rows::QuotaRow>(),
    ];
    shapes.extend(agent::stored());
    shapes
}
