//! Whatever goes wrong with any single operation, the host ends up as wanted.

use std::time::Duration;

use updraft_network::driver::{
    names,
    sim::{Fate, Operation, SimState},
};
use updraft_protocol::network::{OverlayWant, RouterWant};

use super::world::*;

/// More operations than the way up or down takes, a health check and a look at the host included.
const OPERATIONS: u64 = 16;

/// Longer than the latest effect and a look at the whole host after it.
const REPAIRED_WITHIN: Duration = Duration::from_secs(50);

fn fates() -> Vec<Fate> {
    vec![
        Fate::Fail("no".to_owned()),
        Fate::Hang,
        Fate::DoneButFailed("no".to_owned()),
        Fate::Twice,
        // Later than any deadline: by then the agent has gone on.
        Fate::Late(Duration::from_secs(9)),
        Fate::LoseState,
    ]
}

/// The host in which the operation with this number, counted from now, has this fate.
fn strike(world: &World, number: u64, fate: Fate) {
    let first = world.host.operations().last().map_or(0, |operation| operation.number + 1);
    world.host.set_faults(move |operation: &Operation| {
        if operation.number == first + number { fate.clone() } else { Fate::Proceed }
    });
}

fn is_up(state: &SimState) -> bool {
    let tap = state.taps.get(&names::tap(PORT)).and_then(|tap| tap.spec.as_ref());
    let dhcp = state.dhcp.get(&NETWORK);
    let overlay = state.overlays.get(&names::overlay(NETWORK));
    overlay.is_some_and(|found| found.want.as_ref() == Some(&overlay_want(1)))
        && tap.is_some_and(|spec| spec.generation == 1)
        && dhcp.is_some_and(|dhcp| dhcp.alive && dhcp.want.generation == 1)
        && state.bridges.contains_key(&names::bridge(NETWORK))
}

fn is_empty(state: &SimState) -> bool {
    let devices = state.taps.is_empty() && state.overlays.is_empty() && state.bridges.is_empty();
    devices && state.dhcp.is_empty()
}

async fn up(world: &World) {
    world.serve_until_done(&dhcp_want(1)).await;
    world.overlay_until_done(&overlay_want(1)).await;
    world.plug_until_done(&port_want(1)).await;
}

