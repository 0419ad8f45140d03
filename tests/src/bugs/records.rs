//! Records of a shared database: nodes count, all at once, while commits conflict, come late, or end unknown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_harness::world::World;
use updraft_runtime::{
    Env,
    store::{CommitFate, Record, Store, StoreError, StoreFaults},
};
use updraft_transport::NodeId;

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 40;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// So many tasks of a node add one each, to one of a few counters.
    Add(u8, u8, u8),
    /// From now on these shares of commits, in percent, come late, end unknown, and are refused.
    Trouble(u8, u8, u8),
    /// Nothing, for so many milliseconds.
    Wait(u8),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_range(0..10) {
        0..6 => Step::Add(rng.random_range(0..3), rng.random_range(1..6), rng.random_range(0..3)),
        6..8 => {
            let mut share = |max: u8| rng.random_range(0..max);
            Step::Trouble(share(80), share(30), share(20))
        }
        _ => Step::Wait(rng.random_range(0..100)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    name: String,
    count: u64,
}

impl Record for Counter {
    const TABLE: &'static str = "bugs/counter";

    fn key(&self) -> String {
        self.name.clone()
    }
}

/// What becomes of commits.
struct Odds {
    rng: ChaCha8Rng,
    late: f64,
    unknown: f64,
    refused: f64,
}

struct Fates(Arc<Mutex<Odds>>);

impl StoreFaults for Fates {
    fn on_commit(&self, _keys: &[Arc<str>]) -> CommitFate {
        let Odds { rng, late, unknown, refused } = &mut *self.0.lock();
        if rng.random_bool(*refused) {
            return CommitFate::Unavailable;
        }
        match (rng.random_bool(*unknown), rng.random_bool(0.5)) {
            (true, true) => CommitFate::UnknownApplied,
            (true, false) => CommitFate::UnknownNotApplied,
            (false, _) if rng.random_bool(*late) => {
                CommitFate::Delay(Duration::from_millis(rng.random_range(1..50)))
            }
            (false, _) => CommitFate::Proceed,
        }
    }
}

/// What those that counted were told.
#[derive(Default)]
struct Told {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
}

type Tolds = Arc<[Told; 3]>;

async fn add(store: Store, which: u8, told: Tolds) {
    let name = format!("counter-{which}");
    let added = store
        .transact(|txn| {
            let count = txn.get::<Counter>(&name)?.map_or(0, |counter| counter.count);
            txn.put(&Counter { name: name.clone(), count: count + 1 })
        })
        .await;
    let told = &told[usize::from(which)];
    match added {
        Ok(()) => told.acknowledged.fetch_add(1, Ordering::Relaxed),
        Err(StoreError::Unknown) => told.unknown.fetch_add(1, Ordering::Relaxed),
        Err(_) => 0,
    };
}

/// Runs a case.
///
/// # Panics
/// If something was counted that was not asked for, or was acknowledged and not counted.
pub fn run(case: &Case) {
    let mut world = World::new(case.seed);
    let shared: Arc<Mutex<Option<Store>>> = Arc::default();
    let odds =
        Odds { rng: ChaCha8Rng::seed_from_u64(case.seed), late: 0.0, unknown: 0.0, refused: 0.0 };
    let (odds, told) = (Arc::new(Mutex::new(odds)), Tolds::default());
    let nodes: Vec<NodeId> = ["one", "two", "three"]
        .map(|name| {
            let (shared, odds) = (shared.clone(), odds.clone());
            world.node(name, &["control"], move |context| {
                let store =
                    of_all(&shared, &context.env).with_faults(Arc::new(Fates(odds.clone())));
                let handles = context.handles();
                async move {
                    handles.keep(|| store);
                }
            })
        })
        .into();
    world.run_for(Duration::from_millis(10));
    for step in &case.steps {
        match *step {
            Step::Add(node, tasks, which) => {
                let node = &nodes[usize::from(node)];
                let Some(store) = world.handle::<Store>(node) else { continue };
                for _ in 0..tasks {
                    let _ = world.begin(node, add(store.clone(), which, told.clone()));
                }
            }
            Step::Trouble(late, unknown, refused) => {
                let mut odds = odds.lock();
                let share = |percent: u8| f64::from(percent) / 100.0;
                (odds.late, odds.unknown, odds.refused) =
                    (share(late), share(unknown), share(refused));
            }
            Step::Wait(millis) => world.run_for(Duration::from_millis(millis.into())),
        }
    }
    world.run_for(Duration::from_secs(5));
    check(&mut world, &shared, &nodes[0], &told);
}

/// The database that all share: the first that needs it makes it.
fn of_all(shared: &Mutex<Option<Store>>, env: &Env) -> Store {
    shared.lock().get_or_insert_with(|| Store::memory(env.clone())).clone()
}

fn check(world: &mut World, shared: &Mutex<Option<Store>>, node: &NodeId, told: &Tolds) {
    let Some(store) = shared.lock().clone() else { panic!("there is no database") };
    let counters = async move { store.read(|txn| txn.scan::<Counter>(None, 10)).await };
    let counters = world.on(node, Duration::from_secs(1), counters);
    let Some(Ok(counters)) = counters else { panic!("the counters are not read: {counters:?}") };
    for (which, told) in told.iter().enumerate() {
        let name = format!("counter-{which}");
        let found = counters.iter().find(|counter| counter.name == name);
        let count = found.map_or(0, |counter| counter.count);
        let acknowledged = told.acknowledged.load(Ordering::Relaxed);
        let most = acknowledged + told.unknown.load(Ordering::Relaxed);
        assert!(
            count >= acknowledged,
            "what is acknowledged is counted: {acknowledged} were, {name} says {count}"
        );
        assert!(
            count <= most,
            "nothing is counted twice: {most} may have been, {name} says {count}"
        );
    }
}
