//! Nodes that share a database, and everything that can go wrong between them and it: nothing acknowledged is lost,
//! nothing refused has happened, and what is unknown is one or the other.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use updraft_harness::{
    fault::{DatabaseTrouble, Fault, FaultPlan, Faults, Target},
    world::{Tier, World},
};
use updraft_runtime::store::{Store, StoreError};
use updraft_transport::NodeId;

const NODES: [&str; 3] = ["control-1", "control-2", "control-3"];
const SEEDS: u64 = 12;
/// Between two commits of a node.
const PAUSE: Duration = Duration::from_millis(20);
/// When the last trouble has ended.
const OVER: Duration = Duration::from_secs(60);
/// When a node crashes, and for how long it is down.
const CRASH: Duration = Duration::from_secs(20);
const DOWN: Duration = Duration::from_secs(2);
/// How long it may take until every node commits again.
const SETTLES: Duration = Duration::from_secs(5);

use DatabaseTrouble::{Away, Conflict, LostBeforeCommit, Slow, UnknownApplied, UnknownNotApplied};

/// What a node was told of a commit; nothing, if it did not live to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Done,
    Refused,
    Unknown,
}

/// What outlives every node: the database, and what was told of each commit.
#[derive(Clone, Default)]
struct Outside {
    database: Arc<Mutex<Option<Store>>>,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
    /// The rows that a watch of each node has heard of.
    heard: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
}

impl Outside {
    fn acknowledged(&self) -> BTreeSet<String> {
        let told = self.told.lock();
        let done = told.iter().filter(|(_, told)| **told == Told::Done);
        done.map(|(name, _)| name.clone()).collect()
    }
}

/// For whom, from when until when in seconds, for which share, and what.
type Step = (Option<&'static str>, u64, u64, u8, DatabaseTrouble);

/// All troubles at once and one by one; a node that is cut off for long; and a database that moves, as all see it:
/// answers are lost, then it is away.
fn steps() -> Vec<Step> {
    let slow = Slow { longest: Duration::from_secs(2) };
    let mut steps = vec![
        (Some(NODES[0]), 10, 40, 100, Away),
        (None, 45, 46, 100, UnknownApplied),
        (None, 46, 52, 100, Away),
    ];
    for trouble in [LostBeforeCommit, UnknownNotApplied, UnknownApplied, Conflict, slow] {
        steps.push((None, 0, 44, 5, trouble));
    }
    steps.push((Some(NODES[1]), 52, 60, 100, LostBeforeCommit));
    steps.push((Some(NODES[2]), 52, 60, 80, Conflict));
    steps
}

fn plan(seed: u64) -> FaultPlan {
    steps().into_iter().fold(FaultPlan::new(seed), |plan, (node, from, until, percent, trouble)| {
        let nodes = node.map_or(Target::All, Target::node);
        let (from, until) = (Duration::from_secs(from), Duration::from_secs(until));
        plan.with(from, until, Fault::Database { nodes, percent, trouble })
    })
}

fn world(plan: &FaultPlan, tier: Tier, outside: &Outside) -> World {
    let mut world = World::on_tier(plan.seed, tier);
    world.follow(plan.clone());
    for name in NODES {
        let outside = outside.clone();
        world.node(name, &["control"], move |context| {
            let outside = outside.clone();
            async move {
                let (env, node) = (context.env.clone(), context.node());
                let made = || Store::memory(env.clone());
                let store = outside.database.lock().get_or_insert_with(made).clone();
                let store = store.with_faults(context.store_faults());
                let life = context.incarnation.0;
                env.spawn("listen", listen(store.clone(), node.to_string(), outside.clone()));
                env.clone().spawn("write", async move {
                    for number in 0_u64.. {
                        write(&store, format!("{node}.{life}.{number}"), &outside).await;
                        env.sleep(PAUSE).await;
                    }
                });
            }
        });
    }
    world
}

async fn write(store: &Store, name: String, outside: &Outside) {
    outside.told.lock().insert(name.clone(), Told::Nothing);
    let written = store.transact(|txn| {
        let count = txn.get_raw("t/count")?;
        let count: u64 = count.map_or(0, |entry| serde_json::from_slice(&entry.value).unwrap());
        txn.put_raw("t/count", (count + 1).to_string().into())?;
        txn.put_raw(&format!("t/row/{name}"), "1".into())?;
        txn.append("t/log", name.clone().into())
    });
    let told = match written.await {
        Ok(()) => Told::Done,
        Err(StoreError::Unknown) => Told::Unknown,
        Err(StoreError::Conflict | StoreError::Unavailable(_)) => Told::Refused,
        Err(other) => panic!("{other}"),
    };
    outside.told.lock().insert(name, told);
}

async fn listen(store: Store, node: String, outside: Outside) {
    let mut watch = store.watch("t/row/");
    loop {
        let changes = watch.changed().await;
        let keys = changes.keys.iter().filter_map(|key| key.strip_prefix("t/row/"));
        outside.heard.lock().entry(node.clone()).or_default().extend(keys.map(str::to_owned));
    }
}

/// What the database has.
struct Found {
    rows: BTreeSet<String>,
    log: Vec<String>,
    count: String,
}

/// The rows and the log, as somebody finds them who has no trouble.
async fn found(store: Store) -> Found {
    let rows = store.begin().await.unwrap().scan_raw("t/row/", None, usize::MAX).unwrap();
    let rows = rows.iter().map(|(key, _)| key.strip_prefix("t/row/").unwrap().to_owned()).collect();
    let count = store.begin().await.unwrap().get_raw("t/count").unwrap().unwrap().value;
    let (mut log, mut after) = (Vec::new(), 0);
    loop {
        let entries = store.log_read("t/log", after, usize::MAX).await.unwrap();
        let Some(last) = entries.last() else { break };
        after = last.sequence;
        log.extend(entries.iter().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()));
    }
    Found { rows, log, count: String::from_utf8(count.to_vec()).unwrap() }
}

