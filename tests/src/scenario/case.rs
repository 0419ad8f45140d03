//! A case that is a list of steps and a plan of what goes wrong meanwhile.

use std::fmt;

use proptest::strategy::Strategy;
use serde::{Deserialize, Serialize};
use updraft_harness::{
    campaign::{Options, shrink::shorter},
    fault::{FaultPlan, Targets, reductions},
};

use super::{drawn, faults};

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case<S> {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// What happens, in order.
    pub steps: Vec<S>,
    /// What goes wrong, by times since the first step.
    pub faults: FaultPlan,
}

/// A line for each step, and the plan in words.
impl<S: fmt::Display> fmt::Display for Case<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:>3}  {step}")?;
        }
        write!(f, "{}", self.faults)
    }
}

impl<S: Clone + fmt::Debug> Case<S> {
    /// The case of a seed, with faults of the kinds that are wanted.
    pub(super) fn draw(
        seed: u64,
        options: &Options,
        steps: &impl Strategy<Value = Vec<S>>,
        targets: Targets,
    ) -> Self {
        Self { seed, steps: drawn(steps, seed), faults: faults(seed, options, targets) }
    }

    /// Smaller cases: fewer steps, and less of the faults.
    pub(super) fn smaller(&self, targets: &Targets) -> Vec<Self> {
        let fewer = shorter(&self.faults.steps).into_iter();
        let fewer = fewer.map(|steps| FaultPlan { steps, ..self.faults.clone() });
        let with_faults = |faults| Self { faults, ..self.clone() };
        let steps = shorter(&self.steps).into_iter().map(|steps| Self { steps, ..self.clone() });
        let less = reductions(&self.faults, targets).into_iter();
        fewer.map(with_faults).chain(steps).chain(less.map(with_faults)).collect()
    }
}
