//! A hypervisor and disks that exist in memory only, with every fault that a real one has.
//!
//! The flow over them is the real flow: the same rows, messages and files' digests. What a simulated host
//! holds outlives its node's process, as guests do; a fault is decided by a hook before each operation, so
//! that a test can count operations and pick one.

mod disks;
mod host;
mod png;
mod screen;

pub use disks::{DiskFaults, DiskOp, SimulatedDisks};
pub use host::{Fault, Faults, NoFaults, SimulatedHost, SimulatedHypervisor};
