//! Which addresses there are, and who gets which.
//!
//! Owns pools (what may be chosen) and allocations (what is given). An allocation is a row whose key is
//! its subnet and address, inserted by the transaction that gives it to a port: two ports never have the
//! same, whatever runs at once. Choosing looks at single keys, so that two ports of one subnet seldom
//! conflict; only a subnet that is nearly full is read whole.

mod choose;
mod mac;
mod pool;

pub(crate) use choose::{choose, release, take};
pub(crate) use mac::{MacAddress, interface_id, random_mac};
pub use pool::Pool;
pub(crate) use pool::{check_pools, contains_host, default_gateway, default_pools, gateway_is_end};
