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
        let less = smaller(&self.steps, &self.faults, targets).into_iter();
        less.map(|(steps, faults)| Self { steps, faults, ..self.clone() }).collect()
    }
}

/// Fewer steps, and less of the faults.
pub(super) fn smaller<T: Clone>(
    steps: &[T],
    faults: &FaultPlan,
    targets: &Targets,
) -> Vec<(Vec<T>, FaultPlan)> {
    let fewer = shorter(&faults.steps).into_iter();
    let fewer = fewer.map(|steps| FaultPlan { steps, ..faults.clone() });
    let shorter = shorter(steps).into_iter().map(|steps| (steps, faults.clone()));
    let all = |faults| (steps.to_vec(), faults);
    fewer.map(all).chain(shorter).chain(reductions(faults, targets).into_iter().map(all)).collect()
}
