//! A process that is killed in the middle of its work has lost nothing that it said was done.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};

use crate::support::{json, text};

/// Where the child finds its store; without it, the child's function is an empty test.
const STORE_FILE: &str = "UPDRAFT_TEST_STORE_FILE";
const ROUNDS: usize = 10;
const WRITERS: usize = 8;
/// Most acknowledgements that a child may print before it is killed.
const ACKNOWLEDGED_MAX: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_outlives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.redb");
    let mut moments = ChaCha8Rng::seed_from_u64(17);
    let mut acknowledged = BTreeMap::new();
    let mut commits = 0;
    for _ in 0..ROUNDS {
        let count = moments.random_range(1..ACKNOWLEDGED_MAX);
        commits += collect_and_kill(start_child(&file), count, &mut acknowledged);
        assert_all_present(&file, &acknowledged, commits).await;
    }
}

fn start_child(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_writes_until_killed", "--nocapture"])
        .env(STORE_FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads acknowledgements, kills the child after `count` of them, and reads what it still had said.
fn collect_and_kill(
    mut child: Child,
    count: usize,
    acknowledged: &mut BTreeMap<String, u64>,
) -> usize {
    let mut commits = 0;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok);
    let acks = said.filter_map(|line| Some(line.strip_prefix("done ")?.to_owned()));
    for (nth, ack) in acks.enumerate() {
        if nth + 1 == count {
            child.kill().unwrap();
        }
        // The last line may be cut off in the middle.
        if let Some((key, value)) = ack.strip_suffix(" .").and_then(|ack| ack.split_once(' ')) {
            let newest = acknowledged.entry(key.to_owned()).or_default();
            *newest = value.parse::<u64>().unwrap().max(*newest);
            commits += 1;
        }
    }
    child.wait().unwrap();
    assert!(commits >= count, "the child has ended by itself");
    commits
}

async fn assert_all_present(file: &Path, acknowledged: &BTreeMap<String, u64>, commits: usize) {
    let store = Store::redb(Env::real(), file).await.unwrap();
    let txn = store.begin().await.unwrap();
    for (key, at_least) in acknowledged {
        let found: u64 =
            text(&txn, key).unwrap_or_else(|| panic!("{key} is lost")).parse().unwrap();
        assert!(found >= *at_least, "{key} was {at_least} and is {found} again");
    }
    assert!(log_length(&store).await >= commits, "log entries are lost");
    store.close().await;
}

async fn log_length(store: &Store) -> usize {
    let (mut length, mut after) = (0, 0);
    loop {
        let entries = store.log_read("t/log", after, usize::MAX).await.unwrap();
        let Some(last) = entries.last() else { return length };
        length += entries.len();
        after = last.sequence;
    }
}

/// Writes keys of its own from several tasks and says so once each commit has returned.
#[test]
fn child_that_writes_until_killed() {
    let Some(file) = std::env::var_os(STORE_FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::redb(Env::real(), Path::new(&file)).await.unwrap();
        let writers = (0..WRITERS).map(|writer| write_forever(store.clone(), writer));
        futures_util::future::join_all(writers).await;
    });
}

async fn write_forever(store: Store, writer: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(writer as u64);
    loop {
        let key = format!("t/{writer}/{}", rng.random_range(0..50));
        let value = store.transact(|txn| {
            let value = text(txn, &key).map_or(0, |old| old.parse::<u64>().unwrap()) + 1;
            txn.put_raw(&key, json(&value.to_string()))?;
            txn.append("t/log", json(&key))?;
            Ok::<_, StoreError>(value)
        });
        let said = format!("done {key} {} .\n", value.await.unwrap());
        std::io::stdout().lock().write_all(said.as_bytes()).unwrap();
    }
}
