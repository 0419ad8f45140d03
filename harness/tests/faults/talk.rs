//! Three nodes that talk all the time, look at their clocks, and ask a database and a driver; and what came of it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use updraft_harness::{
    fault::{DriverTrouble, FaultPlan, Topology},
    world::{EPOCH, NodeContext, Tier, World},
};
use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};
use updraft_transport::{Class, Event, Frame, Header, Incarnation, Kind, NodeId, Transport};

pub(super) const NODES: [&str; 3] = ["a", "b", "c"];

/// Between two messages of a node to another.
const EVERY: Duration = Duration::from_millis(20);

/// A body that fits into a datagram, and one that does not.
const BODIES: [usize; 4] = [100, 100, 100, 3_000];

/// What the driver is asked for.
pub(super) const OPERATION: &str = "disk/write";

/// A message at one end of its way: a frame on tier 1, a datagram on tier 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) at: Duration,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) bytes: usize,
    /// The same at both ends, unless it was damaged.
    pub(super) key: String,
}

/// A look at a node's clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// True time.
    pub(super) at: Duration,
    /// By how much the wall clock is wrong.
    pub(super) wrong_micros: i64,
    /// Time that only passes, since the node's start.
    pub(super) passed: Duration,
}

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sent: Vec<Item>,
    pub(super) heard: Vec<Item>,
    pub(super) looks: Vec<(String, Look)>,
    pub(super) commits: Vec<(Duration, String, Result<(), StoreError>)>,
    pub(super) troubles: Vec<(Duration, String, Option<DriverTrouble>)>,
    pub(super) starts: Vec<(Duration, String, u64)>,
}

#[derive(Clone, Default)]
struct Outside {
    /// True time, as of the last step.
    now: Arc<Mutex<Duration>>,
    seen: Arc<Mutex<Seen>>,
    database: Arc<Mutex<Option<Store>>>,
}

/// Runs the plan; returns what was seen and the world as it is then.
pub(super) fn run(
    tier: Tier,
    plan: FaultPlan,
    topology: Topology,
    lasts: Duration,
) -> (Seen, World) {
    run_and(tier, plan, topology, |world| world.run_for(lasts))
}

/// The same with a course of the world's own.
pub(super) fn run_and(
    tier: Tier,
    plan: FaultPlan,
    topology: Topology,
    course: impl FnOnce(&mut World),
) -> (Seen, World) {
    let outside = Outside::default();
    let mut world = World::on_tier(plan.seed, tier);
    world.stand(topology);
    world.follow(plan);
    for name in NODES {
        let outside = outside.clone();
        world.node(name, &["peer"], move |context| live(context, outside.clone()));
    }
    let now = outside.now.clone();
    world.watch(move |world| *now.lock() = world.now());
    course(&mut world);
    let mut seen = std::mem::take(&mut *outside.seen.lock());
    if tier.is_over_quic() {
        (seen.sent, seen.heard) = datagrams(&world);
    }
    (seen, world)
}

async fn live(context: NodeContext, outside: Outside) {
    let (name, life) = (context.node().to_string(), context.incarnation);
    let (env, transport) = (&context.env.clone(), &context.transport.clone());
    outside.seen.lock().starts.push((*outside.now.lock(), name.clone(), life.0));
    let made = || Store::memory(env.clone());
    let store = outside.database.lock().get_or_insert_with(made).clone();
    let store = store.with_faults(context.store_faults());
    for other in NODES.into_iter().filter(|other| *other != name) {
        let peer = NodeId::new(other).unwrap();
        transport.learn(&peer, context.address_of(&peer));
        let talks = talk(env.clone(), transport.clone(), peer, life, outside.clone());
        env.spawn("talk", talks);
    }
    let (asks, faults) = (outside.clone(), context.faults.clone());
    let (clock, node) = (env.clone(), name.clone());
    env.spawn("ask", async move {
        loop {
            let wrote = store.transact(|txn| txn.put_raw(&format!("t/{node}"), "1".into())).await;
            let (at, passed) = (*asks.now.lock(), clock.now());
            let wrong_micros = clock.wall().0.cast_signed() - EPOCH.plus(at).0.cast_signed();
            let trouble = faults.on(&node, OPERATION);
            asks.note(&node, Look { at, wrong_micros, passed }, wrote, trouble);
            clock.sleep(EVERY).await;
        }
    });
    let mut events = context.events;
    env.clone().spawn("listen", async move {
        while let Some(event) = events.recv().await {
            let Event::Frame { peer, frame } = event else { continue };
            outside.hear(peer.node.to_string(), &name, &frame);
        }
    });
}

