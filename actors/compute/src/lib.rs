//! The compute service.
