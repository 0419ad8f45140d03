//! Worlds that follow plans: again and again the same, with whole data centres, and honest about what they cannot do.

use std::time::Duration;

use updraft_harness::{
    fault::{
        DriverTrouble, Far, Fault, FaultKind, FaultPlan, LinkTrouble, NodeTrouble, Place, Swarm,
        Target, Targets, Topology,
    },
    record::difference,
    world::{Tier, World},
};
use updraft_transport::NodeId;

use super::talk::{self, NODES};

const TIERS: [Tier; 2] = [Tier::Memory, Tier::Quic];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// a and b in two racks of London, c in Tunis.
fn places() -> Topology {
    let far = Far {
        latency: Duration::from_millis(40)..=Duration::from_millis(45),
        bytes_per_second: Some(1_000_000),
    };
    Topology::new()
        .with("a", Place::new("london", "r1"))
        .with("b", Place::new("london", "r2"))
        .with("c", Place::new("tunis", "r1"))
        .apart("london", "tunis", far)
}

#[test]
fn the_same_plan_is_the_same_run() {
    let targets = Targets::new(&NODES, secs(4));
    for (tier, seeds) in [(Tier::Memory, 1..=8), (Tier::Quic, 1..=2)] {
        for seed in seeds {
            let run = || {
                let plan = Swarm::draw(seed, &targets);
                let (_, world) = talk::run(tier, plan, Topology::new(), secs(6));
                let frames = if tier == Tier::Memory { world.events() } else { Vec::new() };
                (frames, world.struck())
            };
            let ((one, struck), (other, again)) = (run(), run());
            if let Some(difference) = difference(&one, &other) {
                panic!("{tier:?}, seed {seed}: {difference}");
            }
            assert_eq!(struck, again, "{tier:?}, seed {seed}");
        }
    }
}

#[test]
fn a_plan_that_is_followed_again_draws_the_same_again() {
    let (_, mut world) = talk::run(Tier::Memory, FaultPlan::new(1), Topology::new(), secs(0));
    let fails = Fault::Driver {
        nodes: Target::All,
        operation: String::new(),
        percent: 50,
        trouble: DriverTrouble::Fails,
    };
    let mut draws = || {
        world.follow(FaultPlan::new(5).with(secs(0), secs(60), fails.clone()));
        world.run_for(Duration::from_millis(10));
        // The nodes ask for themselves; nobody else asks for this one.
        let asked = (0..64).map(|_| world.faults().on("nobody", "any").is_some());
        asked.collect::<Vec<_>>()
    };
    let (one, other) = (draws(), draws());
    assert!(one == other && one.contains(&true) && one.contains(&false), "{one:?}");
}

#[test]
fn nodes_keep_the_time_of_their_world() {
    for tier in TIERS {
        let (seen, _) = talk::run(tier, FaultPlan::new(1), Topology::new(), secs(30));
        let wrong = seen.looks.iter().map(|(_, look)| look.wrong_micros.abs()).max();
        // A look is compared with the time of the step before.
        assert!(wrong < Some(6_000), "{tier:?}: {wrong:?}");
    }
}

#[test]
fn between_data_centres_it_is_as_far_as_it_was_said() {
    for tier in TIERS {
        let (seen, _) = talk::run(tier, FaultPlan::new(1), places(), secs(3));
        let took = |from, to| {
            let transits = seen.transits(from, to, (secs(1), secs(2)));
            transits.into_iter().map(|(_, took)| took.unwrap()).collect::<Vec<_>>()
        };
        let near = took("a", "b");
        assert!(near.iter().all(|took| *took < Duration::from_millis(17)), "{tier:?}: {near:?}");
        let range = Duration::from_millis(39)..Duration::from_millis(65);
        for far in [took("a", "c"), took("c", "b")] {
            let all = far.iter().all(|took| range.contains(took));
            assert!(far.len() > 10 && all, "{tier:?}: {far:?}");
        }
    }
}

#[test]
fn a_data_centre_is_lost_and_comes_back_and_so_is_a_rack() {
    let london = Target::DataCentre("london".to_owned());
    let rack = Target::Rack(Place::new("london", "r2"));
    for tier in TIERS {
        for (nodes, gone) in [(london.clone(), &["a", "b"][..]), (rack.clone(), &["b"])] {
            let crash = Fault::Node { nodes, trouble: NodeTrouble::Crash };
            let (_, mut world) = talk::run(tier, FaultPlan::new(1), places(), secs(1));
            world.follow(FaultPlan::new(1).with(secs(2), secs(3), crash));
            world.run_for(Duration::from_millis(1_500));
            let down: Vec<_> = NODES.into_iter().filter(|node| !world.is_up(&id(node))).collect();
            assert_eq!(down, gone, "{tier:?}");
            world.run_for(secs(1));
            assert!(NODES.into_iter().all(|node| world.is_up(&id(node))), "{tier:?}");
            assert_eq!(world.struck()[&FaultKind::Crash], gone.len() as u64);
        }
    }
}

