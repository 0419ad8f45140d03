//! A boot storm: many servers are asked for at once, over all control nodes, while keys rotate and anything goes wrong.

use proptest::{collection, prelude::*};
use updraft_harness::campaign::{Options, Run, Scenario};

use crate::{
    cloud::Size,
    workload::{self, Ask, Case, ROTATED, Step, gen_case},
};

/// Steps of a storm: some more servers than the project's quota takes, so that some are refused.
const STEPS: std::ops::RangeInclusive<usize> = 10..=20;

/// The memory of each host: with three servers it is full, so that hosts that fit do not when they are claimed.
const HOST_MEMORY_MIB: u64 = 192;

/// The scenario.
pub struct Storm;

impl Scenario for Storm {
    type Case = Case;

    fn name(&self) -> &'static str {
        "storm"
    }

    fn about(&self) -> &'static str {
        "many servers are asked for at once, while keys rotate and anything goes wrong"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &["MakeServer", "DeleteServer", "LogIn", ROTATED]
    }

    fn covers(&self) -> &'static [&'static str] {
        &["updraft_compute::scheduler"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        Case::draw(seed, options, &steps(), gen_case::targets(options.tier))
    }

    fn run(&self, case: &Case, run: &Run) {
        workload::run_of(case, run, Size { host_memory_mib: HOST_MEMORY_MIB, ..Size::default() });
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        super::smaller(case)
    }
}

/// A while, the servers in one go, with other keys and tokens now and then; another while, and some of them are to go
/// again before they are made. A young cloud does not let its keys be rotated.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let make = (0..3_u8, gen_case::new_server());
    let make = make.prop_map(|(node, server)| Step::Ask(node, Ask::MakeServer(server)));
    let log_in = (0..3_u8).prop_map(|node| Step::Ask(node, Ask::LogIn));
    let step = prop_oneof![8 => make, 1 => Just(Step::RotateKeys), 1 => log_in];
    let delete = (0..3_u8, 0..16_u8);
    let deletes = delete.prop_map(|(node, which)| Step::Ask(node, Ask::DeleteServer(which)));
    let wait = |until_ms: u16| (0..until_ms).prop_map(|millis| vec![Step::Wait(millis)]);
    let (storm, deletes) = (collection::vec(step, STEPS), collection::vec(deletes, 0..6));
    (wait(12_000), storm, wait(3_000), deletes)
        .prop_map(|(first, storm, then, deletes)| [first, storm, then, deletes].concat())
}
