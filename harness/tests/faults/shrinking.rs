//! Plans are made small, as far as it goes.

use std::{cell::Cell, time::Duration};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner},
};
use updraft_harness::fault::{
    Fault, FaultKind, FaultPlan, LinkTrouble, Swarm, Target, reductions, shrink, strategy,
};

use super::targets;

/// More runs than any of these takes.
const RUNS_MAX: usize = 5_000;

/// What a system might fail by.
type Fails = fn(&FaultPlan) -> bool;

fn has(plan: &FaultPlan, kind: FaultKind) -> bool {
    plan.steps.iter().any(|step| step.fault.kind() == kind)
}

fn meets(target: &Target, node: &str) -> bool {
    match target {
        Target::All => true,
        Target::Nodes(nodes) => nodes.iter().any(|known| known == node),
        Target::DataCentre(name) => targets().data_centres[name].iter().any(|known| known == node),
        Target::Rack(_) => false,
    }
}

const A_CRASH: Fails = |plan| has(plan, FaultKind::Crash);
const A_CRASH_AND_A_SKEW: Fails = |plan| has(plan, FaultKind::Crash) && has(plan, FaultKind::Skew);
const LOSS_FOR_B: Fails = |plan| {
    plan.steps.iter().any(|step| match &step.fault {
        Fault::Link { from, trouble: LinkTrouble::Loss { percent }, .. } => {
            meets(from, "b") && *percent >= 4
        }
        _ => false,
    })
};
const A_LONG_PAUSE: Fails = |plan| {
    let lasts = |kind| {
        let steps = plan.steps.iter().filter(move |step| step.fault.kind() == kind);
        steps.map(|step| step.until - step.from).max().unwrap_or_default()
    };
    lasts(FaultKind::Pause) >= Duration::from_secs(3)
};
const THREE_AT_A_TIME: Fails = |plan| {
    plan.steps.iter().any(|one| plan.steps.iter().filter(|s| s.is_present(one.from)).count() >= 3)
};

const ALL: [Fails; 5] = [A_CRASH, A_CRASH_AND_A_SKEW, LOSS_FOR_B, A_LONG_PAUSE, THREE_AT_A_TIME];

/// The first plans that fail so.
fn failing(fails: Fails) -> impl Iterator<Item = FaultPlan> {
    (0..).map(|seed| Swarm::draw(seed, &targets())).filter(fails).take(10)
}

#[test]
fn nothing_less_than_the_shrunk_plan_fails() {
    for fails in ALL {
        for plan in failing(fails) {
            let shrunk = shrink(&plan, &targets(), RUNS_MAX, fails);
            assert!(shrunk.is_minimal && fails(&shrunk.plan), "{shrunk:?}");
            let less = reductions(&shrunk.plan, &targets()).into_iter().find(fails);
            assert_eq!(less, None, "less than this fails:\n{}", shrunk.plan);
        }
    }
}

#[test]
fn what_is_left_is_what_it_takes() {
    for plan in failing(A_CRASH_AND_A_SKEW) {
        let shrunk = shrink(&plan, &targets(), RUNS_MAX, A_CRASH_AND_A_SKEW).plan;
        assert_eq!(shrunk.steps.len(), 2, "{shrunk}");
        for step in &shrunk.steps {
            let one =
                matches!(step.fault.targets()[..], [Target::Nodes(nodes)] if nodes.len() == 1);
            let short = step.until - step.from < Duration::from_millis(40);
            assert!(one && short, "{shrunk}");
        }
    }
    for plan in failing(LOSS_FOR_B) {
        let shrunk = shrink(&plan, &targets(), RUNS_MAX, LOSS_FOR_B).plan;
        let [step] = &shrunk.steps[..] else { panic!("{shrunk}") };
        let Fault::Link { from, both_ways, trouble: LinkTrouble::Loss { percent }, .. } =
            &step.fault
        else {
            panic!("{shrunk}")
        };
        assert_eq!((from, both_ways), (&Target::node("b"), &false), "{shrunk}");
        assert!((4..8).contains(percent), "{shrunk}");
    }
}

#[test]
fn runs_are_limited_and_what_was_found_by_then_is_kept() {
    for plan in failing(THREE_AT_A_TIME) {
        let runs = Cell::new(0);
        let shrunk = shrink(&plan, &targets(), 7, |plan| {
            runs.set(runs.get() + 1);
            THREE_AT_A_TIME(plan)
        });
        assert_eq!((shrunk.runs, runs.get()), (7, 7));
        assert!(!shrunk.is_minimal && THREE_AT_A_TIME(&shrunk.plan));
    }
}

#[test]
fn a_plan_that_does_not_matter_goes_away() {
    for seed in 0..20 {
        let plan = Swarm::draw(seed, &targets());
        assert_eq!(shrink(&plan, &targets(), RUNS_MAX, |_| true).plan.steps, []);
        let shrunk = shrink(&plan, &targets(), RUNS_MAX, |_| false);
        assert_eq!(shrunk.plan, plan);
    }
}

#[test]
fn proptest_simplifies_to_the_same_end() {
    let config =
        Config { max_shrink_iters: 50_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let ran = runner.run(&strategy::plans(targets()), |plan| {
        if A_CRASH_AND_A_SKEW(&plan) { Err(TestCaseError::fail("it fails")) } else { Ok(()) }
    });
    let Err(TestError::Fail(_, plan)) = ran else { panic!("{ran:?}") };
    let less = reductions(&plan, &targets()).into_iter().find(A_CRASH_AND_A_SKEW);
    assert!(A_CRASH_AND_A_SKEW(&plan) && less.is_none(), "{plan}");
}

#[test]
fn a_tree_that_nothing_less_of_fails_comes_back_to_its_plan() {
    let mut tree = strategy::plans(targets()).new_tree(&mut TestRunner::deterministic()).unwrap();
    let first = tree.current();
    assert!(tree.simplify() && tree.current() != first);
    while tree.complicate() {}
    assert_eq!(tree.current(), first);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a run is like, less and less comes to an end, and is never more.
    #[test]
    fn less_and_less_ends(seed in any::<u64>(), turns in proptest::collection::vec(any::<prop::sample::Index>(), 400)) {
        let mut plan = Swarm::draw(seed, &targets());
        for turn in turns {
            let mut less = reductions(&plan, &targets());
            if less.is_empty() {
                break;
            }
            let smaller = less.swap_remove(turn.index(less.len()));
            prop_assert!(smaller.steps.len() <= plan.steps.len());
            prop_assert!(smaller != plan && smaller.ends() <= plan.ends());
            plan = smaller;
        }
    }
}
