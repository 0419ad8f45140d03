//! A deterministic world for anyone's actors.

pub mod campaign;
pub mod disk;
pub mod explore;
pub mod fault;
pub mod history;
pub mod quic;
pub mod record;
pub mod tcp;
pub mod timeline;
mod wire;
pub mod world;

/// The example of the README, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
