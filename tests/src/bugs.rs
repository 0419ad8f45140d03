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
pub mod parts;
pub mod plans;
pub mod records;
mod scenario;
pub mod tokens;
pub mod users;
pub mod walks;

use serde::{Deserialize, Serialize};
use updraft_harness::campaign::shrink::shorter;

pub use scenario::{SCENARIOS, Scenario, reaching};

/// The case of a scenario that takes its steps one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps<S> {
    /// Everything else that is random.
    pub seed: u64,
    /// What happens, in order.
    pub steps: Vec<S>,
}

impl<S: Clone> Steps<S> {
    /// The same with less happening.
    #[must_use]
    pub fn smaller(&self) -> Vec<Self> {
        shorter(&self.steps).into_iter().map(|steps| Self { steps, ..self.clone() }).collect()
    }
}
