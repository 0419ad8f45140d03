//! A deterministic world for anyone's actors.

pub mod world;
