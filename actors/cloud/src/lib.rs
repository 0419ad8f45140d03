//! Composition root and the updraft command.
