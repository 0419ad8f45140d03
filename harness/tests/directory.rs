//! Who lives, as the members see it: the dead are noticed, the living are not mourned, and no control node is special.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{Tier, Verdict, World};
use updraft_runtime::{
    directory::{BEAT, DEAD_AFTER, Interest},
    message,
    node::Prepared,
    protocol,
    rpc::{Address, CallError, Cx, Refusal, Rpc, Service, Topic, TraceContext},
};
use updraft_transport::NodeId;

/// What answers.
pub struct Echo;
protocol!(Echo = "echo");

/// "Are you there?"
#[derive(Serialize, Deserialize)]
pub struct Ping;
message!(call Ping = Echo / "ping", Fenced, from ["*"], to ["host"], reply String);

const CONTROLS: [&str; 3] = ["control-1", "control-2", "control-3"];
const HOSTS: [&str; 4] = ["host-1", "host-2", "host-3", "host-4"];
const LIMIT: Duration = Duration::from_secs(30);

/// How much later than [`DEAD_AFTER`] the news of a death may come: a beat, the way, and how often it is looked.
const NEWS: Duration = Duration::from_millis(600);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Three control nodes and four hosts, told of everybody; each host knows one control node from the start.
fn cloud(seed: u64, tier: Tier) -> World {
    cloud_of(seed, tier, Interest::Everybody)
}

/// The same whose hosts are told of this.
fn cloud_of(seed: u64, tier: Tier, interest: Interest) -> World {
    let mut world = World::on_tier(seed, tier);
    for name in CONTROLS {
        world.node(name, &["control"], |node| {
            node.serve(&CONTROLS, |prepared| vec![prepared.directory().service()])
        });
    }
    for name in HOSTS {
        world.node(name, &["host"], move |node| async move {
            let handles = node.handles();
            let echo =
                Service::of::<Echo>().call(move |_, Ping| async move { Ok(name.to_owned()) });
            let prepared = Prepared::new(node.parts(&[id("control-1")])).told_of(interest);
            let node = prepared.start(vec![echo.into()]).await.unwrap();
            handles.keep(|| node.rpc().clone());
            handles.keep(|| Arc::new(node));
        });
    }
    let all_known = |world: &mut World| CONTROLS.iter().all(|name| live(world, name) == HOSTS);
    assert!(world.run_until(LIMIT, all_known), "they meet");
    // Everybody has heard of the other control nodes, too.
    world.run_for(Duration::from_secs(2));
    world
}

/// The hosts that a node takes to live.
fn live(world: &mut World, observer: &str) -> Vec<String> {
    let observer = id(observer);
    let Some(rpc) = world.handle::<Rpc>(&observer) else { return Vec::new() };
    let seen = async move { rpc.directory().servers_of::<Ping>() };
    let seen = world.on(&observer, LIMIT, seen).unwrap_or_default();
    seen.iter().map(ToString::to_string).collect()
}

fn ping(world: &mut World, from: &str, to: Address) -> Result<String, CallError> {
    let rpc: Rpc = world.handle(&id(from)).unwrap();
    let call = async move {
        let cx = Cx::new("test", TraceContext::default());
        rpc.client::<Echo>().at(to).call(&Ping, &cx).await
    };
    world.on(&id(from), LIMIT, call).unwrap()
}

#[test]
fn a_dead_node_is_noticed_by_everybody_within_three_seconds_and_some_beats() {
    for tier in [Tier::Memory, Tier::Quic] {
        let mut world = cloud(1, tier);
        world.crash(&id("host-2"));
        world.run_for(DEAD_AFTER + NEWS);
        for observer in CONTROLS.iter().chain(&["host-1", "host-3", "host-4"]) {
            assert_eq!(live(&mut world, observer), ["host-1", "host-3", "host-4"], "{observer}");
        }
    }
}

