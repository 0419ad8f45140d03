//! The volume service.
