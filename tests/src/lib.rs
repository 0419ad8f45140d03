//! The cloud in the harness.
