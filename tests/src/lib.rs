//! The cloud in the harness.

pub mod cloud;
