//! Faults that a simulation injects for one client of a shared store.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use updraft_runtime::{
    Env,
    store::{BeginFate, CommitFate, Store, StoreError, StoreFaults, limits::TRANSACT_ATTEMPTS_MAX},
};

use crate::support::{json, put, still_env, stored};

/// Deals out fates in turn, then lets everything proceed; notes what was written.
#[derive(Default)]
struct Script {
    begins: Mutex<VecDeque<BeginFate>>,
    commits: Mutex<VecDeque<CommitFate>>,
    written: Mutex<Vec<String>>,
}

impl StoreFaults for Script {
    fn on_begin(&self) -> BeginFate {
        self.begins.lock().pop_front().unwrap_or(BeginFate::Proceed)
    }

    fn on_commit(&self, keys_written: &[Arc<str>]) -> CommitFate {
        self.written.lock().extend(keys_written.iter().map(ToString::to_string));
        self.commits.lock().pop_front().unwrap_or(CommitFate::Proceed)
    }
}

fn script(commits: impl IntoIterator<Item = CommitFate>) -> Arc<Script> {
    Arc::new(Script { commits: Mutex::new(commits.into_iter().collect()), ..Script::default() })
}

/// The outcome of a commit under this fate, and what others find afterwards.
async fn outcome(fate: CommitFate) -> (Result<u64, StoreError>, Option<String>) {
    let store = Store::memory(Env::real());
    let faulty = store.clone().with_faults(script([fate]));
    let mut txn = faulty.begin().await.unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    let result = txn.commit().await;
    (result, stored(&store, "t/a").await)
}

#[tokio::test]
async fn each_fate_does_what_it_says() {
    let written = Some("1".to_owned());
    assert_eq!(outcome(CommitFate::Proceed).await, (Ok(1), written.clone()));
    assert_eq!(outcome(CommitFate::Conflict).await, (Err(StoreError::Conflict), None));
    assert_eq!(outcome(CommitFate::UnknownNotApplied).await, (Err(StoreError::Unknown), None));
    assert_eq!(outcome(CommitFate::UnknownApplied).await, (Err(StoreError::Unknown), written));
    let (refused, left) = outcome(CommitFate::Unavailable).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert_eq!(left, None);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_commit_takes_effect_late_or_conflicts() {
    let env = still_env();
    let store = Store::memory(env.clone());
    let delay = Duration::from_secs(3);
    let faulty = store.clone().with_faults(script([CommitFate::Delay(delay); 2]));
    put(&faulty, "t/a", "1").await;
    assert_eq!(env.now(), delay);

    let mut txn = faulty.begin().await.unwrap();
    assert!(txn.get_raw("t/a").unwrap().is_some());
    txn.put_raw("t/a", json("late")).unwrap();
    let (late, _) = tokio::join!(txn.commit(), put(&store, "t/a", "early"));
    assert_eq!(late, Err(StoreError::Conflict));
}

#[tokio::test(start_paused = true)]
async fn only_the_faulty_handle_and_its_children_suffer() {
    let store = Store::memory(still_env());
    let faults = script([]);
    faults.begins.lock().extend(vec![BeginFate::Unavailable; 3]);
    let faulty = store.clone().with_faults(faults).scoped("t/");
    assert!(matches!(faulty.begin().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(faulty.log_read("t/log", 0, 1).await, Err(StoreError::Unavailable(_))));
    assert!(store.begin().await.is_ok());
    assert!(matches!(faulty.trim_log("t/log", 0).await, Err(StoreError::Unavailable(_))));
    assert!(faulty.begin().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_commits_that_write_are_asked_about() {
    let faults = script([]);
    let store = Store::memory(still_env()).with_faults(Arc::clone(&faults) as Arc<dyn StoreFaults>);
    stored(&store, "t/a").await;
    let mut txn = store.begin().await.unwrap();
    txn.delete_raw("t/b").unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    txn.append("t/log", json("1")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(*faults.written.lock(), ["t/a", "t/b", "t/log"]);
}

#[tokio::test(start_paused = true)]
async fn transact_gives_up_after_so_many_conflicts() {
    let store = Store::memory(still_env());
    let store = store.with_faults(script(vec![CommitFate::Conflict; 100]));
    let mut runs = 0;
    let result = store.transact(|txn| {
        runs += 1;
        txn.put_raw("t/a", json("1"))
    });
    assert_eq!(result.await, Err(StoreError::Conflict));
    assert_eq!(runs, TRANSACT_ATTEMPTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn transact_does_not_repeat_what_may_have_happened() {
    for fate in [CommitFate::UnknownApplied, CommitFate::UnknownNotApplied] {
        let store = Store::memory(still_env()).with_faults(script([fate]));
        let mut runs = 0;
        let result = store.transact(|txn| {
            runs += 1;
            txn.put_raw("t/a", json("1"))
        });
        assert_eq!((result.await, runs), (Err(StoreError::Unknown), 1));
    }
}

/// The futures of the store may move between threads.
#[test]
fn a_transaction_can_be_spawned() {
    fn movable(_: impl Send) {}
    let store = Store::memory(Env::new(crate::support::DeadWorld));
    let mut seen = Vec::new();
    movable(store.transact(|txn| {
        seen.push(txn.get_raw("t/a")?);
        Ok::<_, StoreError>(())
    }));
    movable(store.read(|txn| txn.get_raw("t/a")));
    movable(async { store.begin().await.unwrap().commit().await });
    movable(async { store.watch("t/").changed().await });
}
