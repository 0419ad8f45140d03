//! The provisioning flow over real QUIC and TLS, and the law that a seed is a run.
#![allow(clippy::unwrap_used, reason = "tests")]

use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Menu, SimCloud, Size},
    flow, same,
};

/// The whole flow, and everything that happened in it.
fn run(seed: u64, tier: Tier, unseeded: bool) -> Vec<String> {
    same::seeded(seed, || {
        let size = Size { unseeded, ..Size::default() };
        let mut cloud = SimCloud::start(seed, tier, size, &Menu::default());
        flow::build_and_delete(&mut cloud);
        cloud.world.events()
    })
}

/// Runs a seed in two processes.
fn twice(test: &str, tier: Tier, unseeded: bool) -> Option<[Vec<String>; 2]> {
    if let Some(seed) = same::child() {
        same::tell(&run(seed.parse().unwrap_or_default(), tier, unseeded));
        return None;
    }
    Some(["7", "7"].map(|seed| same::elsewhere(test, seed).unwrap()))
}

fn is_the_same(test: &str, tier: Tier) {
    let Some([one, other]) = twice(test, tier, false) else { return };
    assert!(one.len() > 100, "only {} lines", one.len());
    assert_eq!(same::difference(&one, &other), None);
}

#[test]
fn a_server_with_a_port_is_built_and_leaves_nothing_behind() {
    let mut cloud = SimCloud::start(1, Tier::Quic, Size::default(), &Menu::default());
    flow::build_and_delete(&mut cloud);
}

#[test]
fn a_seed_is_a_run_in_every_process_over_memory() {
    is_the_same("a_seed_is_a_run_in_every_process_over_memory", Tier::Memory);
}

#[test]
fn a_seed_is_a_run_in_every_process_over_quic() {
    is_the_same("a_seed_is_a_run_in_every_process_over_quic", Tier::Quic);
}

#[test]
fn one_unseeded_draw_is_noticed() {
    let Some([one, other]) = twice("one_unseeded_draw_is_noticed", Tier::Quic, true) else {
        return;
    };
    assert!(same::difference(&one, &other).is_some(), "the comparison sees nothing");
}
