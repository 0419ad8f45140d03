//! The edge from outside: tokens, verdicts, and every service's formats.
#![allow(clippy::expect_used, reason = "all of it is test code, helpers too")]

mod auth;
mod body;
mod errors;
mod fixture;
mod pages;
mod seal;
mod token;
mod verify;
mod versions;