async fn talk(
    env: Env,
    link: Arc<dyn Transport>,
    peer: NodeId,
    life: Incarnation,
    outside: Outside,
) {
    for number in 0_u64.. {
        let bytes = BODIES[usize::try_from(number).unwrap() % BODIES.len()];
        let header = Header {
            kind: Kind::Cast,
            method: "test/talk".into(),
            id: number,
            incarnation: life,
            deadline_ms: 60_000,
            trace_id: [0; 16],
            span_id: [0; 8],
            trace_flags: 0,
            context: Vec::new().into(),
        };
        let frame = Frame { header, body: vec![7; bytes].into() };
        let item = outside.item(link.local().node.to_string(), peer.to_string(), &frame);
        if link.send(&peer, Class::Calls, frame).is_ok() {
            outside.seen.lock().sent.push(item);
        }
        env.sleep(EVERY).await;
    }
}

impl Outside {
    fn note(
        &self,
        node: &str,
        look: Look,
        wrote: Result<(), StoreError>,
        trouble: Option<DriverTrouble>,
    ) {
        let mut seen = self.seen.lock();
        seen.commits.push((look.at, node.to_owned(), wrote));
        seen.looks.push((node.to_owned(), look));
        seen.troubles.push((look.at, node.to_owned(), trouble));
    }

    fn item(&self, from: String, to: String, frame: &Frame) -> Item {
        let Header { incarnation, id, .. } = &frame.header;
        let key = format!("{from}>{to} {}.{id}", incarnation.0);
        Item { at: *self.now.lock(), from, to, bytes: frame.body.len(), key }
    }

    fn hear(&self, from: String, to: &str, frame: &Frame) {
        let item = self.item(from, to.to_owned(), frame);
        self.seen.lock().heard.push(item);
    }
}

/// What was sent and what was received, by the log of every datagram.
fn datagrams(world: &World) -> (Vec<Item>, Vec<Item>) {
    let (mut sent, mut heard) = (Vec::new(), Vec::new());
    for line in world.events() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [at, what @ ("SEND" | "LOST" | "RECV"), ends, bytes, hash, ..] = words[..] else {
            continue;
        };
        let (from, to) = ends.split_once('>').unwrap();
        let item = Item {
            at: Duration::from_micros(at.parse().unwrap()),
            from: name_of(from),
            to: name_of(to),
            bytes: bytes.parse().unwrap(),
            key: format!("{ends} {hash}"),
        };
        if what == "RECV" { heard.push(item) } else { sent.push(item) }
    }
    (sent, heard)
}

/// turmoil's addresses count the hosts in the order in which they came.
fn name_of(address: &str) -> String {
    let host = address.split(':').next().unwrap();
    let number: usize = host.rsplit('.').next().unwrap().parse().unwrap();
    NODES[number - 1].to_owned()
}

impl Seen {
    /// What was sent and when it was heard first, of what was sent from one to the other within these times.
    pub(super) fn transits(
        &self,
        from: &str,
        to: &str,
        within: (Duration, Duration),
    ) -> Vec<(Item, Option<Duration>)> {
        let between = |item: &&Item| item.from == from && item.to == to;
        let sent = self.sent.iter().filter(between);
        let sent = sent.filter(|item| within.0 <= item.at && item.at < within.1);
        sent.map(|item| {
            let heard = self.heard.iter().find(|heard| heard.key == item.key);
            (item.clone(), heard.map(|heard| heard.at.saturating_sub(item.at)))
        })
        .collect()
    }

    /// What was heard by one from the other within these times.
    pub(super) fn heard(&self, from: &str, to: &str, within: (Duration, Duration)) -> Vec<&Item> {
        let between = |item: &&Item| item.from == from && item.to == to;
        let heard = self.heard.iter().filter(between);
        heard.filter(|item| within.0 <= item.at && item.at < within.1).collect()
    }
}
