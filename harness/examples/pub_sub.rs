//! Publish and subscribe: a node switches lamps, and another is told of each switch, also of those that happened while
//! it was dead.
//!
//! The notice is written in the transaction that switches the lamp. The subscriber keeps a cursor in its own store: it
//! sees every switch at least once, and the switches of one lamp in their order. `--real`, `--quic` and `--seed NUMBER`
//! choose where it runs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    notify::{self, Cursor, Feed, Notice, Notices, Pull},
    rpc::{Cx, Rpc, TraceContext},
    store::{Record, Store, StoreError},
};

#[derive(Clone, Serialize, Deserialize)]
struct Lamp {
    name: String,
    switched: u64,
}

impl Record for Lamp {
    const TABLE: &'static str = "house/lamp";

    fn key(&self) -> String {
        self.name.clone()
    }

    fn notices(_old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        let notice = |lamp: &Self| Notice {
            event: "lamp.switched".to_owned(),
            object: lamp.name.clone(),
            project: None,
            publisher: "house".to_owned(),
            payload: json!({ "switched": lamp.switched }),
        };
        new.map(notice).into_iter().collect()
    }
}

/// What the subscriber has seen of each lamp, in the order in which it saw it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    lamps: BTreeMap<String, Vec<u64>>,
}

impl Record for Seen {
    const TABLE: &'static str = "subscriber/seen";

    fn key(&self) -> String {
        "all".to_owned()
    }
}

const SWITCHES: u64 = 30;

async fn house(node: NodeContext) {
    let store = node.disk.keep(|| Store::memory(node.env.clone()));
    node.handles().keep(|| store.clone());
    node.serve(&[], |prepared| {
        let feed = Feed::new(&store, "house");
        vec![prepared.directory().service(), notify::service([feed])]
    })
    .await;
}

async fn subscriber(node: NodeContext) {
    let (store, handles) = (node.disk.keep(|| Store::memory(node.env.clone())), node.handles());
    let env = node.env.clone();
    node.serve(&["house"], |_| Vec::new()).await;
    let Some(rpc) = handles.get::<Rpc>() else { return };
    env.spawn("subscriber", async move {
        while let Err(error) = follow(&store, &rpc).await {
            tracing::info!(%error, "the subscriber looks again");
        }
    });
}

async fn follow(store: &Store, rpc: &Rpc) -> Result<(), Box<dyn std::error::Error>> {
    let mut cursor = Cursor::load(store, "lamps", 0).await?;
    let (house, cx) = (rpc.client::<Notices>(), Cx::new("subscriber", TraceContext::default()));
    loop {
        let pull = Pull { service: "house".to_owned(), after: cursor.after, wait_ms: 5_000 };
        let Ok(pulled) = house.call(&pull, &cx).await else {
            rpc.env().sleep(Duration::from_millis(100)).await;
            continue;
        };
        let page = pulled.page()?;
        let handle = |txn: &mut updraft_runtime::store::Txn| -> Result<Cursor, StoreError> {
            let mut seen = txn.get::<Seen>("all")?.unwrap_or_default();
            for notice in &page.notices {
                let switched = notice.payload["switched"].as_u64().unwrap_or_default();
                seen.lamps.entry(notice.object.clone()).or_default().push(switched);
            }
            txn.put(&seen)?;
            cursor.handled(txn, page.next)
        };
        cursor = store.transact(handle).await?;
    }
}

async fn switch(store: Store, from: u64, to: u64) {
    for switched in from..to {
        for name in ["hall", "porch"] {
            let lamp = Lamp { name: name.to_owned(), switched };
            store.transact(|txn| txn.put(&lamp)).await.expect("it is switched");
        }
    }
}

fn main() {
    let mut world = World::from_args();
    let house = world.node("house", &["control"], house);
    let reader = world.node("reader", &["subscriber"], subscriber);
    let second = Duration::from_secs(1);
    let there = |world: &mut World| {
        world.handle::<Store>(&house).is_some() && world.handle::<Rpc>(&reader).is_some()
    };
    world.run_until(60 * second, there);
    let store: Store = world.handle(&house).expect("the house stands");
    let third = SWITCHES / 3;
    for (turn, from) in (0..SWITCHES).step_by(usize::try_from(third).expect("small")).enumerate() {
        if turn == 1 {
            world.crash(&reader);
        }
        world.on(&house, 60 * second, switch(store.clone(), from, from + third)).expect("switched");
        world.run_for(second);
        world.start(&reader);
    }
    let expected: Vec<u64> = (0..SWITCHES).collect();
    let all = |world: &mut World| {
        let store = world.disk(&reader)?.get::<Store>()?;
        let read = async move { store.read(|txn| txn.get::<Seen>("all")).await };
        world.on(&reader, second, read)?.ok()?
    };
    let seen = world.run_until(60 * second, |world| {
        let seen = all(world).unwrap_or_default();
        ["hall", "porch"].iter().all(|lamp| seen.lamps.get(*lamp) == Some(&expected))
    });
    assert!(
        seen,
        "every switch is seen, in order, and once: the cursor moved in the same transaction"
    );
    println!("{SWITCHES} switches of two lamps seen in order, over a crash of the subscriber");
}
