//! What is on the disk when the power fails: every test looks at what was synced, and at nothing else.

use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use updraft_runtime::store::{
    Store, StoreError,
    limits::{DISK_CACHE_MAX_BYTES, RECOVERY_PAUSE, RELAXED_FLUSH_DELAY},
};

use crate::support::{LossyDisk, append, json, keys, put, still_env, stored, text};

async fn open(disk: &LossyDisk) -> Store {
    Store::redb_on(still_env(), disk.clone()).await.unwrap()
}

/// What a fresh machine would find under a key if the power failed now.
async fn left_after_power_failure(disk: &LossyDisk, key: &str) -> Option<String> {
    stored(&open(&disk.after_power_failure()).await, key).await
}

/// Starts a relaxed write and leaves it undurable.
async fn put_relaxed(store: &Store, key: &str, value: Option<&str>) {
    let mut txn = store.begin().await.unwrap();
    match value {
        Some(value) => txn.put_raw(key, json(value)).unwrap(),
        None => txn.delete_raw(key).unwrap(),
    }
    txn.relax();
    txn.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_commit_survives() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    for n in 0..20 {
        let key = format!("t/{n}");
        put(&store, &key, "1").await;
        assert_eq!(left_after_power_failure(&disk, &key).await.as_deref(), Some("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn versions_logs_and_the_sequence_survive() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    let version = put(&store, "t/a", "1").await;
    let entry = append(&store, "t/log", "x").await;
    let mut txn = store.begin().await.unwrap();
    txn.delete_raw("t/nothing").unwrap();
    let last = txn.commit().await.unwrap();

    let store = open(&disk.after_power_failure()).await;
    assert_eq!(store.begin().await.unwrap().get_raw("t/a").unwrap().unwrap().version, version);
    let log = store.log_read("t/log", 0, 10).await.unwrap();
    assert_eq!((log.len(), log[0].sequence, &*log[0].value), (1, entry, &b"x"[..]));
    assert_eq!(store.log_read("t/log", entry, 10).await.unwrap(), []);
    let next = append(&store, "t/log", "y").await;
    assert!(next > last);
    let log = store.log_read("t/log", 0, 1).await.unwrap();
    assert_eq!(log[0].sequence, entry);
    assert_eq!(store.log_read("t/log", entry, 10).await.unwrap()[0].sequence, next);
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_log_stays_trimmed() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    let first = append(&store, "t/log", "a").await;
    append(&store, "t/log", "b").await;
    store.trim_log("t/log", first).await.unwrap();
    let log = open(&disk.after_power_failure()).await.log_read("t/log", 0, 10).await.unwrap();
    assert_eq!(log.iter().map(|entry| &*entry.value).collect::<Vec<_>>(), [b"b"]);
}

#[tokio::test(start_paused = true)]
async fn trimming_spares_what_is_appended_in_the_same_group() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    append(&store, "t/log", "old").await;
    let (trimmed, _) =
        join(store.trim_log("t/log", u64::MAX), append(&store, "t/log", "new")).await;
    trimmed.unwrap();
    let log = open(&disk.after_power_failure()).await.log_read("t/log", 0, 10).await.unwrap();
    assert_eq!(log.iter().map(|entry| &*entry.value).collect::<Vec<_>>(), [b"new"]);
}

#[tokio::test(start_paused = true)]
async fn a_relaxed_commit_reaches_the_disk_by_itself() {
    let disk = LossyDisk::default();
    let env = still_env();
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    put_relaxed(&store, "t/a", Some("1")).await;
    // A later one does not put the first one off.
    env.sleep(RELAXED_FLUSH_DELAY / 2).await;
    put_relaxed(&store, "t/b", Some("1")).await;
    assert_eq!(left_after_power_failure(&disk, "t/a").await, None);
    env.sleep(RELAXED_FLUSH_DELAY / 2 + std::time::Duration::from_millis(2)).await;
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("1"));
    assert_eq!(left_after_power_failure(&disk, "t/b").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn what_a_read_has_seen_survives() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put_relaxed(&store, "t/a", Some("1")).await;
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn an_absence_that_a_read_has_seen_survives() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put(&store, "t/a", "1").await;
    put_relaxed(&store, "t/a", None).await;
    let found = store.read(|txn| Ok::<_, StoreError>(keys(txn, "t/"))).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(left_after_power_failure(&disk, "t/a").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_refusal_was_based_on_survives() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put_relaxed(&store, "t/a", Some("taken")).await;
    let refused = store.transact(|txn| match text(txn, "t/a") {
        Some(_) => Err(StoreError::Exists { table: "t", key: "a".into() }),
        None => Ok(()),
    });
    assert!(refused.await.is_err());
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("taken"));
}

#[tokio::test(start_paused = true)]
async fn a_log_entry_that_was_read_survives() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    let mut txn = store.begin().await.unwrap();
    txn.append("t/log", json("a")).unwrap();
    txn.relax();
    txn.commit().await.unwrap();
    assert_eq!(store.log_read("t/log", 0, 10).await.unwrap().len(), 1);
    let later = open(&disk.after_power_failure()).await;
    assert_eq!(later.log_read("t/log", 0, 10).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reading_what_is_durable_costs_no_sync_and_no_wait() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put(&store, "t/a", "1").await;
    put_relaxed(&store, "u/a", Some("1")).await;
    let before = disk.syncs();
    assert_eq!(stored(&store, "t/a").now_or_never().unwrap().as_deref(), Some("1"));
    assert_eq!(disk.syncs(), before);
}

#[tokio::test(start_paused = true)]
async fn commits_that_wait_together_share_a_sync() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put(&store, "t/first", "1").await;
    let before = disk.syncs();
    put(&store, "t/second", "1").await;
    let one_commit = disk.syncs() - before;
    let keys: Vec<_> = (0..64).map(|n| format!("t/{n}")).collect();
    let before = disk.syncs();
    join_all(keys.iter().map(|key| put(&store, key, "1"))).await;
    assert!(disk.syncs() - before <= 2 * one_commit, "{} syncs", disk.syncs() - before);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_was_relaxed() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put_relaxed(&store, "t/a", Some("1")).await;
    store.close().await;
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_an_outage_that_ends_when_it_works() {
    let disk = LossyDisk::default();
    let env = still_env();
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    put(&store, "t/a", "1").await;
    let early = store.begin().await.unwrap();
    let mut watch = store.watch("t/");
    disk.set_broken(true);
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", json("2")).unwrap();
    let outcome = env.timeout(RECOVERY_PAUSE / 2, txn.commit()).await;
    assert_eq!(outcome, Some(Err(StoreError::Unknown)));
    let unavailable = |error| match error {
        StoreError::Unavailable(why) => why,
        other => panic!("{other}"),
    };
    let why = unavailable(store.begin().await.unwrap_err());
    assert!(why.contains("the disk is broken") && why.contains("once it works"), "{why}");
    unavailable(store.log_read("t/log", 0, 1).await.unwrap_err());
    assert_eq!(text(&early, "t/a").as_deref(), Some("1"));
    assert!(watch.changed().await.overflowed);
    env.sleep(3 * RECOVERY_PAUSE).await;
    assert!(store.begin().await.is_err());
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("1"));

    disk.set_broken(false);
    env.sleep(2 * RECOVERY_PAUSE).await;
    // Nobody was told which of the two it is.
    let found = stored(&store, "t/a").await;
    assert!(matches!(found.as_deref(), Some("1" | "2")), "{found:?}");
    assert_eq!(left_after_power_failure(&disk, "t/a").await, found);
    put(&store, "t/a", "3").await;
    assert_eq!(left_after_power_failure(&disk, "t/a").await.as_deref(), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_the_disk_fails_is_an_outage_too() {
    let disk = LossyDisk::default();
    let env = still_env();
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    // More than is kept in memory.
    let value = "x".repeat(DISK_CACHE_MAX_BYTES / 32);
    for _ in 0..40 {
        append(&store, "t/log", &value).await;
    }
    store.close().await;
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    disk.set_unreadable(true);
    let read = store.log_read("t/log", 0, 40).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{:?}", read.map(|log| log.len()));
    disk.set_unreadable(false);
    env.sleep(2 * RECOVERY_PAUSE).await;
    assert_eq!(store.log_read("t/log", 0, 40).await.unwrap().len(), 40);
    put(&store, "t/a", "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_not_closed_is_written_anew_before_it_serves() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put(&store, "t/a", "1").await;
    let left = disk.after_power_failure();
    let length = left.length();
    let before = left.written_bytes();
    put(&open(&left).await, "t/b", "1").await;
    assert!(left.written_bytes() - before >= length, "all of it, whatever a sync has left out");
    store.close().await;
    let before = disk.written_bytes();
    put(&open(&disk).await, "t/b", "1").await;
    assert!(disk.written_bytes() - before < length, "one that was closed needs none of it");
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_what_the_disk_then_fails_is_refused() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    put_relaxed(&store, "t/a", Some("1")).await;
    disk.set_broken(true);
    let read = store.read(|txn| Ok::<_, StoreError>(text(txn, "t/a"))).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_an_outage_that_ends_when_there_is_space() {
    let disk = LossyDisk::default();
    let env = still_env();
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    let before = put(&store, "t/a", "kept").await;
    let mut watch = store.watch("t/");
    disk.set_full(true);
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", json("lost")).unwrap();
    let outcome = env.timeout(RECOVERY_PAUSE / 2, txn.commit()).await;
    assert_eq!(outcome, Some(Err(StoreError::Unknown)));
    let refused = store.begin().await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::NoSpace(why) if why.contains("no space left")),
        "{refused}"
    );
    assert!(watch.changed().now_or_never().unwrap().overflowed);
    env.sleep(3 * RECOVERY_PAUSE).await;
    assert!(store.begin().await.is_err());

    disk.set_full(false);
    env.sleep(2 * RECOVERY_PAUSE).await;
    assert!(watch.changed().await.overflowed);
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("kept"));
    assert!(put(&store, "t/b", "1").await > before + 1, "a sequence number is given out twice");
    assert_eq!(left_after_power_failure(&disk, "t/b").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_from_before_an_outage_can_neither_read_nor_write_what_was_lost() {
    let disk = LossyDisk::default();
    let env = still_env();
    let store = Store::redb_on(env.clone(), disk.clone()).await.unwrap();
    put_relaxed(&store, "t/a", Some("lost")).await;
    let reader = store.begin().await.unwrap();
    let mut writer = store.begin().await.unwrap();
    assert_eq!(text(&reader, "t/a").as_deref(), Some("lost"));
    writer.put_raw("t/b", json("built on it")).unwrap();
    disk.set_full(true);
    env.sleep(2 * RELAXED_FLUSH_DELAY).await;
    disk.set_full(false);
    env.sleep(2 * RECOVERY_PAUSE).await;
    assert!(matches!(reader.commit().await, Err(StoreError::Unavailable(_))));
    assert_eq!(writer.commit().await, Err(StoreError::Conflict));
    assert_eq!(stored(&store, "t/a").await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_during_an_outage_ends() {
    let disk = LossyDisk::default();
    let store = open(&disk).await;
    disk.set_full(true);
    put_relaxed(&store, "t/a", Some("1")).await;
    store.close().await;
    assert!(store.begin().await.is_err());
}

#[test]
fn a_store_whose_writer_is_gone_is_unavailable() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    let disk = LossyDisk::default();
    let first = builder.build().unwrap();
    let store = first.block_on(open(&disk));
    let mut txn = first.block_on(store.begin()).unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    let mut commit = Box::pin(txn.commit());
    assert!(first.block_on(async { (&mut commit).now_or_never() }).is_none());
    drop(first);
    builder.build().unwrap().block_on(async {
        assert_eq!(commit.await, Err(StoreError::Unknown));
        let refused = store.begin().await.map(drop);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    });
}
