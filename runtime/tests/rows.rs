//! What the engine of converging rows promises, on a row that counts down.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Engine, Kind, Plan},
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