#[test]
fn so_is_one_that_tells_one_control_node_at_a_time() {
    for tier in [Tier::Memory, Tier::Quic] {
        let mut world = cloud_of(1, tier, Interest::ControlNodes);
        world.crash(&id("host-2"));
        world.run_for(DEAD_AFTER + NEWS);
        for observer in CONTROLS {
            assert_eq!(live(&mut world, observer), ["host-1", "host-3", "host-4"], "{observer}");
        }
    }
}

#[test]
fn a_living_node_is_not_taken_for_dead_while_one_frame_in_twenty_is_lost() {
    for seed in 1..=5 {
        let mut world = cloud(seed, Tier::Memory);
        loses_nobody(&mut world, &["control-1", "control-3", "host-1"]);
        let mut world = cloud_of(seed, Tier::Memory, Interest::ControlNodes);
        loses_nobody(&mut world, &CONTROLS);
    }
}

fn loses_nobody(world: &mut World, observers: &[&str]) {
    world.set_loss(0.05);
    for second in 0..120 {
        world.run_for(Duration::from_secs(1));
        for observer in observers {
            assert_eq!(live(world, observer), HOSTS, "seed {}, second {second}", world.seed());
        }
    }
}

/// How many frames hosts whose names begin so have sent to each control node meanwhile.
fn beats_of(world: &mut World, hosts: &'static str, lasts: Duration) -> BTreeMap<String, usize> {
    let sent = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = sent.clone();
    world.network().intercept(move |from, to, _| {
        if from.as_str().starts_with(hosts) && to.as_str().starts_with("control") {
            *counted.lock().unwrap().entry(to.to_string()).or_default() += 1;
        }
        Verdict::Pass
    });
    world.run_for(lasts);
    world.network().leave_alone();
    std::mem::take(&mut *sent.lock().unwrap())
}

#[test]
fn who_is_told_of_control_nodes_alone_tells_one_of_them_at_a_time() {
    let beats = HOSTS.len() * 2 * 10;
    let mut world = cloud_of(9, Tier::Memory, Interest::Everybody);
    let told_all = beats_of(&mut world, "host", Duration::from_secs(10));
    let all = told_all.values().sum::<usize>();
    assert!((beats * 3 - 12..=beats * 3 + 12).contains(&all), "{told_all:?}");
    let mut world = cloud_of(9, Tier::Memory, Interest::ControlNodes);
    let told_one = beats_of(&mut world, "host", Duration::from_secs(10));
    let one = told_one.values().sum::<usize>();
    assert!((beats - 4..=beats + 4).contains(&one), "{told_one:?}");
    let by_turns = told_one.values().all(|told| (beats / 3 - 4..=beats / 3 + 4).contains(told));
    assert!(told_one.len() == CONTROLS.len() && by_turns, "{told_one:?}");
}

#[test]
fn who_is_not_answered_tells_all_control_nodes_the_next_time() {
    let mut world = cloud_of(12, Tier::Memory, Interest::ControlNodes);
    for control in ["control-1", "control-3"] {
        world.partition(&id("host-2"), &id(control));
    }
    world.run_for(DEAD_AFTER);
    let told = beats_of(&mut world, "host-2", 40 * BEAT);
    // Two in five beats go to one that does not answer, and all are told by the next: three in five reach the other.
    assert!((22..=26).contains(&told["control-2"]), "{told:?}");
}

#[test]
fn what_a_host_says_anew_of_itself_all_control_nodes_are_told_with_its_next_beat() {
    let mut world = cloud_of(13, Tier::Memory, Interest::ControlNodes);
    let rpc: Rpc = world.handle(&id("host-4")).unwrap();
    rpc.directory().leave_to_others([Topic::new("echo")].into());
    let told = beats_of(&mut world, "host-4", BEAT);
    assert!(CONTROLS.iter().all(|control| told.contains_key(*control)), "{told:?}");
    let told = beats_of(&mut world, "host-4", 6 * BEAT);
    assert!(told.values().sum::<usize>() <= 7, "by turns again: {told:?}");
}

