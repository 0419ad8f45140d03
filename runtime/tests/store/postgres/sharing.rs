//! Several processes on one database: each has a store of its own.

use std::time::Duration;

use futures_util::future::join_all;
use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};

use super::server::Database;
use crate::support::{append, json, keys, put, stored, text};

/// Time in which only a notification can have told of a change, and the slow poll not yet.
const SOON: Duration = Duration::from_secs(3);

async fn two() -> Option<(Database, Store, Store)> {
    let database = Database::fresh().await?;
    let (one, other) = tokio::join!(database.store(), database.store());
    Some((database, one, other))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_acknowledges_the_other_sees_at_once() {
    let Some((_database, one, other)) = two().await else { return };
    for n in 0..50 {
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let value = n.to_string();
        put(writer, "t/a", &value).await;
        assert_eq!(stored(reader, "t/a").await, Some(value));
    }
    let mut gone = one.begin().await.unwrap();
    gone.delete_raw("t/a").unwrap();
    gone.commit().await.unwrap();
    assert_eq!(stored(&other, "t/a").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_the_same_for_all() {
    let Some((_database, one, other)) = two().await else { return };
    let first = put(&one, "t/a", "1").await;
    let second = put(&other, "t/b", "1").await;
    assert!(second > first);
    for store in [one, other] {
        let txn = store.begin().await.unwrap();
        assert_eq!(txn.get_raw("t/a").unwrap().unwrap().version, first);
        assert_eq!(txn.get_raw("t/b").unwrap().unwrap().version, second);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_read_and_write_a_key_one_conflicts() {
    let Some((_database, one, other)) = two().await else { return };
    let mut first = one.begin().await.unwrap();
    let mut second = other.begin().await.unwrap();
    for txn in [&mut first, &mut second] {
        assert_eq!(text(txn, "t/a"), None);
        txn.put_raw("t/a", json("1")).unwrap();
    }
    second.commit().await.unwrap();
    assert_eq!(first.commit().await, Err(StoreError::Conflict));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_appears_in_a_range_that_the_other_has_read_is_a_conflict() {
    let Some((_database, one, other)) = two().await else { return };
    let mut reader = one.begin().await.unwrap();
    assert_eq!(keys(&reader, "t/"), Vec::<String>::new());
    put(&other, "t/new", "1").await;
    reader.put_raw("u/count", json("0")).unwrap();
    assert_eq!(reader.commit().await, Err(StoreError::Conflict));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_increment_is_lost_between_them() {
    const TASKS: usize = 4;
    const STEPS: u64 = 15;
    let Some((_database, one, other)) = two().await else { return };
    let increment = async |store: &Store| {
        for _ in 0..STEPS {
            let added = store.transact(|txn| {
                let count = text(txn, "t/count").map_or(0, |old| old.parse::<u64>().unwrap());
                txn.put_raw("t/count", json(&(count + 1).to_string()))?;
                Ok::<_, StoreError>(())
            });
            added.await.unwrap();
        }
    };
    let tasks = (0..TASKS).map(|n| increment(if n % 2 == 0 { &one } else { &other }));
    join_all(tasks).await;
    let expected = (TASKS as u64 * STEPS).to_string();
    assert_eq!(stored(&one, "t/count").await.as_deref(), Some(&*expected));
    assert_eq!(stored(&other, "t/count").await, Some(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_hears_of_what_the_other_does() {
    let Some((_database, one, other)) = two().await else { return };
    let mut watch = other.watch("t/");
    put(&one, "u/a", "1").await;
    put(&one, "t/a", "1").await;
    append(&one, "t/log", "1").await;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let changes = Env::real().timeout(SOON, watch.changed()).await.expect("nothing was heard");
        assert!(!changes.overflowed);
        heard.extend(changes.keys.iter().map(ToString::to_string));
    }
    assert_eq!(heard, ["t/a", "t/log"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_one_for_all() {
    let Some((_database, one, other)) = two().await else { return };
    let first = append(&one, "t/log", "a").await;
    append(&other, "t/log", "b").await;
    let read = async |store: &Store, after| {
        let entries = store.log_read("t/log", after, 10).await.unwrap();
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&one, 0).await, ["a", "b"]);
    assert_eq!(read(&other, first).await, ["b"]);
    other.trim_log("t/log", first).await.unwrap();
    assert_eq!(read(&one, 0).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_opened_later_finds_everything() {
    let Some((database, one, _other)) = two().await else { return };
    let version = put(&one, "t/a", "1").await;
    append(&one, "t/log", "x").await;
    one.close().await;
    let later = database.store().await;
    assert_eq!(stored(&later, "t/a").await.as_deref(), Some("1"));
    let txn = later.begin().await.unwrap();
    assert_eq!(txn.get_raw("t/a").unwrap().unwrap().version, version);
    assert_eq!(later.log_read("t/log", 0, 9).await.unwrap().len(), 1);
}

/// Has the database say that so much was committed elsewhere that the journal does not reach back to the store.
const LEAVE_BEHIND: &str = "
BEGIN;
DELETE FROM updraft.commits;
INSERT INTO updraft.rows VALUES ('t/b', 1000, 'elsewhere');
INSERT INTO updraft.commits VALUES (1000, gen_random_uuid(), 9, '{}', '{}', '{}', '{}');
COMMIT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_left_behind_reads_everything_anew() {
    let Some((database, one, other)) = two().await else { return };
    put(&one, "t/a", "1").await;
    let mut watch = one.watch("t/");
    let mut old = one.begin().await.unwrap();
    assert_eq!(keys(&old, "t/"), ["t/a"]);
    database.admin().await.batch_execute(LEAVE_BEHIND).await.unwrap();

    assert_eq!(stored(&one, "t/b").await.as_deref(), Some("elsewhere"));
    assert!(watch.changed().await.overflowed);
    old.put_raw("t/c", json("1")).unwrap();
    assert_eq!(old.commit().await, Err(StoreError::Conflict));
    // The other one learns of it on the way of a commit.
    assert!(put(&other, "t/d", "1").await > 1000);
    assert_eq!(stored(&one, "t/d").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lost_what_was_seen_is_not_served_from_memory() {
    let Some((database, one, _other)) = two().await else { return };
    put(&one, "t/a", "1").await;
    put(&one, "t/a", "2").await;
    let older = "
        DELETE FROM updraft.commits WHERE sequence > 1;
        UPDATE updraft.rows SET value = '1', version = 1";
    database.admin().await.batch_execute(older).await.unwrap();
    let refused = one.begin().await.unwrap_err().to_string();
    assert!(
        refused.contains("lost commits") && refused.contains("start this process"),
        "{refused}"
    );
    assert!(matches!(one.begin().await, Err(StoreError::Unavailable(_))));
    one.close().await;
    assert_eq!(stored(&database.store().await, "t/a").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_read_the_rows() {
    let Some((database, one, _other)) = two().await else { return };
    put(&one, "t/a", "{\"name\":\"Zürich\"}").await;
    let asked = "SELECT value::json ->> 'name' FROM updraft.readable WHERE key = 't/a'";
    let row = database.admin().await.query_one(asked, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "Zürich");
}