#[test]
fn a_node_that_crashes_for_two_reasons_starts_when_both_are_over() {
    let crash = |nodes| Fault::Node { nodes, trouble: NodeTrouble::Crash };
    let plan = FaultPlan::new(1).with(secs(1), secs(3), crash(Target::node("a"))).with(
        secs(2),
        secs(4),
        crash(Target::All),
    );
    let (seen, world) = talk::run(Tier::Memory, plan, Topology::new(), secs(5));
    let of_a = seen.starts.iter().filter(|(_, node, _)| node == "a");
    let of_a: Vec<_> = of_a.map(|(at, ..)| at.as_secs()).collect();
    assert_eq!((of_a, world.struck()[&FaultKind::Crash]), (vec![0, 4], 3));
}

#[test]
fn who_was_crashed_by_hand_is_not_started_by_a_plan() {
    let crash = Fault::Node { nodes: Target::All, trouble: NodeTrouble::Crash };
    let plan = FaultPlan::new(1).with(secs(1), secs(2), crash);
    let (_, mut world) = talk::run(Tier::Memory, FaultPlan::new(1), Topology::new(), secs(0));
    world.follow(plan);
    world.crash(&id("b"));
    world.run_for(secs(3));
    assert_eq!(NODES.map(|node| world.is_up(&id(node))), [true, false, true]);
}

#[test]
fn loss_and_disorder_are_present_together() {
    for tier in TIERS {
        let (_, mut world) = talk::run(tier, FaultPlan::new(1), Topology::new(), secs(1));
        world.set_loss(0.2);
        world.set_disorder(0.2, 0.2);
        world.run_for(secs(2));
        let kinds = [FaultKind::Loss, FaultKind::Duplication, FaultKind::Reordering];
        let struck = world.struck();
        assert!(kinds.iter().all(|kind| struck.get(kind) > Some(&0)), "{tier:?}: {struck:?}");
        world.set_loss(0.0);
        world.run_for(secs(1));
        let (before, after) = (struck, world.struck());
        assert!(after[&kinds[1]] > before[&kinds[1]], "disorder goes on without loss");
        let lost = after[&FaultKind::Loss] - before[&FaultKind::Loss];
        world.run_for(secs(1));
        assert_eq!(world.struck()[&FaultKind::Loss] - before[&FaultKind::Loss], lost);
    }
}

#[test]
fn a_world_says_what_its_tier_has_nothing_of_and_whom_a_fault_does_not_find() {
    let mut world = World::on_tier(1, Tier::Real);
    let spike = Fault::everywhere(LinkTrouble::LatencySpike { more: secs(1) });
    let crash = Fault::Node { nodes: Target::node("nobody"), trouble: NodeTrouble::Crash };
    let ends = Duration::from_millis(20);
    world.follow(FaultPlan::new(1).with(secs(0), ends, spike).with(secs(0), ends, crash));
    world.run_for(ends * 2);
    let events = world.events().join("\n");
    assert!(
        events.contains("fault that Real has nothing of: between all nodes, all takes 1 s more")
    );
    assert!(events.contains("no node is one of nobody"), "{events}");
}

#[test]
fn a_copy_comes_back_weeks_later_when_the_world_skips_them() {
    let weeks = secs(3 * 7 * 24 * 3_600);
    let trouble = LinkTrouble::StaleCopy { percent: 100, after: weeks };
    let (from, to) = (Target::node("a"), Target::node("b"));
    let fault = Fault::Link { from, to, both_ways: false, trouble };
    let plan = FaultPlan::new(1).with(secs(1), secs(2), fault);
    let run = |skips: bool| {
        let (seen, _) = talk::run_and(Tier::Memory, plan.clone(), Topology::new(), |world| {
            world.run_for(secs(3));
            assert!(!skips || world.skip(weeks - secs(3)));
            world.run_for(secs(3));
        });
        let early = |key: &str| seen.sent.iter().any(|sent| sent.key == key && sent.at < secs(3));
        let late = seen.heard.iter().filter(|item| item.to == "b" && item.at > weeks);
        (late.filter(|item| early(&item.key)).count(), seen)
    };
    assert_eq!(run(false).0, 0);
    let (stale, seen) = run(true);
    assert!(stale > 40, "{stale} copies came back");
    let looks = seen.looks.iter().filter(|(_, look)| look.at > weeks + secs(1));
    for (node, look) in looks {
        assert!(look.passed.abs_diff(look.at) < secs(1), "{node}: {look:?}");
        assert!(look.wrong_micros.abs() < 6_000, "{node}: {look:?}");
    }
    let mut world = World::on_tier(1, Tier::Real);
    assert!(!world.skip(weeks) && world.now() == secs(0));
}

#[test]
fn connections_that_a_jump_of_time_has_ended_come_to_stand_again() {
    let weeks = secs(3 * 7 * 24 * 3_600);
    let (seen, _) = talk::run_and(Tier::Quic, FaultPlan::new(1), Topology::new(), |world| {
        world.run_for(secs(3));
        assert!(world.skip(weeks));
        world.run_for(secs(9));
    });
    let late = (weeks + secs(8), weeks + secs(12));
    for (from, to) in [("a", "b"), ("b", "a"), ("c", "a")] {
        assert!(!seen.heard(from, to, late).is_empty(), "{to} hears nothing of {from}");
    }
}