#[test]
fn a_host_that_reaches_one_control_node_of_three_lives_for_all() {
    let mut world = cloud_of(10, Tier::Memory, Interest::ControlNodes);
    for control in ["control-1", "control-3"] {
        world.partition(&id("host-2"), &id(control));
    }
    for second in 0..20 {
        world.run_for(Duration::from_secs(1));
        for observer in CONTROLS {
            assert_eq!(live(&mut world, observer), HOSTS, "{observer}, second {second}");
        }
    }
}

#[test]
fn a_control_node_that_restarts_asks_hosts_who_they_are() {
    let mut world = cloud_of(11, Tier::Memory, Interest::ControlNodes);
    // It has nobody to ask but the hosts.
    for control in ["control-1", "control-3"] {
        world.crash(&id(control));
    }
    world.run_for(DEAD_AFTER + NEWS);
    world.crash(&id("control-2"));
    world.start(&id("control-2"));
    world.run_for(Duration::from_secs(3));
    assert_eq!(live(&mut world, "control-2"), HOSTS);
}

#[test]
fn a_node_that_comes_back_is_known_again_by_its_new_life() {
    let mut world = cloud(2, Tier::Memory);
    world.crash(&id("host-2"));
    world.run_for(DEAD_AFTER + NEWS);
    world.start(&id("host-2"));
    world.run_for(Duration::from_secs(2));
    let rpc: Rpc = world.handle(&id("control-3")).unwrap();
    let members = world.on(&id("control-3"), LIMIT, async move { rpc.directory().members() });
    let back = members.unwrap().into_iter().find(|heard| heard.member.node == id("host-2"));
    assert_eq!(back.unwrap().member.incarnation.0, 2);
    assert_eq!(live(&mut world, "host-4"), HOSTS);
}

/// A cloud of one control node and so many members, told of control nodes alone but for `host-0`.
fn crowd(members: usize) -> World {
    let mut world = World::new(8);
    world.node("control-1", &["control"], |node| {
        node.serve(&["control-1"], |prepared| vec![prepared.directory().service()])
    });
    for number in 0..members {
        let interest = if number == 0 { Interest::Everybody } else { Interest::ControlNodes };
        world.node(&format!("host-{number}"), &["host"], move |node| async move {
            let handles = node.handles();
            let echo = Service::of::<Echo>().call(|_, Ping| async { Ok("here".to_owned()) });
            let prepared = Prepared::new(node.parts(&[id("control-1")])).told_of(interest);
            let node = prepared.start(vec![echo.into()]).await.unwrap();
            handles.keep(|| node.rpc().clone());
        });
    }
    world.run_for(Duration::from_secs(3));
    world
}

#[test]
fn more_members_than_one_answer_can_tell_of_are_all_heard_of() {
    let mut world = crowd(700);
    assert_eq!(live(&mut world, "control-1").len(), 700);
    assert_eq!(live(&mut world, "host-0").len(), 700);
    world.crash(&id("host-9"));
    world.run_for(DEAD_AFTER + NEWS);
    assert_eq!(live(&mut world, "host-0").len(), 699);
}

#[test]
fn who_wants_to_be_told_of_control_nodes_alone_knows_no_others() {
    let mut world = crowd(5);
    assert_eq!(live(&mut world, "control-1").len(), 5);
    assert_eq!(live(&mut world, "host-1"), ["host-1"]);
    let rpc: Rpc = world.handle(&id("host-1")).unwrap();
    let members = world.on(&id("host-1"), LIMIT, async move { rpc.directory().members() }).unwrap();
    let names: Vec<_> = members.iter().map(|heard| heard.member.node.to_string()).collect();
    assert_eq!(names, ["control-1", "host-1"]);
}

