//! The network service.
