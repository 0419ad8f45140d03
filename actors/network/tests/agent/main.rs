//! The agent of one host, as its callers and its guests see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the tests are the world")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

mod faults;
mod fencing;
#[cfg(target_os = "linux")]
mod linux;
mod metadata;
mod reach;
mod reconcile;
mod world;
