//! Random users and random troubles: what they make lives, changes, and goes.

use updraft_harness::campaign::{Options, Run, Scenario};

use crate::workload::{self, Case, gen_case};

/// The scenario.
pub struct Life;

impl Scenario for Life {
    type Case = Case;

    fn name(&self) -> &'static str {
        "life"
    }

    fn about(&self) -> &'static str {
        "users make, change and delete whatever they like, while anything goes wrong"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &workload::MARKS
    }

    fn covers(&self) -> &'static [&'static str] {
        &super::COVERED
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        Case::draw(seed, options, &gen_case::steps(), gen_case::targets(options.tier))
    }

    fn run(&self, case: &Case, run: &Run) {
        workload::run(case, run);
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        super::smaller(case)
    }
}
