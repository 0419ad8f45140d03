//! Overrides entropy and clock in a simulation binary.
