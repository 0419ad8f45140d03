//! The identity service from outside: as clients and as other control nodes meet it.
#![allow(clippy::expect_used, reason = "a test may fail")]

mod assignments;
mod catalog;
mod cluster;
mod groups;
mod mistakes;
mod places;
mod revocation;
mod roles;
mod rotation;
mod services;
mod support;
mod tokens;
mod users;
