//! Plans as values: JSON, words, and the draws of a swarm.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use updraft_harness::{
    fault::{
        DriverTrouble, Fault, FaultKind, FaultPlan, LinkTrouble, NodeTrouble, Place, Swarm, Target,
        regression, strategy,
    },
    world::Tier,
};

use super::targets;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn example() -> FaultPlan {
    let one_way = Fault::Link {
        from: Target::DataCentre("london".to_owned()),
        to: Target::node("c"),
        both_ways: false,
        trouble: LinkTrouble::Loss { percent: 30 },
    };
    let rack = Target::Rack(Place::new("tunis", "r1"));
    let operation = "hypervisor/Define".to_owned();
    let trouble = DriverTrouble::Late { by: Duration::from_millis(1_500) };
    FaultPlan::new(7)
        .with(secs(1), secs(2), one_way)
        .with(secs(2), secs(120), Fault::Node { nodes: rack, trouble: NodeTrouble::Crash })
        .with(
            secs(0),
            secs(9),
            Fault::Driver { nodes: Target::All, operation, percent: 5, trouble },
        )
}

#[test]
fn a_plan_is_printed_in_plain_words() {
    let words = "1 s to 2 s: from data centre london to c, 30 % is lost\n\
                 2 s to 2 min: rack r1 of tunis: crash, and start again\n\
                 0 s to 9 s: all nodes, hypervisor/Define, 5 %: it is done 1500 ms late\n";
    assert_eq!(example().to_string(), words);
}

#[test]
fn times_are_milliseconds_in_json() {
    let json = serde_json::to_value(example()).unwrap();
    let step = &json["steps"][2];
    assert_eq!((&step["from_ms"], &step["until_ms"]), (&0.into(), &9_000.into()));
    assert_eq!(step["fault"]["driver"]["trouble"]["late"]["by_ms"], 1_500);
}

#[test]
fn a_plan_ends_with_its_last_fault_and_can_be_moved() {
    assert_eq!(example().ends(), secs(120));
    assert_eq!(example().later(secs(5)).ends(), secs(125));
    assert_eq!(FaultPlan::new(1).ends(), Duration::ZERO);
}

/// What the test of `written.rs` runs.
pub(super) fn storm(seed: u64, plan: &FaultPlan) {
    assert_eq!((seed, plan.ends()), (7, secs(120)));
}

#[test]
fn a_regression_test_is_what_compiles_in_a_file() {
    let text = regression("storm_7", "crate::plan::storm", 7, &example());
    let file = include_str!("written.rs");
    assert!(file.ends_with(&text), "{text}");
}

#[test]
fn every_kind_is_drawn_and_has_a_word_for_tiers_two_and_three() {
    let plans = (0..400).map(|seed| Swarm::draw(seed, &targets()));
    let drawn: BTreeSet<FaultKind> =
        plans.flat_map(|plan| plan.steps).map(|step| step.fault.kind()).collect();
    for kind in FaultKind::ALL {
        assert!(drawn.contains(kind), "{kind} is never drawn");
        assert!(kind.on(Tier::Quic).is_some() && kind.on(Tier::Disks).is_some(), "{kind}");
        let without = kind.on(Tier::Memory).is_none();
        assert_eq!(without, *kind == FaultKind::FormerWire, "{kind}");
    }
}

#[test]
fn the_table_of_the_book_is_the_table_of_the_program() {
    let book = include_str!("../../../book/src/faults.md");
    for kind in FaultKind::ALL {
        let on = |tier| kind.on(tier).unwrap_or("—");
        let cells = [Tier::Memory, Tier::Quic, Tier::Real].map(on).join(" | ");
        assert_eq!(on(Tier::Quic), on(Tier::Disks), "{kind}");
        assert!(book.contains(&format!("| {kind} | {cells} |")), "{kind}");
    }
}

#[test]
fn seeds_have_mixes_of_their_own() {
    let kinds = |seed| {
        let plan = Swarm::draw(seed, &targets());
        plan.steps.iter().map(|step| step.fault.kind()).collect::<BTreeSet<_>>().len()
    };
    let counts: Vec<usize> = (0..200).map(kinds).collect();
    let few = counts.iter().filter(|count| **count <= 4).count();
    let many = counts.iter().filter(|count| **count >= FaultKind::ALL.len() / 2).count();
    assert!(few >= 10 && many >= 10, "{few} seeds have few kinds, {many} have many: {counts:?}");
    assert!(!counts.contains(&0));
}

#[test]
fn only_what_may_be_drawn_is_drawn() {
    let mut targets = targets();
    targets.kinds = vec![FaultKind::Loss, FaultKind::Pause];
    let plans = (0..100).map(|seed| Swarm::draw(seed, &targets));
    let drawn: BTreeSet<_> = plans.flat_map(|plan| plan.steps).map(|s| s.fault.kind()).collect();
    assert_eq!(drawn, BTreeSet::from([FaultKind::Loss, FaultKind::Pause]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_survives_json(plan in strategy::plans(targets())) {
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_seed_draws_one_plan_within_its_time(seed in any::<u64>()) {
        let plan = Swarm::draw(seed, &targets());
        prop_assert_eq!(&plan, &Swarm::draw(seed, &targets()));
        prop_assert_eq!(plan.to_string().lines().count(), plan.steps.len());
        prop_assert!(plan.ends() <= targets().duration);
        prop_assert!(plan.steps.iter().all(|step| step.from < step.until));
    }
}
