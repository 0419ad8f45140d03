//! The provisioning flow over real QUIC and TLS, and the law that a seed is a run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use serde_json::Value;
use updraft_harness::{campaign::process, record::difference, world::Tier};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow, life, same,
};

/// The whole flow, and everything that happened in it.
fn run(seed: u64, tier: Tier, unseeded: bool) -> Result<Vec<String>, String> {
    same::apart(seed, || {
        let size = Size { unseeded, ..Size::default() };
        let mut cloud = SimCloud::start(seed, tier, size, &Menu::default());
        flow::build_and_delete(&mut cloud);
        cloud.world.events()
    })
}

/// Runs a seed in two processes.
fn twice(test: &str, tier: Tier, unseeded: bool) -> Option<[Vec<String>; 2]> {
    if process::is_worker() {
        process::serve(|seed| {
            let events = run(seed.parse().unwrap(), tier, unseeded)?;
            Ok(serde_json::to_string(&events).unwrap())
        });
        return None;
    }
    let events = |seed| serde_json::from_str(&same::elsewhere(test, seed).unwrap()).unwrap();
    Some(["7", "7"].map(events))
}

fn is_the_same(test: &str, tier: Tier) {
    let Some([one, other]) = twice(test, tier, false) else { return };
    assert!(one.len() > 100, "only {} lines", one.len());
    if let Some(difference) = difference(&one, &other) {
        panic!("{difference}");
    }
}

#[test]
fn a_server_with_a_port_is_built_and_leaves_nothing_behind() {
    let mut cloud = SimCloud::start(1, Tier::Quic, Size::default(), &Menu::default());
    flow::build_and_delete(&mut cloud);
}

#[test]
fn an_image_a_volume_and_a_server_live_their_whole_life_and_leave_nothing_behind() {
    let mut cloud = SimCloud::start(2, Tier::Quic, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = life::prepare(&mut cloud, &client);
    let before = flow::inventory(&cloud);
    let lived = life::begin(&mut cloud, &client, &have);
    let ended = ["active", "available", "ACTIVE", "in-use"].map(str::to_owned);
    assert_eq!([lived.image, lived.volume, lived.server, lived.attached], ended);
    life::rest(&mut cloud);
    life::end(&mut cloud, &client);
    life::leaves_nothing(&mut cloud, &before);
}

/// REST goes over TCP from a machine of its own: a node that is down does not answer, and the next does.
#[test]
fn a_control_node_that_crashes_answers_again_and_the_others_meanwhile() {
    let mut cloud = SimCloud::start(3, Tier::Quic, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let first = cloud.serving().unwrap();
    cloud.world.crash(&first);
    assert_ne!(cloud.serving().unwrap(), first);
    let flavor = client.flavor(&mut cloud, 64);
    cloud.world.start(&first);
    let is_back = |cloud: &mut SimCloud| {
        cloud.world.run_for(Duration::from_millis(50));
        cloud.serving() == Some(first.clone())
    };
    assert!((0..200).any(|_| is_back(&mut cloud)), "it does not come back");
    let path = format!("/compute/v2.1/flavors/{flavor}");
    let shown = client.must(&mut cloud, "GET", &path, Value::Null);
    assert_eq!(shown["flavor"]["ram"], 64);
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
    let difference = difference(&one, &other).expect("the comparison sees nothing");
    assert!(difference.drawn_before.is_some(), "{difference}");
}
