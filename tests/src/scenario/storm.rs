//! A boot storm: many servers are asked for at once, over all control nodes, while anything goes wrong.

use proptest::{collection, prelude::*};
use updraft_harness::campaign::{Options, Run, Scenario};

use crate::workload::{self, Ask, Case, Step, gen_case};

/// Servers of a storm: some more than the project's quota takes, so that some are refused.
const SERVERS: std::ops::RangeInclusive<usize> = 8..=16;

/// The scenario.
pub struct Storm;

impl Scenario for Storm {
    type Case = Case;

    fn name(&self) -> &'static str {
        "storm"
    }

    fn about(&self) -> &'static str {
        "many servers are asked for at once, while anything goes wrong"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &["MakeServer", "DeleteServer"]
    }

    fn covers(&self) -> &'static [&'static str] {
        &["updraft_compute::scheduler"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        Case::draw(seed, options, &steps(), gen_case::targets(options.tier))
    }

    fn run(&self, case: &Case, run: &Run) {
        workload::run(case, run);
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        super::smaller(case)
    }
}

/// The servers in one go, a while, and some of them are to go again before they are made.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let make = (0..3_u8, gen_case::new_server());
    let makes = make.prop_map(|(node, server)| Step::Ask(node, Ask::MakeServer(server)));
    let delete = (0..3_u8, 0..16_u8);
    let deletes = delete.prop_map(|(node, which)| Step::Ask(node, Ask::DeleteServer(which)));
    let wait = (0..3_000_u16).prop_map(|millis| vec![Step::Wait(millis)]);
    let (makes, deletes) = (collection::vec(makes, SERVERS), collection::vec(deletes, 0..6));
    (makes, wait, deletes).prop_map(|(makes, wait, deletes)| [makes, wait, deletes].concat())
}
