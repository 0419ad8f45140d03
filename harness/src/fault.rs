//! Faults as values: what goes wrong in a world, when, and for whom.
//!
//! Owns the [`FaultPlan`]: it is printed in plain words, written as JSON, replayed exactly, drawn from a seed by a
//! [`Swarm`], and made small by [`shrink`]. A world that [follows](crate::world::World::follow) a plan applies it
//! as time passes, and [`Faults`] is its handle, which whatever is simulated asks. Everything that follows from chance
//! follows from the plan's seed. Each time that a fault strikes it is counted. Knows nothing of what the nodes do.
//!
//! What a fault is on each tier is a table, [`FaultKind::on`]; a world says in its log which faults of a plan its tier
//! has nothing of.

mod clock;
mod database;
mod disk;
mod faults;
mod kind;
mod links;
mod millis;
mod regression;
mod shrink;
mod span;
pub mod strategy;
mod swarm;
mod target;
mod tiers;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use faults::{Faults, Struck};
pub use kind::{
    ClockTrouble, DatabaseTrouble, DiskTrouble, DriverTrouble, Fault, FaultKind, LinkTrouble,
    NodeTrouble,
};
pub use links::{Copy, Damage};
pub use regression::regression;
pub use shrink::{Shrunk, reductions, shrink};
pub use swarm::{Swarm, Targets};
pub use target::{Far, Place, Target, Topology};

pub(crate) use disk::{DiskStruck, OnDisk};
pub(crate) use faults::Life;

/// A fault, and from when until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStep {
    /// From this time since the start of the world on; milliseconds in JSON.
    #[serde(rename = "from_ms", with = "millis")]
    pub from: Duration,
    /// Until then; milliseconds in JSON.
    #[serde(rename = "until_ms", with = "millis")]
    pub until: Duration,
    /// What.
    pub fault: Fault,
}

impl FaultStep {
    /// Whether the fault is present at this time since the start of the world.
    #[must_use]
    pub fn is_present(&self, at: Duration) -> bool {
        self.from <= at && at < self.until
    }
}

/// Everything that goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// Everything that follows from chance follows from it.
    pub seed: u64,
    /// In any order. Several may be present at a time.
    pub steps: Vec<FaultStep>,
}

impl FaultPlan {
    /// A plan in which nothing goes wrong.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, steps: Vec::new() }
    }

    /// The same with this fault from when until when, since the start of the world.
    #[must_use]
    pub fn with(mut self, from: Duration, until: Duration, fault: Fault) -> Self {
        self.steps.push(FaultStep { from, until, fault });
        self
    }

    /// When the last fault ends, since the start of the world.
    #[must_use]
    pub fn ends(&self) -> Duration {
        self.steps.iter().map(|step| step.until).max().unwrap_or_default()
    }

    /// The same so much later.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        for step in &mut self.steps {
            (step.from, step.until) = (step.from + by, step.until + by);
        }
        self
    }
}
