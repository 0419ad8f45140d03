//! A deterministic world for anyone's actors.

pub mod explore;
pub mod quic;
pub mod world;
