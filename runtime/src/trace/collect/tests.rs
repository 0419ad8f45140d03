//! How much of the log is kept, and what asking for steps costs.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{super::StepKind, ledger::BATCHES_KEPT, *};
use crate::{
    env::UnixMicros,
    store::{BeginFate, CommitFate, StoreFaults, limits::VALUE_MAX_BYTES},
};

const MINE: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];

fn step(trace_id: [u8; 16], at: u64) -> Step {
    Step {
        trace_id,
        at: UnixMicros(at),
        kind: StepKind::Call,
        name: "probe/call".to_owned(),
        from: "api".to_owned(),
        from_node: "one".to_owned(),
        to: "probe".to_owned(),
        to_node: "two".to_owned(),
    }
}

fn store() -> Store {
    Store::memory(Env::real())
}

/// Writes batches to the log as an earlier life of its collector has.
async fn left_behind(store: &Store, batches: usize, batch: &[u8]) {
    for _ in 0..batches {
        let mut txn = store.begin().await.unwrap();
        txn.append(LOG, batch.to_vec().into()).unwrap();
        txn.commit().await.unwrap();
    }
}

/// How many batches there are in the log, and how many bytes.
async fn size(store: &Store) -> (usize, usize) {
    let (mut batches, mut bytes, mut after) = (0, 0, 0);
    loop {
        let entries = store.log_read(LOG, after, usize::MAX).await.unwrap();
        let Some(last) = entries.last() else { return (batches, bytes) };
        after = last.sequence;
        batches += entries.len();
        bytes += entries.iter().map(|entry| entry.value.len()).sum::<usize>();
    }
}

#[tokio::test]
async fn the_steps_of_a_request_are_found_by_time_whoever_collected_them() {
    let store = store();
    let (one, two) = (Collector::new(&store), Collector::new(&store));
    one.keep(&[step(MINE, 3), step(OTHER, 4)]).await.unwrap();
    assert_eq!(one.steps(&[MINE]).await.unwrap(), [step(MINE, 3)]);
    two.keep(&[step(MINE, 1)]).await.unwrap();
    one.keep(&[step(MINE, 2)]).await.unwrap();
    let expected = [step(MINE, 1), step(MINE, 2), step(MINE, 3)];
    for collector in [one, two, Collector::new(&store)] {
        assert_eq!(collector.steps(&[MINE]).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn what_an_earlier_life_left_in_the_log_is_trimmed() {
    let store = store();
    left_behind(&store, BATCHES_KEPT + 10, b"[]").await;
    Collector::new(&store).keep(&[step(MINE, 1)]).await.unwrap();
    assert_eq!(size(&store).await.0, BATCHES_KEPT);
}

#[tokio::test]
async fn the_log_has_a_limit_of_bytes() {
    let store = store();
    let large = vec![b' '; VALUE_MAX_BYTES];
    left_behind(&store, BYTES_KEPT / VALUE_MAX_BYTES + 1, &large).await;
    Collector::new(&store).keep(&[step(MINE, 1)]).await.unwrap();
    let (_, bytes) = size(&store).await;
    assert!(bytes <= BYTES_KEPT, "{bytes}");
}

#[tokio::test]
async fn large_batches_are_trimmed_before_there_are_many() {
    let store = store();
    left_behind(&store, BYTES_KEPT / VALUE_MAX_BYTES, &vec![b' '; VALUE_MAX_BYTES]).await;
    let collector = Collector::new(&store);
    let name = "x".repeat(VALUE_MAX_BYTES / 2);
    let large = Step { name, ..step(OTHER, 1) };
    for _ in 0..2 * TRIM_EVERY_BYTES / large.name.len() + 1 {
        collector.keep(std::slice::from_ref(&large)).await.unwrap();
    }
    let (_, bytes) = size(&store).await;
    assert!(bytes <= BYTES_KEPT + TRIM_EVERY_BYTES, "{bytes}");
}

#[tokio::test]
async fn steps_that_were_trimmed_are_not_found() {
    let store = store();
    let collector = Collector::new(&store);
    collector.keep(&[step(MINE, 1)]).await.unwrap();
    left_behind(&store, BATCHES_KEPT, b"[]").await;
    collector.trim().await.unwrap();
    assert_eq!(collector.steps(&[MINE]).await.unwrap(), []);
    assert!(collector.ledger.lock().await.batches_of(&[MINE]).is_empty());
}

/// Counts how often the store is asked.
#[derive(Default)]
struct Asked(AtomicUsize);

impl StoreFaults for Asked {
    fn on_begin(&self) -> BeginFate {
        self.0.fetch_add(1, Ordering::Relaxed);
        BeginFate::Proceed
    }

    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        CommitFate::Proceed
    }
}

#[tokio::test]
async fn asking_again_reads_only_what_is_new_and_the_batches_of_the_request() {
    let asked = Arc::new(Asked::default());
    let store = store().with_faults(asked.clone());
    let collector = Collector::new(&store);
    collector.keep(&[step(MINE, 1)]).await.unwrap();
    for at in 0..1_000 {
        collector.keep(&[step(OTHER, at)]).await.unwrap();
    }
    assert_eq!(collector.steps(&[MINE]).await.unwrap().len(), 1);
    let before = asked.0.load(Ordering::Relaxed);
    assert_eq!(collector.steps(&[MINE]).await.unwrap().len(), 1);
    let reads = asked.0.load(Ordering::Relaxed) - before;
    assert_eq!(reads, 2, "what is new, and the one batch");
}
