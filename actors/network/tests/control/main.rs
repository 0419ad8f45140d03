//! The control side of the network service, as clients, the compute service and hosts see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod filters;
mod floatingips;
mod isolation;
mod lists;
mod networks;
mod overlays;
mod ports;
mod quotas;
mod routers;
mod routing;
mod security;
mod servers;
mod subnets;
mod support;
mod trace;
