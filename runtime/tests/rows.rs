//! What the engine of converging rows promises, on a row that counts down.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, RealWorld, UnixMicros, World},
    rows::{EFFECTS_MAX, Engine, Kind, Plan},
    store::{Record, Store, StoreError, Txn},
};

/// Longer than a rescan takes to come round.
const SETTLES: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Countdown {
    name: String,
    left: u32,
}

impl Countdown {
    fn new(name: &str, left: u32) -> Self {
        Self { name: name.to_owned(), left }
    }
}

impl Record for Countdown {
    const TABLE: &'static str = "test/countdown";

    fn key(&self) -> String {
        self.name.clone()
    }
}

/// One step is done by an effect at a time.
struct Countdowns;

impl Kind for Countdowns {
    type Row = Countdown;
    type Facts = ();
    type Effect = u32;
    type Learned = u32;

    fn facts(&self, _: &Txn, _: &Countdown) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &Countdown, (): &(), _: UnixMicros) -> Plan<Self> {
        if row.left == 0 { Plan::settled() } else { Plan::act(vec![row.left]) }
    }

    fn learn(row: &mut Countdown, done: u32, _: UnixMicros) -> bool {
        let current = row.left == done;
        if current {
            row.left -= 1;
        }
        current
    }

    fn perform(&self, _: Countdown, step: u32) -> BoxFuture<'static, Option<u32>> {
        Box::pin(async move { Some(step) })
    }
}

async fn put(store: &Store, row: &Countdown) {
    store.transact(|txn| txn.put(row)).await.unwrap();
}

async fn left(store: &Store, name: &str) -> u32 {
    store.read(|txn| txn.get::<Countdown>(name)).await.unwrap().unwrap().left
}

