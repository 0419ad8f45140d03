//! When nothing goes on, the world says what everybody waits for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    message, protocol,
    rpc::{Cx, Rpc, Service, TraceContext},
};
use updraft_transport::NodeId;

struct Ping;
protocol!(Ping = "ping");
struct Pong;
protocol!(Pong = "pong");

#[derive(Serialize, Deserialize)]
struct Hit;
message!(call Hit = Ping / "hit", Never, from ["player", "server"], to ["server"], reply ());

#[derive(Serialize, Deserialize)]
struct Return;
message!(call Return = Pong / "return", Never, from ["server"], to ["server"], reply ());

/// How long somebody waits before asking why.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node whose every `Hit` waits for a `Return` of another, and for the `Hit`s before it.
async fn ping(node: NodeContext) {
    node.serve(&["player"], |prepared| {
        let (rpc, racket) = (prepared.rpc(), Arc::new(Mutex::new(())));
        let handlers = Service::of::<Ping>().call(move |ctx, Hit| {
            let (pong, racket) = (rpc.client::<Pong>(), racket.clone());
            async move {
                let _racket = racket.lock().await;
                let _ = pong.call(&Return, &ctx.onward()).await;
                Ok(())
            }
        });
        vec![handlers.into()]
    })
    .await;
}

/// A node whose every `Return` waits for a `Hit` of the other, if it does.
async fn pong(node: NodeContext, returns: bool) {
    node.serve(&["player"], |prepared| {
        let rpc = prepared.rpc();
        let handlers = Service::of::<Pong>().call(move |ctx, Return| {
            let ping = rpc.client::<Ping>();
            async move {
                if returns {
                    let _ = ping.call(&Hit, &ctx.onward()).await;
                } else {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        vec![handlers.into()]
    })
    .await;
}

fn world(returns: bool) -> (World, NodeId) {
    let mut world = World::new(1);
    world.node("ping", &["server"], ping);
    world.node("pong", &["server"], move |node| pong(node, returns));
    let player = world.node("player", &["player", "control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    });
    world.run_for(Duration::from_secs(1));
    (world, player)
}

async fn play(rpc: Rpc) {
    let cx = Cx::new("test", TraceContext::fresh(rpc.env()));
    let _ = rpc.client::<Ping>().call(&Hit, &cx).await;
}

/// What the world says when the game does not end.
fn complaint(mut world: World, player: &NodeId) -> String {
    let rpc = world.handle::<Rpc>(player).unwrap();
    let play = AssertUnwindSafe(|| world.must(player, PATIENCE, play(rpc)));
    let complaint = std::panic::catch_unwind(play).unwrap_err();
    complaint.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn calls_that_wait_are_told_one_after_the_other() {
    let (world, player) = world(false);
    let words = complaint(world, &player);
    assert!(words.starts_with("work on player has not ended in 2s: these calls wait:"), "{words}");
    assert!(words.contains("\n  player waits for ping/hit of ping, which has it, for "), "{words}");
    assert!(
        words.contains("\n  ping waits for pong/return of pong, which has it, for "),
        "{words}"
    );
    assert!(!words.contains("in a circle"), "{words}");
}

#[test]
fn calls_that_wait_for_one_another_are_told_to_be_a_circle() {
    let (world, player) = world(true);
    let words = complaint(world, &player);
    let circle = words.split("and these for one another, in a circle:").nth(1);
    let mut calls: Vec<&str> = circle.unwrap_or_default().split("\n  ").skip(1).collect();
    calls.sort_unstable();
    assert_eq!(calls, ["ping/hit of ping", "pong/return of pong"], "{words}");
}

#[test]
fn a_call_to_a_node_that_is_cut_off_has_not_come_there() {
    let (mut world, player) = world(false);
    world.partition(&player, &NodeId::new("ping").unwrap());
    let words = complaint(world, &player);
    let hit = "player waits for ping/hit of ping, where it has not come, for ";
    assert!(words.contains(hit), "{words}");
}

#[test]
fn who_waits_for_no_call_is_told_so() {
    let (mut world, player) = world(false);
    let waits = AssertUnwindSafe(|| world.must(&player, PATIENCE, std::future::pending::<()>()));
    let complaint = std::panic::catch_unwind(waits).unwrap_err();
    let words = complaint.downcast_ref::<String>().unwrap();
    assert!(words.contains("no call waits for anything"), "{words}");
}
