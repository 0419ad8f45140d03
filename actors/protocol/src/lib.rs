//! The messages and types of all services.