async fn down(world: &World) {
    world.overlay_until_done(&OverlayWant::absent(NETWORK, 2)).await;
    world.plug_until_done(&unplug_want(2)).await;
    world.serve_until_done(&stop_want(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_plugged_and_served_whatever_single_operation_goes_wrong() {
    for fate in fates() {
        for number in 0..OPERATIONS {
            let world = World::new().await;
            strike(&world, number, fate.clone());
            up(&world).await;
            world.env.sleep(REPAIRED_WITHIN).await;
            let state = world.host.state();
            assert!(is_up(&state), "operation {number} with {fate:?} left {state:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_guest_whatever_single_operation_goes_wrong() {
    for fate in fates() {
        for number in 0..OPERATIONS {
            let world = World::new().await;
            up(&world).await;
            strike(&world, number, fate.clone());
            down(&world).await;
            world.env.sleep(REPAIRED_WITHIN).await;
            let state = world.host.state();
            assert!(is_empty(&state), "operation {number} with {fate:?} left {state:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_guest_that_was_unplugged_while_its_plugging_was_late() {
    for number in 0..OPERATIONS {
        let world = World::new().await;
        strike(&world, number, Fate::Late(Duration::from_secs(9)));
        // Neither answer matters: the next want comes before the first is met.
        let patience = Duration::from_millis(100);
        let _ = world.env.timeout(patience, world.serve(&dhcp_want(1))).await;
        let _ = world.env.timeout(patience, world.overlay(&overlay_want(1))).await;
        let _ = world.env.timeout(patience, world.plug(&port_want(1))).await;
        down(&world).await;
        world.env.sleep(REPAIRED_WITHIN).await;
        let state = world.host.state();
        assert!(is_empty(&state), "late operation {number} left {state:#?}");
    }
}

/// The generations that the host has of the tap, the DHCP server, the filter and the tunnel.
fn generations(state: &SimState) -> [Option<u64>; 4] {
    let tap = state.taps.get(&names::tap(PORT)).and_then(|tap| tap.spec.as_ref());
    let dhcp = state.dhcp.get(&NETWORK).map(|dhcp| dhcp.want.generation);
    let filter = state.filters.get(&GROUP).map(|want| want.generation);
    let overlay = state.overlays.get(&names::overlay(NETWORK));
    let overlay = overlay.and_then(|found| found.want.as_ref()).map(|want| want.generation);
    [tap.map(|spec| spec.generation), dhcp, filter, overlay]
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_later_than_anybody_waits_does_not_make_the_host_older() {
    for number in 0..OPERATIONS {
        let world = World::new().await;
        strike(&world, number, Fate::Late(Duration::from_secs(9)));
        // No answer matters: the next wants come before the first are met.
        let patience = Duration::from_millis(100);
        let _ = world.env.timeout(patience, world.serve(&dhcp_want(1))).await;
        let _ = world.env.timeout(patience, world.plug(&port_want(1))).await;
        let _ = world.env.timeout(patience, world.filter(&filter_want(1))).await;
        let _ = world.env.timeout(patience, world.overlay(&overlay_want(1))).await;
        world.serve_until_done(&dhcp_want(2)).await;
        world.plug_until_done(&port_want(2)).await;
        world.filter_until_done(&filter_want(2)).await;
        world.overlay_until_done(&overlay_want(2)).await;
        let new = [Some(2), Some(2), Some(2), Some(2)];
        for _ in 0..120 {
            world.env.sleep(Duration::from_millis(100)).await;
            assert_eq!(world.host.look(generations), new, "late operation {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_operation_is_made_good_by_the_next_start() {
    for number in 0..OPERATIONS {
        let mut world = World::new().await;
        strike(&world, number, Fate::Hang);
        let patience = Duration::from_secs(1);
        let _ = world.env.timeout(patience, world.serve(&dhcp_want(1))).await;
        let _ = world.env.timeout(patience, world.plug(&port_want(1))).await;
        world.restart().await;
        up(&world).await;
        let state = world.host.state();
        assert!(is_up(&state), "a crash at operation {number} left {state:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_for_long_says_why_and_recovers() {
    let world = World::new().await;
    world.host.set_faults(|_: &Operation| Fate::Fail("the disk is full".to_owned()));
    let answer = world.plug(&port_want(1)).await.unwrap_err();
    assert!(answer.to_string().contains("the disk is full"), "{answer}");
    world.env.sleep(A_WHILE).await;
    world.host.set_faults(|_: &Operation| Fate::Proceed);
    world.plug_until_done(&port_want(1)).await;
}

/// The same where nothing but a look at the whole host shows what is lost: after the one that it was lost in.
const SEEN_WITHIN: Duration = Duration::from_secs(80);

/// The operations until the first look that shows a router, that look included.
const ROUTER_OPERATIONS: u64 = 7;

/// The generation of the router, and whether it has the bridge that it stands on.
fn router(state: &SimState) -> Option<(u64, bool)> {
    let found = state.routers.get(&ROUTER)?;
    Some((found.want.generation, state.bridges.contains_key(&names::bridge(NETWORK))))
}

#[tokio::test(start_paused = true)]
async fn a_router_is_made_and_removed_whatever_single_operation_goes_wrong() {
    for fate in fates() {
        for number in 0..ROUTER_OPERATIONS {
            let world = World::new().await;
            strike(&world, number, fate.clone());
            world.route_until_done(&router_want(1)).await;
            world.env.sleep(SEEN_WITHIN).await;
            let made = world.host.look(router);
            assert_eq!(made, Some((1, true)), "operation {number} with {fate:?}");
            strike(&world, number, fate.clone());
            world.route_until_done(&RouterWant::absent(ROUTER, 2)).await;
            world.env.sleep(SEEN_WITHIN).await;
            let state = world.host.state();
            let left = state.routers.len() + state.bridges.len();
            assert_eq!(left, 0, "operation {number} with {fate:?} left {state:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_that_a_router_is_gone_never_has_it_again() {
    for number in 0..OPERATIONS {
        let world = World::new().await;
        strike(&world, number, Fate::Late(Duration::from_secs(9)));
        // The answer does not matter: the next want comes while this one is being met.
        let patience = Duration::from_secs(1);
        let _ = world.env.timeout(patience, world.route(&router_want(1))).await;
        world.route_until_done(&RouterWant::absent(ROUTER, 2)).await;
        for _ in 0..120 {
            world.env.sleep(Duration::from_millis(100)).await;
            assert_eq!(world.host.look(router), None, "late operation {number}");
        }
    }
}
