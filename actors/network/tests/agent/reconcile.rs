//! What is found on the host beside what is wanted of it.

use std::{collections::BTreeSet, time::Duration};

use updraft_network::driver::{
    names,
    sim::{SimBridge, SimHost, SimState, SimTap},
};
use updraft_protocol::network::RouterWant;
use uuid::Uuid;

use super::world::*;

const STRANGER: Uuid = Uuid::from_u128(0xEEEE_0001_0000_4000_8000_0000_0000_0001);

#[tokio::test(start_paused = true)]
async fn a_restart_makes_again_what_the_host_has_lost() {
    let mut world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    world.crash();
    world.host.meddle(|state| *state = SimState::default());
    world.restart().await;
    world.eventually("the guest is offered its address", |host| host.offer(PORT).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_leaves_taps_and_servers_at_work() {
    let mut world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    let before = world.host.state();
    world.agent.stop().await;
    world.crash();
    assert_eq!(world.host.state(), before);
    world.restart().await;
    world.env.sleep(A_WHILE).await;
    assert_eq!(world.host.state(), before);
}

#[tokio::test(start_paused = true)]
async fn a_tap_that_somebody_removed_comes_back() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.host.meddle(|state| state.taps.clear());
    world.eventually("the tap is back", tap_exists).await;
}

#[tokio::test(start_paused = true)]
async fn a_security_group_that_somebody_changed_comes_back() {
    let mut world = World::new().await;
    world.filter(&filter_want(1)).await.unwrap();
    let is_whole = |host: &SimHost| host.state().filters.get(&GROUP) == Some(&filter_want(1));
    world.host.meddle(|state| state.filters.clear());
    world.eventually("the group is back", is_whole).await;
    world.crash();
    world.host.meddle(|state| state.filters.clear());
    world.restart().await;
    world.eventually("the group is back after a restart", is_whole).await;
}

#[tokio::test(start_paused = true)]
async fn a_dhcp_server_that_died_comes_back_within_seconds() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    world.host.meddle(|state| state.dhcp.get_mut(&NETWORK).unwrap().alive = false);
    let died = world.env.now();
    world.eventually("DHCP is answered", |host| host.offer(PORT).is_some()).await;
    assert!(world.env.now() - died < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_never_made_is_told_of_and_left_alone() {
    let world = World::new().await;
    let (tap, bridge) = (names::tap(STRANGER), names::bridge(STRANGER));
    world.host.meddle(|state| {
        state.taps.insert(tap.clone(), SimTap { spec: None, bridge: None });
        state.bridges.insert(bridge.clone(), SimBridge { network: None, mtu: 1500 });
    });
    let report = world.agent.reconcile().await.unwrap();
    assert_eq!(report.orphans, BTreeSet::from([tap.clone(), bridge.clone()]));
    world.env.sleep(A_WHILE).await;
    let state = world.host.state();
    assert!(state.taps.contains_key(&tap) && state.bridges.contains_key(&bridge));
}

#[tokio::test(start_paused = true)]
async fn a_tap_of_a_forgotten_port_is_told_of_and_left_alone() {
    let (owner, forgetful) = (World::new().await, World::new().await);
    owner.plug(&port_want(1)).await.unwrap();
    forgetful.host.meddle(|state| *state = owner.host.state());
    let report = forgetful.agent.reconcile().await.unwrap();
    assert_eq!(report.orphans, BTreeSet::from([names::tap(PORT), names::bridge(NETWORK)]));
    forgetful.env.sleep(A_WHILE).await;
    assert!(tap_exists(&forgetful.host));
}

#[tokio::test(start_paused = true)]
async fn a_tap_that_came_back_after_its_port_was_unplugged_is_removed() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    let plugged = world.host.state();
    world.plug(&unplug_want(2)).await.unwrap();
    world.host.meddle(|state| *state = plugged);
    world
        .eventually("neither tap nor bridge is left", |host| {
            let state = host.state();
            state.taps.is_empty() && state.bridges.is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_dhcp_server_that_came_back_is_stopped_again() {
    let world = World::new().await;
    world.serve(&dhcp_want(1)).await.unwrap();
    let served = world.host.state();
    world.serve(&stop_want(2)).await.unwrap();
    world.host.meddle(|state| *state = served);
    world.eventually("no server is left", |host| host.state().dhcp.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn purging_removes_what_the_agent_made_and_nothing_else() {
    let world = World::new().await;
    let stranger = names::tap(STRANGER);
    world.host.meddle(|state| {
        state.taps.insert(stranger.clone(), SimTap { spec: None, bridge: None });
    });
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    world.agent.purge().await.unwrap();
    world.env.sleep(A_WHILE).await;
    let state = world.host.state();
    assert_eq!(state.taps.keys().collect::<Vec<_>>(), [&stranger]);
    assert!(state.bridges.is_empty() && state.dhcp.is_empty(), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_is_made_again_by_the_next_start() {
    let mut world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    world.agent.purge().await.unwrap();
    world.restart().await;
    world.eventually("the guest is offered its address", |host| host.offer(PORT).is_some()).await;
}

fn tap_exists(host: &SimHost) -> bool {
    host.state().taps.contains_key(&names::tap(PORT))
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_somebody_changed_or_removed_comes_back() {
    let world = World::new().await;
    world.overlay(&overlay_want(1)).await.unwrap();
    let whole = world.host.state();
    world.host.meddle(|state| {
        let overlay = state.overlays.get_mut(&names::overlay(NETWORK)).unwrap();
        let tunnel = overlay.want.as_mut().unwrap().tunnel.as_mut().unwrap();
        tunnel.peers.clear();
    });
    world.eventually("the peers are back", |host| host.state() == whole).await;
    world.host.meddle(|state| state.overlays.clear());
    world.eventually("the tunnel is back", |host| host.state() == whole).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_that_somebody_changed_or_removed_comes_back() {
    let mut world = World::new().await;
    world.route(&router_want(1)).await.unwrap();
    let whole = world.host.state();
    world.host.meddle(|state| state.routers.get_mut(&ROUTER).unwrap().want.generation = 0);
    world.eventually("the router is as it was", |host| host.state() == whole).await;
    world.host.meddle(|state| state.routers.clear());
    world.eventually("the router is back", |host| host.state() == whole).await;
    world.crash();
    world.host.meddle(|state| state.routers.clear());
    world.restart().await;
    world.eventually("the router is back after a restart", |host| host.state() == whole).await;
}

#[tokio::test(start_paused = true)]
async fn the_bridge_that_a_router_stood_on_alone_goes_after_it() {
    let world = World::new().await;
    world.route(&router_want(1)).await.unwrap();
    world.env.sleep(A_WHILE).await;
    assert!(world.host.state().bridges.contains_key(&names::bridge(NETWORK)));
    world.route(&RouterWant::absent(ROUTER, 2)).await.unwrap();
    world.eventually("the bridge is gone", |host| host.state().bridges.is_empty()).await;
}
