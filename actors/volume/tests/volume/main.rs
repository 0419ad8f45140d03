//! The volume service from outside: as users, as other services and as its hosts meet it.
#![allow(clippy::expect_used, reason = "a test may fail")]

mod attach;
mod exports;
mod faults;
mod node;
mod operators;
mod qemu;
mod snapshots;
mod support;
mod volumes;