fn engine(store: &Store) -> Engine<Countdowns> {
    Engine::new(&Env::real(), store.clone(), Countdowns, Arc::new(|_| true))
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_there_and_rows_that_come_are_driven_to_their_end() {
    let store = Store::memory(Env::real());
    put(&store, &Countdown::new("early", 3)).await;
    engine(&store).start();
    put(&store, &Countdown::new("late, 100% sure", 2)).await;
    Env::real().sleep(SETTLES).await;
    assert_eq!(left(&store, "early").await, 0);
    assert_eq!(left(&store, "late, 100% sure").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_row_keeps_no_other_from_being_driven() {
    let store = Store::memory(Env::real());
    put(&store, &Countdown::new("a", 3)).await;
    store.transact(|txn| txn.put_raw("test/countdown/b", "{}".into())).await.unwrap();
    put(&store, &Countdown::new("c", 3)).await;
    engine(&store).start();
    Env::real().sleep(SETTLES).await;
    assert_eq!(left(&store, "a").await, 0);
    assert_eq!(left(&store, "c").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_row_is_driven_once_it_is_mended() {
    let store = Store::memory(Env::real());
    store.transact(|txn| txn.put_raw("test/countdown/b", "{}".into())).await.unwrap();
    engine(&store).start();
    Env::real().sleep(SETTLES).await;
    let mended = r#"{"name":"b","left":2}"#;
    store.transact(|txn| txn.put_raw("test/countdown/b", mended.into())).await.unwrap();
    Env::real().sleep(SETTLES).await;
    assert_eq!(left(&store, "b").await, 0);
}

/// Each row has one effect, which waits for a place in the world; a row that is to count nothing has none.
#[derive(Clone)]
struct Waiters {
    places: Arc<tokio::sync::Semaphore>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Waiters {
    fn new() -> Self {
        let places = Arc::new(tokio::sync::Semaphore::new(0));
        Self { places, under_way: Arc::default(), most: Arc::default() }
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl Kind for Waiters {
    type Row = Countdown;
    type Facts = ();
    type Effect = u32;
    type Learned = u32;

    fn facts(&self, _: &Txn, _: &Countdown) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &Countdown, (): &(), _: UnixMicros) -> Plan<Self> {
        match row.left {
            0 => Plan::settled(),
            // What needs nobody is done by the plan alone.
            left if left > 1 => Plan::write(Countdown { left: 0, ..row.clone() }),
            left => Plan::act(vec![left]),
        }
    }

    fn learn(row: &mut Countdown, done: u32, now: UnixMicros) -> bool {
        Countdowns::learn(row, done, now)
    }

    fn perform(&self, _: Countdown, step: u32) -> BoxFuture<'static, Option<u32>> {
        let this = self.clone();
        Box::pin(async move {
            let under_way = this.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            this.most.fetch_max(under_way, Ordering::Relaxed);
            this.places.acquire().await.unwrap().forget();
            this.under_way.fetch_sub(1, Ordering::Relaxed);
            Some(step)
        })
    }
}

/// So many rows whose effects wait, and what carries them out.
async fn waiting(rows: usize) -> (Store, Waiters) {
    let (store, waiters) = (Store::memory(Env::real()), Waiters::new());
    for row in 0..rows {
        put(&store, &Countdown::new(&format!("{row:06}"), 1)).await;
    }
    let owns: updraft_runtime::rows::Owns = Arc::new(|_| true);
    Engine::new(&Env::real(), store.clone(), waiters.clone(), owns).start();
    Env::real().sleep(SOON).await;
    (store, waiters)
}

/// Far less than a rescan takes to come round.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn no_more_effects_than_the_limit_are_under_way_and_all_have_their_turn() {
    let (store, waiters) = waiting(2 * EFFECTS_MAX + 10).await;
    assert_eq!(waiters.under_way(), EFFECTS_MAX);
    waiters.places.add_permits(3 * EFFECTS_MAX);
    Env::real().sleep(SOON).await;
    assert_eq!(waiters.most.load(Ordering::Relaxed), EFFECTS_MAX);
    for row in [0, EFFECTS_MAX, 2 * EFFECTS_MAX + 9] {
        assert_eq!(left(&store, &format!("{row:06}")).await, 0, "row {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn effects_that_wait_keep_no_row_from_being_planned() {
    let (store, _waiters) = waiting(EFFECTS_MAX + 10).await;
    put(&store, &Countdown::new("planned", 2)).await;
    Env::real().sleep(SOON).await;
    assert_eq!(left(&store, "planned").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_waits_in_vain_gives_way_to_the_next() {
    let (store, waiters) = waiting(EFFECTS_MAX + 3).await;
    for vain in [EFFECTS_MAX, EFFECTS_MAX + 1] {
        put(&store, &Countdown::new(&format!("{vain:06}"), 0)).await;
    }
    Env::real().sleep(SOON).await;
    waiters.places.add_permits(1);
    Env::real().sleep(SOON).await;
    assert_eq!(waiters.under_way(), EFFECTS_MAX, "the last row has the place of the first");
}

/// Its plan rewrites the row for ever, and every plan is counted.
#[derive(Clone, Default)]
struct Restless(Arc<AtomicUsize>);

impl Kind for Restless {
    type Row = Countdown;
    type Facts = ();
    type Effect = ();
    type Learned = u32;

    fn facts(&self, _: &Txn, _: &Countdown) -> Result<(), StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn plan(row: &Countdown, (): &(), _: UnixMicros) -> Plan<Self> {
        Plan::write(Countdown { left: row.left + 1, ..row.clone() })
    }

    fn learn(row: &mut Countdown, left: u32, _: UnixMicros) -> bool {
        row.left = left;
        true
    }

    fn perform(&self, _: Countdown, (): ()) -> BoxFuture<'static, Option<u32>> {
        Box::pin(async { None })
    }
}

fn restless(store: &Store) -> (Engine<Restless>, Restless) {
    let kind = Restless::default();
    (Engine::new(&Paused::env(), store.clone(), kind.clone(), Arc::new(|_| true)), kind)
}

/// The machine, with the clock of a paused test.
#[allow(clippy::disallowed_methods, reason = "a world of its own")]
struct Paused(RealWorld, tokio::time::Instant);

#[allow(clippy::disallowed_methods, reason = "a world of its own")]
impl Paused {
    fn env() -> Env {
        Env::new(Self(RealWorld::new(), tokio::time::Instant::now()))
    }
}

impl World for Paused {
    fn now(&self) -> Duration {
        self.1.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        self.0.wall()
    }

    fn seed(&self, stream: &'static str) -> [u8; 32] {
        self.0.seed(stream)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn(name, task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        self.0.blocking(work)
    }
}

/// How often a plan is asked in one go before it is given up.
const IN_ONE_GO: usize = 16;

#[tokio::test(start_paused = true)]
async fn a_plan_that_never_settles_writes_nothing_and_is_asked_now_and_then() {
    let store = Store::memory(Env::real());
    put(&store, &Countdown::new("restless", 0)).await;
    let version = || store.read(|txn| txn.get_raw("test/countdown/restless"));
    let before = version().await.unwrap().unwrap().version;
    let (engine, kind) = restless(&store);
    engine.start();
    Env::real().sleep(SETTLES).await;
    assert_eq!(version().await.unwrap().unwrap().version, before);
    let asked = kind.0.load(Ordering::Relaxed);
    // At the start, and every five seconds from then on; a rescan, every ten, may come between.
    assert!((6 * IN_ONE_GO..=10 * IN_ONE_GO).contains(&asked), "{asked} times");
}

#[tokio::test(start_paused = true)]
async fn what_is_learnt_is_kept_though_the_plan_never_settles() {
    let store = Store::memory(Env::real());
    put(&store, &Countdown::new("restless", 0)).await;
    let (engine, _) = restless(&store);
    engine.start();
    let row = engine.learn("restless", 77).await.unwrap().unwrap();
    assert_eq!(row.left, 77);
    assert_eq!(left(&store, "restless").await, 77);
}
