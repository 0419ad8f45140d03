//! A replicated key-value map: each of three nodes takes writes, tells the others by casts, and asks one of them now
//! and then for all that it has. Casts make it fast; asking makes it sure: after a partition, all agree again.
//!
//! The later write wins, and between two of the same age the one of the greater node: every order of messages ends in
//! the same map. `--real`, `--quic` and `--seed NUMBER` choose where it runs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    Env, message, protocol,
    rpc::{Address, Cx, Rpc, Service, TraceContext},
};
use updraft_transport::NodeId;

/// A value, and which write it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    counter: u64,
    node: NodeId,
    value: String,
}

type Entries = BTreeMap<String, Written>;

/// What replicas tell each other.
struct Map;
protocol!(Map = "map");

/// "This was written."
#[derive(Serialize, Deserialize)]
struct Wrote(String, Written);
message!(cast Wrote = Map / "wrote", from ["*"], to ["*"]);

/// "What do you have?"
#[derive(Serialize, Deserialize)]
struct All;
message!(call All = Map / "all", Fenced, from ["*"], to ["*"], reply Entries, deadline_ms 1_000);

const NODES: [&str; 3] = ["a", "b", "c"];

/// How often a replica asks another for everything.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// One node's copy.
#[derive(Clone, Default)]
struct Replica(Arc<Mutex<Entries>>);

impl Replica {
    fn merge(&self, key: String, new: Written) {
        let mut entries = self.0.lock();
        let newer = |old: &Written| (new.counter, &new.node) > (old.counter, &old.node);
        if entries.get(&key).is_none_or(newer) {
            entries.insert(key, new);
        }
    }

    fn write(&self, rpc: &Rpc, key: &str, value: &str) {
        let counter = self.0.lock().get(key).map_or(0, |old| old.counter) + 1;
        let written = Written { counter, node: rpc.local().clone(), value: value.to_owned() };
        self.merge(key.to_owned(), written.clone());
        // A replica that does not hear of it asks.
        let _ = rpc.client::<Map>().fanout(&Wrote(key.to_owned(), written), &cx());
    }

    fn service(&self) -> Service {
        let (told, asked) = (self.clone(), self.clone());
        Service::of::<Map>()
            .cast(move |_, Wrote(key, written)| {
                told.merge(key, written);
                async { Ok(()) }
            })
            .call(move |_, All| {
                let entries = asked.0.lock().clone();
                async { Ok(entries) }
            })
            .into()
    }

    async fn ask_forever(self, env: Env, rpc: Rpc) {
        let map = rpc.client::<Map>();
        for turn in 0.. {
            env.sleep(ASK_EVERY).await;
            let other = Address::server(&NodeId::new(NODES[turn % NODES.len()]).expect("legal"));
            if let Ok(entries) = map.at(other).call(&All, &cx()).await {
                entries.into_iter().for_each(|(key, written)| self.merge(key, written));
            }
        }
    }
}

fn cx() -> Cx {
    Cx::new("map", TraceContext::default())
}

async fn replica(node: NodeContext) {
    let (replica, env, handles) = (Replica::default(), node.env.clone(), node.handles());
    handles.keep(|| replica.clone());
    node.serve(&NODES, |prepared| {
        env.spawn("ask", replica.clone().ask_forever(env.clone(), prepared.rpc()));
        vec![prepared.directory().service(), replica.service()]
    })
    .await;
}

fn write(world: &mut World, node: &NodeId, key: &'static str, value: &'static str) {
    let rpc: Rpc = world.handle(node).expect("it runs");
    let replica: Replica = world.handle(node).expect("it runs");
    world
        .on(node, Duration::from_secs(60), async move { replica.write(&rpc, key, value) })
        .expect("it writes");
}

fn agree(world: &World, nodes: &[NodeId]) -> Option<Entries> {
    let all = nodes.iter().map(|node| Some(world.handle::<Replica>(node)?.0.lock().clone()));
    let all: Vec<Entries> = all.collect::<Option<_>>()?;
    all.iter().all(|entries| entries == &all[0]).then(|| all[0].clone())
}

fn main() {
    let mut world = World::from_args();
    let nodes = NODES.map(|name| world.node(name, &["control"], replica));
    let [a, b, c] = &nodes;
    let minute = Duration::from_secs(60);
    world.run_until(minute, |world| nodes.iter().all(|node| world.handle::<Rpc>(node).is_some()));
    write(&mut world, a, "colour", "red");
    let red = |world: &mut World| {
        agree(world, &nodes).is_some_and(|entries| entries.contains_key("colour"))
    };
    assert!(world.run_until(minute, red), "all hear of it");
    world.partition(a, b);
    world.partition(a, c);
    write(&mut world, a, "colour", "green");
    write(&mut world, b, "colour", "blue");
    write(&mut world, c, "size", "large");
    world.run_for(Duration::from_secs(2));
    assert_eq!(agree(&world, &nodes), None, "two sides, two colours");
    world.heal();
    assert!(world.run_until(minute, |world| agree(world, &nodes).is_some()), "they agree again");
    let entries = agree(&world, &nodes).expect("as was just seen");
    assert_eq!((&*entries["colour"].value, &*entries["size"].value), ("blue", "large"));
    println!("three replicas agree after a partition: colour blue, size large");
}
