//! A connection that is cut or stalls: what is known of a commit, and what is not.

use std::time::Duration;

use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};

use super::proxy::{Behind, COMMIT, COMMITTED, Fate};
use crate::support::{json, put, stored};

/// How long it may take until commits succeed again once nothing is in their way.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn outcome(store: &Store, key: &str) -> Result<u64, StoreError> {
    let mut txn = store.begin().await?;
    txn.put_raw(key, json("1"))?;
    txn.commit().await
}

/// Commits, if need be after a while.
pub(super) async fn put_at_last(store: &Store, key: &str) -> u64 {
    let env = Env::real();
    let trying = async {
        loop {
            match outcome(store, key).await {
                Ok(sequence) => return sequence,
                Err(StoreError::Unavailable(_)) => env.sleep(PAUSE).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let committed = env.timeout(RESUME_PATIENCE, trying).await;
    committed.unwrap_or_else(|| panic!("it does not commit again"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found() {
    let Some(Behind { database: _running, proxy, store, other }) = Behind::a_proxy().await else {
        return;
    };
    proxy.plan(COMMITTED, Fate::Cut);
    let sequence = outcome(&store, "t/a").await.expect("it was committed");
    assert!(proxy.clear().is_some());
    let txn = other.begin().await.unwrap();
    assert_eq!(txn.get_raw("t/a").unwrap().unwrap().version, sequence);
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
    assert!(put(&store, "t/b", "1").await > sequence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_did_not_arrive_is_known_not_to_have() {
    let Some(Behind { database: _running, proxy, store, other }) = Behind::a_proxy().await else {
        return;
    };
    proxy.plan(COMMIT, Fate::Abandoned);
    let (refused, waited) = tokio::join!(outcome(&store, "t/a"), async {
        // Meanwhile the server holds everyone up, and lets go by itself.
        put(&other, "t/b", "1").await
    });
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(waited > 0);
    assert_eq!(stored(&other, "t/a").await, None);
    put(&store, "t/a", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_looked_for_is_unknown() {
    let Some(Behind { database: _running, proxy, store, other }) = Behind::a_proxy().await else {
        return;
    };
    proxy.plan(COMMITTED, Fate::CutForLong);
    assert_eq!(outcome(&store, "t/a").await, Err(StoreError::Unknown));
    // It was committed, as it happens.
    assert_eq!(stored(&other, "t/a").await.as_deref(), Some("1"));
    proxy.clear();
    put_at_last(&store, "t/b").await;
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_never_comes_is_found() {
    let Some(Behind { database: _running, proxy, store, other }) = Behind::a_proxy().await else {
        return;
    };
    proxy.plan(COMMITTED, Fate::Stalled);
    let sequence = outcome(&store, "t/a").await.expect("it was committed");
    assert!(proxy.clear().is_some());
    assert_eq!(other.begin().await.unwrap().get_raw("t/a").unwrap().unwrap().version, sequence);
    put_at_last(&store, "t/b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_stuck_on_its_way_holds_up_nobody_for_long_and_did_not_happen() {
    let Some(Behind { database: _running, proxy, store, other }) = Behind::a_proxy().await else {
        return;
    };
    proxy.plan(COMMIT, Fate::Stalled);
    let (refused, _) = tokio::join!(outcome(&store, "t/a"), put(&other, "t/b", "1"));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(proxy.clear().is_some());
    put_at_last(&store, "t/c").await;
    assert_eq!(stored(&other, "t/a").await, None);
}
