//! A deterministic world for anyone's actors.

pub mod quic;
pub mod world;
