//! What was sent comes back weeks later: copies of messages arrive when everything that remembered them has forgotten.

use std::time::Duration;

use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{Fault, FaultKind, LinkTrouble},
};

use super::drawn;
use crate::workload::{self, Case, gen_case};

/// How late copies are.
const WEEKS: Duration = Duration::from_secs(3 * 7 * 24 * 3_600);

/// What must not be in a run: no copy arrives at a node that has started anew, and none of long ago is taken of one.
const ENDS_LIVES: [FaultKind; 2] = [FaultKind::Crash, FaultKind::FormerWire];

/// What a node that remembers what is gone for an hour is told of by nothing younger.
pub(super) const TOLD_LATE: &str = "a volume node is told of what is not wanted any more";

/// The scenario. On tier 1 alone time can pass so fast; on the others no copy comes in time.
pub struct Weeks;

impl Scenario for Weeks {
    type Case = Case;

    fn name(&self) -> &'static str {
        "weeks"
    }

    fn about(&self) -> &'static str {
        "as life without crashes, and three weeks later copies of what was sent arrive, half the time for what is gone"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
            .into_iter()
            .filter(|kind| ENDS_LIVES.iter().all(|e| e.name() != *kind))
            .collect()
    }

    fn marks(&self) -> &'static [&'static str] {
        &[TOLD_LATE]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        let steps = drawn(&gen_case::steps(), seed);
        let targets = gen_case::targets(options.tier).without(&ENDS_LIVES);
        let faults = super::faults(seed, options, targets);
        let trouble = LinkTrouble::StaleCopy { percent: 100, after: WEEKS };
        let faults = faults.with(Duration::ZERO, gen_case::FAULTS_MAX, Fault::everywhere(trouble));
        Case { seed, steps, faults }
    }

    fn run(&self, case: &Case, run: &Run) {
        workload::run_and_later(case, run, WEEKS);
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        super::smaller(case)
    }
}
