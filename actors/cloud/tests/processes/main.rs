//! The `updraft` command as people run it: real processes on this machine, with simulated guests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod cloud;
mod joining;
