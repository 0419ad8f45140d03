//! The `updraft` command as people run it: real processes on this machine, with simulated guests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of it is test code, helpers too")]

mod cloud;
mod consoles;
mod controls;
mod database;
mod ending;
mod joining;
mod kills;
mod logs;
mod mistakes;
#[path = "../../../../runtime/tests/store/postgres/server.rs"]
#[allow(dead_code, reason = "the tests of the store need more of it")]
mod postgres;
mod removing;
mod secrecy;
mod space;
mod stored;
