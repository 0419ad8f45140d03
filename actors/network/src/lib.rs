//! The network service.

pub mod agent;
pub mod driver;
