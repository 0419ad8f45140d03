//! Planted bugs, and the campaign that finds them.
//!
//! Owns the scenarios that reach the places where bugs can be planted, and the hunt: seeds of these scenarios with the
//! bug planted, until a check says that something is wrong. Nothing in a scenario knows which bug is planted, or
//! whether one is: the same seed without the bug passes, which is looked at too.

pub mod crowd;
pub mod disks;
pub mod hunt;
pub mod late;
pub mod leases;
pub mod links;
pub mod messages;
pub mod plans;
pub mod records;
mod scenario;
pub mod tokens;
pub mod users;

use std::fmt;

pub use scenario::{SCENARIOS, Scenario, reaching};

/// A plan as it is printed: the seed, and the steps with their numbers.
fn listed<T: fmt::Debug>(f: &mut fmt::Formatter<'_>, seed: u64, steps: &[T]) -> fmt::Result {
    writeln!(f, "seed {seed}")?;
    for (number, step) in steps.iter().enumerate() {
        writeln!(f, "{number:>3}  {step:?}")?;
    }
    Ok(())
}
