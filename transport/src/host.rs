//! What this crate asks of the process around it.

use std::{future::Future, pin::Pin};

use crate::{
    id::NodeId,
    wire::{Class, Frame},
};

/// A task without a result.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks, entropy and the wall clock; the one way this crate reaches any of them.
///
/// Monotonic time and timers come from the [`quinn::Runtime`] that a link is started with, so that
/// QUIC's own timers and ours follow one clock.
pub trait Host: Send + Sync + 'static {
    /// Starts a task that ends with the node.
    fn spawn(&self, name: &'static str, task: Task);

    /// Fresh entropy for the named use, different at every call. In production it is the operating
    /// system's, and fit for keys; in a simulation it follows from the seed of the run.
    fn seed(&self, stream: &'static str) -> [u8; 32];

    /// Whole seconds since 1970-01-01 UTC, for the validity of certificates.
    fn unix_secs(&self) -> u64;

    /// A frame of a peer is handed up. Nobody wants to be told but who watches a simulation.
    fn heard(&self, _from: &NodeId, _class: Class, _frame: &Frame) {}
}
