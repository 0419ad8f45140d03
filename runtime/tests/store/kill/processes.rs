//! The process that writes is killed.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_runtime::{Env, store::Store};

use super::{
    KILLS, WRITERS,
    steps::{self, Said, Step},
    told::Told,
};

/// Where the child finds its store; without either, the child's function is an empty test.
const FILE: &str = "UPDRAFT_TEST_STORE_FILE";
#[cfg(feature = "postgres")]
const DATABASE: &str = "UPDRAFT_TEST_STORE_DATABASE";
/// Which life of the child this is.
const LIFE: &str = "UPDRAFT_TEST_LIFE";
/// What its lines begin with, among those of the test's harness.
const MARK: &str = "said ";
/// Most acknowledgements that a child may print before it is killed.
const ACKNOWLEDGED_MAX: u64 = 150;
/// Most lines without so many acknowledgements: in that time nothing succeeds any more.
const LINES_MAX: usize = 20_000;
/// About what a group takes, so that the kill may fall anywhere in it.
const PHASE_MICROS: u64 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_outlives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.redb");
    let mut moments = ChaCha8Rng::seed_from_u64(17);
    let mut told = Told::default();
    for life in 0..KILLS {
        hear_and_kill(start_child(FILE, &file, life), &mut moments, &mut told);
        let store = Store::redb(Env::real(), &file).await.unwrap();
        told.assert_found(&store).await;
        store.close().await;
    }
    told.assert_said(&[Said::Asked, Said::Done, Said::Refused]);
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_outlives_a_killed_process_on_postgres() {
    use crate::support::put;

    let Some(database) = crate::postgres::server::Database::fresh().await else { return };
    let (text, mut moments) = (database.text(), ChaCha8Rng::seed_from_u64(18));
    // One that has been there all the time, and follows.
    let follower = database.store().await;
    let mut told = Told::default();
    for life in 0..KILLS {
        hear_and_kill(start_child(DATABASE, text.as_ref(), life), &mut moments, &mut told);
        let store = database.store().await;
        // Whoever commits has waited for the end of what was under way.
        put(&store, "t/settled", "1").await;
        for store in [&store, &follower] {
            told.assert_found(store).await;
        }
        store.close().await;
    }
    told.assert_said(&[Said::Asked, Said::Done, Said::Refused]);
    let asked = "SELECT count(*) FROM updraft.commits";
    let groups: i64 = database.admin().await.query_one(asked, &[]).await.unwrap().get(0);
    let commits = told.count(Said::Done) as u64;
    assert!(groups.cast_unsigned() < commits, "{groups} groups of {commits} commits");
}

fn start_child(place: &str, at: &Path, life: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::processes::child_that_writes_until_killed", "--nocapture"])
        .env(place, at)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Listens to a child, kills it after some acknowledgements, and takes in what it still had said.
#[allow(clippy::disallowed_methods, reason = "the moment is the machine's, not the test's")]
fn hear_and_kill(mut child: Child, moments: &mut ChaCha8Rng, told: &mut Told) {
    let count = moments.random_range(1..ACKNOWLEDGED_MAX);
    let phase = Duration::from_micros(moments.random_range(0..PHASE_MICROS));
    let mut acknowledged = 0;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok).take(LINES_MAX) {
        // The last line may be cut off in the middle.
        let Some((said, step)) = parse(&line) else { continue };
        acknowledged += u64::from(said == Said::Done);
        if said == Said::Done && acknowledged == count {
            std::thread::sleep(phase);
            child.kill().unwrap();
        }
        told.hear(said, step);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(acknowledged >= count, "the child has ended by itself, or does nothing more");
}

fn parse(line: &str) -> Option<(Said, Step)> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

/// Has writers say what they do, on the way out of the process before they go on.
#[test]
fn child_that_writes_until_killed() {
    let Some(life) = std::env::var_os(LIFE) else { return };
    let life: u64 = life.to_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open().await;
        let writers = (0..WRITERS).map(|writer| {
            let (name, seed) = (format!("{life}.{writer}"), life * WRITERS + writer);
            steps::write(store.clone(), name, seed, say)
        });
        futures_util::future::join_all(writers).await;
    });
}

async fn open() -> Store {
    #[cfg(feature = "postgres")]
    if let Ok(text) = std::env::var(DATABASE) {
        let settings = updraft_runtime::store::PostgresSettings::parse(&text).unwrap();
        return Store::postgres(Env::real(), settings).await.unwrap();
    }
    Store::redb(Env::real(), Path::new(&std::env::var_os(FILE).unwrap())).await.unwrap()
}

fn say(said: Said, step: &Step) -> bool {
    let line = format!("{MARK}{}\n", serde_json::to_string(&(said, step)).unwrap());
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    true
}
