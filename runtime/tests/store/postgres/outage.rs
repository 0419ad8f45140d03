//! A server that is killed again and again: what was said of each commit is what is found of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};

use super::server::Server;
use crate::support::{json, keys, put, stored};

const ROUNDS: usize = 3;
const WRITERS: usize = 6;
/// Commits that are acknowledged in a round before the server is killed.
const COMMITS_PER_ROUND: usize = 40;
/// How long it may take until commits succeed again once the server is back.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What one writer was told of its commits, each of which has a key and a log entry of its own.
#[derive(Default)]
struct Told {
    done: Vec<String>,
    not_done: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_became_what_was_said_of_it() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    let stores = [database.store().await, database.store().await];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (acknowledged, mut acknowledgements) = tokio::sync::mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = stores[writer % 2].clone();
        writers.spawn(write(store, writer, acknowledged.clone(), stopped.clone()));
    }
    for _ in 0..ROUNDS {
        for _ in 0..COMMITS_PER_ROUND {
            let resumed = Env::real().timeout(RESUME_PATIENCE, acknowledgements.recv()).await;
            resumed.expect("commits do not succeed again");
        }
        database.server.kill();
        // What was acknowledged until now says nothing about the time afterwards.
        while acknowledgements.try_recv().is_ok() {}
        database.server.start_again();
    }
    stop.send(true).unwrap();
    let told: Vec<Told> = writers.join_all().await;
    drop(database.admin().await);
    assert_as_told(&database.store().await, &told).await;
}

async fn write(
    store: Store,
    writer: usize,
    acknowledged: tokio::sync::mpsc::UnboundedSender<()>,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Told {
    let (env, mut told) = (Env::real(), Told::default());
    let mut attempt = 0;
    while !*stopped.borrow() {
        attempt += 1;
        let key = format!("t/{writer}/{attempt}");
        match commit(&store, &key).await {
            Ok(()) => {
                told.done.push(key);
                let _ = acknowledged.send(());
                continue;
            }
            // Either may be found.
            Err(StoreError::Unknown) => {}
            Err(StoreError::Unavailable(_)) => told.not_done.push(key),
            Err(other) => panic!("{other}"),
        }
        env.sleep(PAUSE).await;
    }
    told
}

async fn commit(store: &Store, key: &str) -> Result<(), StoreError> {
    let mut txn = store.begin().await?;
    txn.put_raw(key, json("1"))?;
    txn.append("t/log", json(key))?;
    txn.commit().await.map(drop)
}

async fn assert_as_told(store: &Store, told: &[Told]) {
    let txn = store.begin().await.unwrap();
    let rows: BTreeSet<String> = keys(&txn, "t/").into_iter().collect();
    let logged = logged(store).await;
    let entries: BTreeSet<String> = logged.iter().cloned().collect();
    assert_eq!(entries.len(), logged.len(), "something was written twice");
    assert_eq!(entries, rows, "a row came without its log entry or the other way round");
    for Told { done, not_done, .. } in told {
        for key in done {
            assert!(rows.contains(key), "{key} was acknowledged and is lost");
        }
        for key in not_done {
            assert!(!rows.contains(key), "{key} was refused and is there");
        }
    }
    assert!(told.iter().any(|told| !told.not_done.is_empty()), "nobody noticed anything");
}

async fn logged(store: &Store) -> Vec<String> {
    let (mut logged, mut after) = (Vec::new(), 0);
    loop {
        let entries = store.log_read("t/log", after, usize::MAX).await.unwrap();
        let Some(last) = entries.last() else { return logged };
        after = last.sequence;
        logged.extend(entries.iter().map(|e| String::from_utf8(e.value.to_vec()).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_everything_is_refused_and_then_goes_on() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    let store = database.store().await;
    put(&store, "t/a", "1").await;
    let mut open = store.begin().await.unwrap();
    open.put_raw("t/b", json("1")).unwrap();
    database.server.kill();
    for _ in 0..3 {
        let refused = store.begin().await.unwrap_err();
        assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("database")));
        assert!(matches!(store.log_read("t/log", 0, 1).await, Err(StoreError::Unavailable(_))));
    }
    assert!(matches!(open.commit().await, Err(StoreError::Unavailable(_))));

    database.server.start_again();
    let env = Env::real();
    let resumed = env.timeout(RESUME_PATIENCE, async {
        while store.begin().await.is_err() || commit(&store, "t/c").await.is_err() {
            env.sleep(PAUSE).await;
        }
    });
    resumed.await.expect("it does not serve again");
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
    assert_eq!(stored(&store, "t/b").await, None);
    assert_eq!(stored(&store, "t/c").await.as_deref(), Some("1"));
}
