//! Older wants are refused, the same want is answered the same, and a restart forgets neither.

use std::time::Duration;

use updraft_network::driver::names;
use updraft_protocol::network::{
    Announce, DhcpLease, DhcpServed, FilterWant, Filtered, Overlaid, OverlayWant, Plugged,
    RouterServed, RouterWant,
};
use updraft_runtime::{
    rows::ASK_EVERY,
    rpc::{CallError, FaultKind},
};

use super::world::*;

fn kind<T: std::fmt::Debug>(answer: Result<T, CallError>) -> FaultKind {
    answer.unwrap_err().fault().expect("an answer of the agent").kind
}

fn plugged(generation: u64) -> Plugged {
    Plugged { generation, device: Some(names::tap(PORT)) }
}

#[tokio::test(start_paused = true)]
async fn a_plugged_port_has_a_tap_on_its_networks_bridge() {
    let world = World::new().await;
    assert_eq!(world.plug(&port_want(1)).await.unwrap(), plugged(1));
    let state = world.host.state();
    let tap = &state.taps[&names::tap(PORT)];
    assert_eq!(tap.bridge, Some(names::bridge(NETWORK)));
    assert_eq!(tap.spec.as_ref().unwrap().mac_address, "fa:16:3e:00:00:01");
    assert_eq!(state.bridges[&names::bridge(NETWORK)].mtu, 1450);
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_port_leaves_neither_tap_nor_bridge() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    let answer = world.plug(&unplug_want(2)).await.unwrap();
    assert_eq!(answer, Plugged { generation: 2, device: None });
    let state = world.host.state();
    assert!(state.taps.is_empty() && state.bridges.is_empty(), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_want_is_answered_the_same() {
    let world = World::new().await;
    for _ in 0..3 {
        assert_eq!(world.plug(&port_want(1)).await.unwrap(), plugged(1));
        assert_eq!(world.serve(&dhcp_want(1)).await.unwrap(), DhcpServed { generation: 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_want_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.plug(&unplug_want(2)).await.unwrap();
    assert_eq!(kind(world.plug(&port_want(1)).await), FaultKind::Stale);
    assert!(world.host.state().taps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_want_is_refused_after_a_restart_too() {
    let mut world = World::new().await;
    world.plug(&unplug_want(2)).await.unwrap();
    world.serve(&stop_want(2)).await.unwrap();
    world.restart().await;
    assert_eq!(kind(world.plug(&port_want(1)).await), FaultKind::Stale);
    assert_eq!(kind(world.serve(&dhcp_want(1)).await), FaultKind::Stale);
    let state = world.host.state();
    assert!(state.taps.is_empty() && state.dhcp.is_empty(), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_so_late_that_all_has_forgotten_it_makes_nothing() {
    let world = World::new().await;
    assert_eq!(kind(world.plug_late(&port_want(1)).await), FaultKind::Unavailable);
    assert_eq!(kind(world.serve_late(&dhcp_want(1)).await), FaultKind::Unavailable);
    assert_eq!(kind(world.filter_late(&filter_want(1)).await), FaultKind::Unavailable);
    assert_eq!(kind(world.overlay_late(&overlay_want(1)).await), FaultKind::Unavailable);
    assert_eq!(kind(world.route_late(&router_want(1)).await), FaultKind::Unavailable);
    assert_eq!(world.host.state(), World::new().await.host.state(), "the host was touched");
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_while_something_newer_is_wanted_is_as_that_wants_it() {
    let world = World::new().await;
    world.wanted.port(&unplug_want(7));
    world.plug_late(&port_want(1)).await.unwrap_err();
    assert!(world.host.state().taps.is_empty());
    assert_eq!(kind(world.plug_late(&port_want(1)).await), FaultKind::Stale);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_any_more_is_taken_back_though_nobody_says_so() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.filter(&filter_want(1)).await.unwrap();
    world.overlay(&overlay_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    world.route(&router_want(1)).await.unwrap();
    world.wanted.forget_all();
    world.env.sleep(ASK_EVERY).await;
    world
        .eventually("the host has nothing", |host| {
            let state = host.state();
            let devices = state.taps.is_empty() && state.bridges.is_empty();
            let rest = state.dhcp.is_empty() && state.filters.is_empty();
            devices && rest && state.overlays.is_empty() && state.routers.is_empty()
        })
        .await;
    assert_eq!(world.agent.reconcile().await.unwrap().orphans, [].into());
}

#[tokio::test(start_paused = true)]
async fn two_wants_of_one_generation_do_not_alternate() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    assert_eq!(world.plug(&unplug_want(1)).await.unwrap(), plugged(1));
    assert!(world.host.state().taps.contains_key(&names::tap(PORT)));
}

#[tokio::test(start_paused = true)]
async fn a_served_network_offers_its_guests_what_was_wanted() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.serve(&dhcp_want(1)).await.unwrap();
    let offer = world.host.offer(PORT).unwrap();
    assert_eq!(offer.address.to_string(), "10.1.0.11");
    assert_eq!(offer.agent_address.to_string(), "10.1.0.2");
    assert_eq!((offer.mtu, offer.hostname.as_str()), (1450, "guest-11"));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_served_keeps_its_bridge_when_its_last_port_goes() {
    let world = World::new().await;
    world.serve(&dhcp_want(1)).await.unwrap();
    world.plug(&port_want(1)).await.unwrap();
    world.plug(&unplug_want(2)).await.unwrap();
    assert!(world.host.state().bridges.contains_key(&names::bridge(NETWORK)));
    world.serve(&stop_want(2)).await.unwrap();
    assert!(world.host.state().bridges.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_want_that_no_host_can_serve_is_refused_and_not_remembered() {
    let world = World::new().await;
    let mut twins = dhcp_want(9);
    let twin = DhcpLease { server: OTHER_SERVER, ..twins.leases[0].clone() };
    twins.leases.push(twin);
    assert_eq!(kind(world.serve(&twins).await), FaultKind::Invalid);
    assert_eq!(world.serve(&dhcp_want(1)).await.unwrap(), DhcpServed { generation: 1 });
}

#[tokio::test(start_paused = true)]
async fn only_a_control_node_may_say_what_is_wanted() {
    let world = World::new().await;
    let answer = world.plug_as_host(&port_want(1)).await;
    assert!(matches!(answer, Err(CallError::Refused { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_security_group_is_in_force_as_it_was_last_told() {
    let mut world = World::new().await;
    assert_eq!(world.filter(&filter_want(2)).await.unwrap(), Filtered { generation: 2 });
    let older = FilterWant { rules: Vec::new(), ..filter_want(1) };
    assert_eq!(kind(world.filter(&older).await), FaultKind::Stale);
    world.restart().await;
    assert_eq!(kind(world.filter(&older).await), FaultKind::Stale);
    assert_eq!(world.host.state().filters[&GROUP], filter_want(2));
    assert_eq!(world.filter(&FilterWant::absent(GROUP, 3)).await.unwrap().generation, 3);
    assert!(world.host.state().filters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_security_group_stays_as_long_as_a_tap_has_it() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.filter(&filter_want(1)).await.unwrap();
    let early = world.filter(&FilterWant::absent(GROUP, 2)).await;
    assert_eq!(kind(early), FaultKind::Unavailable);
    world.plug(&unplug_want(2)).await.unwrap();
    world.eventually("the group is gone", |host| host.state().filters.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_as_it_was_last_told() {
    let mut world = World::new().await;
    assert_eq!(world.overlay(&overlay_want(2)).await.unwrap(), Overlaid { generation: 2 });
    let older = OverlayWant::absent(NETWORK, 1);
    assert_eq!(kind(world.overlay(&older).await), FaultKind::Stale);
    world.restart().await;
    assert_eq!(kind(world.overlay(&older).await), FaultKind::Stale);
    let overlay = world.host.state().overlays[&names::overlay(NETWORK)].clone();
    assert_eq!(overlay.want, Some(overlay_want(2)));
    assert_eq!(overlay.bridge, Some(names::bridge(NETWORK)));
    assert_eq!(world.overlay(&OverlayWant::absent(NETWORK, 3)).await.unwrap().generation, 3);
    let state = world.host.state();
    assert!(state.overlays.is_empty() && state.bridges.is_empty(), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_with_a_tunnel_keeps_its_bridge_when_its_last_port_goes() {
    let world = World::new().await;
    world.plug(&port_want(1)).await.unwrap();
    world.overlay(&overlay_want(1)).await.unwrap();
    world.plug(&unplug_want(2)).await.unwrap();
    assert!(world.host.state().bridges.contains_key(&names::bridge(NETWORK)));
    world.overlay(&OverlayWant::absent(NETWORK, 2)).await.unwrap();
    assert!(world.host.state().bridges.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_start_says_where_the_host_is_reached_until_it_is_heard() {
    let mut world = World::new().await;
    let said = |incarnation| Announce {
        address: end(1),
        incarnation,
        physical_networks: ["public".to_owned()].into(),
    };
    world.eventually_hears(&said(1), 1).await;
    world.restart().await;
    world.eventually_hears(&said(2), 1).await;
    world.env.sleep(Duration::from_secs(30)).await;
    let count = || world.wanted.ends.lock().unwrap().iter().filter(|it| **it == said(2)).count();
    let heard = count();
    world.env.sleep(ASK_EVERY / 2).await;
    assert_eq!(count(), heard, "it was heard");
    world.env.sleep(ASK_EVERY / 2).await;
    world.eventually_hears(&said(2), heard + 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_want_for_a_router_is_refused_after_a_restart_too() {
    let mut world = World::new().await;
    world.route(&router_want(1)).await.unwrap();
    world.route(&RouterWant::absent(ROUTER, 2)).await.unwrap();
    assert_eq!(kind(world.route_late(&router_want(1)).await), FaultKind::Stale);
    world.restart().await;
    assert_eq!(kind(world.route_late(&router_want(1)).await), FaultKind::Stale);
    assert_eq!(world.host.state().routers.len(), 0);
    assert_eq!(world.route(&router_want(3)).await.unwrap(), RouterServed { generation: 3 });
}

#[tokio::test(start_paused = true)]
async fn a_router_whose_addresses_cannot_be_told_apart_is_refused() {
    let world = World::new().await;
    let mut want = router_want(1);
    let routing = want.routing.as_mut().unwrap();
    let twin = routing.legs[0].clone();
    routing.legs.push(twin);
    let error = world.route(&want).await.unwrap_err();
    assert!(error.to_string().contains("10.1.0.1 is given twice"), "{error}");
}
