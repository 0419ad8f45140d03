//! The image service from outside: as users and as other services meet it.
#![allow(clippy::expect_used, reason = "a test may fail")]

mod create;
mod data;
mod faults;
mod list;
mod members;
mod patch;
mod rpc;
mod support;