/// Runs a plan, with a crash in the midst of it; returns what each commit was told and whether it is there, and what
/// has gone wrong.
fn run(plan: &FaultPlan, tier: Tier) -> (Vec<(Told, bool)>, Faults) {
    let (seed, outside) = (plan.seed, Outside::default());
    let mut world = world(plan, tier, &outside);
    let crashing = NodeId::new(NODES[1]).unwrap();
    world.run_for(CRASH);
    world.crash(&crashing);
    world.run_for(DOWN);
    world.start(&crashing);
    world.run_for(OVER - CRASH - DOWN);
    let before = outside.acknowledged();
    let commits_again = |node: &str| {
        let now = outside.acknowledged();
        now.difference(&before).any(|name| name.starts_with(node))
    };
    let again = world.run_until(SETTLES, |_| NODES.into_iter().all(commits_again));
    assert!(again, "seed {seed}: not every node commits again");

    // What is told later may be of commits that come later.
    let told = outside.told.lock().clone();
    let (store, node) = (outside.database.lock().clone().unwrap(), NodeId::new(NODES[0]).unwrap());
    let found = world.on(&node, SETTLES, found(store)).unwrap();
    world.run_for(SETTLES);
    found.assert_whole(&told, seed);
    // The first node has never crashed, and so must have heard of all, however long it was cut off.
    let heard = outside.heard.lock();
    let missed: Vec<_> = found.rows.difference(&heard[NODES[0]]).collect();
    assert!(missed.is_empty(), "seed {seed}: a watch has missed {missed:?}");
    let told = told.into_iter().map(|(name, told)| (told, found.rows.contains(&name)));
    (told.collect(), world.faults().clone())
}

impl Found {
    fn assert_whole(&self, told: &BTreeMap<String, Told>, seed: u64) {
        let Self { rows, log, count } = self;
        let logged: BTreeSet<String> = log.iter().cloned().collect();
        assert_eq!(logged, *rows, "seed {seed}: rows and the log differ");
        assert_eq!(log.len().to_string(), *count, "seed {seed}: not every increment is there once");
        for (name, told) in told {
            let is_there = rows.contains(name);
            assert!(*told != Told::Done || is_there, "seed {seed}: acknowledged and lost: {name}");
            assert!(*told != Told::Refused || !is_there, "seed {seed}: refused and there: {name}");
        }
    }
}

/// Runs a plan for each seed, and makes sure that everything that can happen did.
fn all_holds(tier: Tier, seeds: u64) {
    let mut ends = BTreeMap::<String, usize>::new();
    for seed in 1..=seeds {
        let (told, faults) = run(&plan(seed), tier);
        for end in told {
            *ends.entry(format!("{end:?}")).or_default() += 1;
        }
        for node in NODES {
            for step in &plan(seed).steps {
                let kind = step.fault.kind();
                assert!(faults.struck_at(kind, node) > 0, "seed {seed}: no {kind} at {node}");
            }
        }
    }
    for sometimes in ["(Done, true)", "(Refused, false)", "(Unknown, true)", "(Unknown, false)"] {
        assert!(ends.contains_key(sometimes), "{sometimes} never happened: {ends:?}");
    }
}

#[test]
fn whatever_goes_wrong_with_the_database_nothing_acknowledged_is_lost() {
    all_holds(Tier::Memory, SEEDS);
}

#[test]
fn the_same_holds_over_quic() {
    all_holds(Tier::Quic, 2);
}

#[test]
fn a_plan_is_a_value() {
    let plan = plan(7);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    let struck = |_| run(&plan, Tier::Memory).1.struck();
    assert_eq!(struck(1), struck(2), "the same plan went otherwise");
}
