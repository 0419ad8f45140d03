//! A sender that is ten times too fast: memory stays bounded, others are served, and what was refused is counted.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use updraft_harness::world::{NodeContext, Tier, World};
use updraft_runtime::{
    message,
    node::Node,
    protocol,
    rpc::{Cx, MAILBOX_MAX, Rpc, Service, TraceContext},
    vitals::Report,
};
use updraft_transport::NodeId;

/// What takes its time.
pub struct Slow;
protocol!(Slow = "slow");

/// "Carry this out."
#[derive(Serialize, Deserialize)]
pub struct Work(Bytes);
message!(cast Work = Slow / "work", from ["*"], to ["*"]);

/// What answers at once.
pub struct Quick;
protocol!(Quick = "quick");

/// "Are you there?"
#[derive(Serialize, Deserialize)]
pub struct Ping;
message!(call Ping = Quick / "ping", Never, from ["*"], to ["*"], reply ());

const LIMIT: Duration = Duration::from_secs(60);
/// One message in so long is carried out, ...
const WORK_TAKES: Duration = Duration::from_millis(10);
/// ... and ten are sent.
const FASTER: u64 = 10;
/// How many are sent: what lies around would be 200 MB if nothing were refused.
const SENT: u64 = 10_000;
const BODY_BYTES: usize = 20_000;
/// What a mailbox of such messages may hold, and as much again for whatever else goes on.
const GROWS_BY_BYTES: u64 = 2 * (MAILBOX_MAX * BODY_BYTES) as u64;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// What this process has in memory.
fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn server(node: NodeContext) -> impl Future<Output = ()> + Send {
    let (env, one_at_a_time) = (node.env.clone(), Arc::new(Mutex::new(())));
    let slow = Service::of::<Slow>().cast(move |_, work: Work| {
        let (env, one_at_a_time) = (env.clone(), one_at_a_time.clone());
        async move {
            let _turn = one_at_a_time.lock().await;
            env.sleep(WORK_TAKES).await;
            // Held until now, as by a handler that is at work on it.
            drop(work);
            Ok(())
        }
    });
    let quick = Service::of::<Quick>().call(|_, Ping| async { Ok(()) });
    node.serve(&["server"], |prepared| {
        vec![prepared.directory().service(), slow.into(), quick.into()]
    })
}

fn report(world: &World, name: &str) -> Report {
    world.handle::<Arc<Node>>(&id(name)).unwrap().report()
}

/// Of the messages that the server took in: how many were carried out, and how many refused.
fn ends(report: &Report) -> (u64, u64) {
    let handler = report.handlers.iter().find(|handler| handler.method == "slow/work").unwrap();
    (handler.ends.replied, handler.ends.refused)
}

/// How many messages were carried out, refused by the server, or given up on the way because they came too late.
fn counted(world: &World) -> u64 {
    let (done, refused) = ends(&report(world, "server"));
    let links = report(world, "sender").links;
    // Without QUIC there are no classes.
    let calls = links.classes.iter().find(|(class, _)| class == "calls");
    let dropped = calls.map_or(0, |(_, [_, _, _, _, dropped_frames, _])| *dropped_frames);
    done + refused + dropped
}

fn depth(report: &Report) -> u64 {
    report.mailboxes.iter().find(|mailbox| mailbox.topic == "slow").unwrap().depth
}

/// A world in which everybody knows the server.
fn world(tier: Tier) -> World {
    let mut world = World::on_tier(1, tier);
    world.node("server", &["control"], server);
    for name in ["sender", "other"] {
        world.node(name, &["control"], |node| node.serve(&["server"], |_| Vec::new()));
    }
    for name in ["sender", "other"] {
        let knows = |world: &mut World| {
            let Some(rpc) = world.handle::<Rpc>(&id(name)) else { return false };
            let known = async move { !rpc.directory().servers_of::<Ping>().is_empty() };
            world.on(&id(name), LIMIT, known) == Some(true)
        };
        assert!(world.run_until(LIMIT, knows), "{name} hears of the server");
    }
    world
}

#[test]
fn a_sender_ten_times_too_fast_is_refused_and_counted_while_others_are_served() {
    for tier in [Tier::Memory, Tier::Quic] {
        let mut world = world(tier);
        let before = resident_bytes();
        let cx = Cx::new("test", TraceContext::default());
        let (rpc, work_cx) = (world.handle::<Rpc>(&id("sender")).unwrap(), cx.clone());
        let sending = async move {
            let (server, mut turned_away) = (rpc.client::<Slow>(), 0_u64);
            for _ in 0..SENT / FASTER {
                let work = Work(vec![7; BODY_BYTES].into());
                let sent = (0..FASTER).map(|_| server.cast(&work, &work_cx));
                turned_away += sent.filter(Result::is_err).count() as u64;
                rpc.env().sleep(WORK_TAKES).await;
            }
            turned_away
        };
        let mut sending = world.begin(&id("sender"), sending).unwrap();
        let (mut turned_away, mut most, mut answered) = (None, 0, 0);
        while turned_away.is_none() {
            let (rpc, cx) = (world.handle::<Rpc>(&id("other")).unwrap(), cx.clone());
            let ping = async move { rpc.client::<Quick>().call(&Ping, &cx).await };
            let pong = world.on(&id("other"), LIMIT, ping);
            assert!(matches!(pong, Some(Ok(()))), "others are served: {pong:?}");
            answered += 1;
            most = most.max(resident_bytes().saturating_sub(before));
            world.run_for(WORK_TAKES);
            turned_away = sending.try_recv().ok();
        }
        assert!(answered > 100, "they were served all the time: {answered}");
        assert!(most < GROWS_BY_BYTES, "{most} bytes more");
        let turned_away = turned_away.unwrap();
        let all = |world: &mut World| counted(world) + turned_away == SENT;
        assert!(world.run_until(LIMIT, all), "each is carried out or counted: {}", counted(&world));
        let (done, refused) = ends(&report(&world, "server"));
        assert!(refused + turned_away > SENT / 2, "{done} were carried out");
        assert_eq!(depth(&report(&world, "server")), 0);
    }
}