#[test]
fn no_control_node_is_special() {
    // Not even the one that every host knew from the start.
    for dead in CONTROLS {
        let mut world = cloud(3, Tier::Memory);
        world.crash(&id(dead));
        world.run_for(Duration::from_secs(10));
        for observer in CONTROLS.iter().filter(|name| **name != dead).chain(&["host-1"]) {
            assert_eq!(live(&mut world, observer), HOSTS, "{observer} without {dead}");
        }
        let answer = ping(&mut world, "host-1", Address::server(&id("host-4")));
        assert_eq!(answer.unwrap(), "host-4", "without {dead}");
    }
}

#[test]
fn whichever_control_node_comes_back_first_is_found() {
    let mut world = cloud(5, Tier::Memory);
    for name in CONTROLS {
        world.crash(&id(name));
    }
    world.run_for(Duration::from_secs(10));
    // It is none that a host knew from the start, and knows nobody but the others that are gone.
    world.start(&id("control-3"));
    let met = |world: &mut World| live(world, "control-3") == HOSTS;
    assert!(world.run_until(LIMIT, met), "the hosts find it");
}

#[test]
fn the_death_of_a_control_node_is_a_change_for_all_that_follow_them() {
    let mut world = cloud(7, Tier::Memory);
    world.run_for(NEWS);
    let rpc: Rpc = world.handle(&id("control-1")).unwrap();
    let mut changes = rpc.directory().changes();
    world.run_for(NEWS);
    assert_eq!(changes.changed().now_or_never(), None, "nothing happens");
    world.crash(&id("control-2"));
    world.run_for(DEAD_AFTER + NEWS * 2);
    assert_eq!(changes.changed().now_or_never(), Some(()));
}

#[test]
fn what_a_node_leaves_to_others_is_asked_of_them_until_it_takes_it_back() {
    let mut world = cloud(6, Tier::Memory);
    let others = ["host-1", "host-2", "host-3"];
    let leave = |world: &mut World, topics: &[&str]| {
        let rpc: Rpc = world.handle(&id("host-4")).unwrap();
        rpc.directory().leave_to_others(topics.iter().map(|topic| Topic::new(topic)).collect());
    };
    leave(&mut world, &["echo"]);
    world.run_for(NEWS * 2);
    for observer in ["control-1", "control-3", "host-1", "host-4"] {
        assert_eq!(live(&mut world, observer), others, "{observer}");
    }
    let answer = ping(&mut world, "host-4", Address::any()).unwrap();
    assert!(others.contains(&&*answer), "{answer}");
    leave(&mut world, &[]);
    world.run_for(NEWS * 2);
    assert_eq!(live(&mut world, "host-1"), HOSTS);
}

#[test]
fn a_minority_answers_what_it_can_and_refuses_the_rest() {
    let mut world = cloud(4, Tier::Memory);
    // control-3 and host-4 are cut off from all others.
    for here in ["control-3", "host-4"] {
        for there in ["control-1", "control-2", "host-1", "host-2", "host-3"] {
            world.partition(&id(here), &id(there));
        }
    }
    world.run_for(DEAD_AFTER + NEWS);
    assert_eq!(live(&mut world, "control-3"), ["host-4"]);
    assert_eq!(live(&mut world, "control-1"), ["host-1", "host-2", "host-3"]);
    assert_eq!(ping(&mut world, "control-3", Address::any()).unwrap(), "host-4");
    world.crash(&id("host-4"));
    world.run_for(DEAD_AFTER + NEWS);
    let refused = ping(&mut world, "control-3", Address::any());
    let no_route = matches!(refused, Err(CallError::Refused { refusal: Refusal::NoRoute(_), .. }));
    assert!(no_route, "certainly not done, and at once: {refused:?}");
    world.heal();
    world.start(&id("host-4"));
    let again = |world: &mut World| live(world, "control-3") == HOSTS;
    assert!(world.run_until(LIMIT, again), "they find each other again");
}
