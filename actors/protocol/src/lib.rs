//! The messages and types of all services. No code beyond what a type needs to be itself.

pub mod compute;
pub mod hypervisor;
pub mod identity;
pub mod image;
pub mod membership;
pub mod network;
pub mod volume;
