//! A deterministic world for anyone's actors.
