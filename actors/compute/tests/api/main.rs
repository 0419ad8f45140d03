//! Compute's REST API, asked as clients ask it.
#![allow(clippy::expect_used, reason = "all of it is test code, helpers too")]

mod actions;
mod admin;
mod cloud;
mod consoles;
mod errors;
mod evacuate;
mod faults;
mod flavors;
mod groups;
mod history;
mod identity;
mod keypairs;
mod list;
mod metadata;
mod migrate;
mod peers;
mod quotas;
mod servers;
mod states;
mod trace;
mod versions;
mod volumes;
