//! Stores that older programs have written, opened by this one.
//!
//! `former/` has stores as programs of each format wrote them, with rows of a shape that is past. They are added, and
//! never changed: `UPDRAFT_TEST_RECORD=1` writes those of the present format if they are missing.

mod corpus;
mod shop;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use updraft_runtime::{
    Env,
    store::{CommitFate, MigrateError, Piece, Schema, Store, StoreError, StoreFaults},
};

use crate::support::{LossyDisk, append, json, put, still_env, stored};
use shop::{FEW, Guest, MANY, SCHEMA};

async fn on(disk: &LossyDisk) -> Store {
    Store::redb_on(still_env(), disk.clone()).await.unwrap()
}

async fn pieces(store: &Store) -> Vec<Piece> {
    let (mut copy, mut pieces) = (store.copy().await.unwrap(), Vec::new());
    while let Some(piece) = copy.next().await {
        pieces.push(piece.unwrap());
    }
    pieces
}

#[tokio::test(start_paused = true)]
async fn a_change_is_made_once_and_a_new_store_needs_none() {
    let old = Store::memory(still_env());
    shop::furnish_as_then(&old, MANY).await;
    let pages = old.migrate(&SCHEMA).await.unwrap();
    // Each of two changes takes two pages of rows, and one of them looks at the entries before.
    assert!(pages > 4, "{pages}");
    shop::assert_as_now(&old, MANY).await;
    assert_eq!(old.migrate(&SCHEMA).await.unwrap(), 0);

    let new = Store::memory(still_env());
    assert_eq!(new.migrate(&SCHEMA).await.unwrap(), 0);
    put(&new, "shop/guest/x", "{}").await;
    assert_eq!(new.migrate(&SCHEMA).await.unwrap(), 0);
    assert_eq!(stored(&new, "shop/schema").await.as_deref(), Some("{\"version\":2}"));
}

/// Has one commit, the one of this number, end so.
struct Nth {
    number: usize,
    fate: CommitFate,
    passed: AtomicUsize,
}

impl StoreFaults for Nth {
    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        let is_it = self.passed.fetch_add(1, Ordering::Relaxed) == self.number;
        if is_it { self.fate } else { CommitFate::Proceed }
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_ends_anywhere_goes_on_from_there() {
    let before = LossyDisk::default();
    shop::furnish_as_then(&on(&before).await, MANY).await;
    let whole = on(&before.after_power_failure()).await;
    let pages = whole.migrate(&SCHEMA).await.unwrap();
    for fate in [CommitFate::Unavailable, CommitFate::UnknownNotApplied, CommitFate::UnknownApplied]
    {
        for number in 0..pages {
            let disk = before.after_power_failure();
            let faults = Arc::new(Nth { number, fate, passed: AtomicUsize::new(0) });
            let refused = on(&disk).await.with_faults(faults).migrate(&SCHEMA).await;
            assert!(matches!(refused, Err(MigrateError::Store(_))), "{refused:?}");
            let again = on(&disk.after_power_failure()).await;
            let rest = again.migrate(&SCHEMA).await.unwrap();
            let done = number + usize::from(fate == CommitFate::UnknownApplied);
            assert_eq!(rest, pages - done, "page {number}, {fate:?}");
            shop::assert_as_now(&again, MANY).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_newer_program_are_refused_and_left_alone() {
    let store = Store::memory(still_env());
    shop::furnish_as_then(&store, MANY).await;
    store.migrate(&SCHEMA).await.unwrap();
    let before = pieces(&store).await;
    let older = Schema { changes: &SCHEMA.changes[..1], ..SCHEMA };
    let refused = store.migrate(&older).await.unwrap_err().to_string();
    assert!(
        refused.contains("shop have version 2") && refused.contains("up to version 1"),
        "{refused}"
    );
    assert!(before == pieces(&store).await, "something was changed");
    assert!(store.refuse_newer(&[older]).await.is_err());
    store.refuse_newer(&[SCHEMA]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_newer_program_is_changing_are_refused_too() {
    let store = Store::memory(still_env());
    let older = Schema { changes: &SCHEMA.changes[..1], ..SCHEMA };
    put(&store, "shop/schema", "{\"version\":1}").await;
    store.refuse_newer(&[older]).await.unwrap();
    put(&store, "shop/schema", "{\"version\":1,\"after\":\"shop/guest/g001\"}").await;
    for refused in [store.refuse_newer(&[older]).await, store.migrate(&older).await.map(drop)] {
        assert!(
            matches!(refused, Err(MigrateError::Newer { found: 2, known: 1, .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn entries_that_no_row_wants_make_room_before_others_come() {
    let store = Store::memory(still_env());
    shop::furnish_as_then(&store, MANY).await;
    // A name that a row has, held by an entry of a row that is gone; and entries of an index that is none any more.
    for stale in ["name/n001/gone", "node/h/g001", "colour/red/g002"] {
        put(&store, &format!("shop/guest~{stale}"), "null").await;
    }
    let mut txn = store.begin().await.unwrap();
    txn.delete_raw("shop/guest~name/n001/g001").unwrap();
    txn.commit().await.unwrap();
    store.migrate(&SCHEMA).await.unwrap();
    shop::assert_as_now(&store, MANY).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_made_is_named_and_keeps_what_was_done() {
    let store = Store::memory(still_env());
    shop::furnish_as_then(&store, MANY).await;
    put(&store, "shop/guest/g555", "{\"id\":\"g555\",\"name\":7}").await;
    for _ in 0..2 {
        let refused = store.migrate(&SCHEMA).await.unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains("guests are found by host") && words.contains("shop/guest/g555"),
            "{words}"
        );
    }
    let mended = shop::then(555);
    put(&store, "shop/guest/g555", &mended.replace("node", "host")).await;
    store.migrate(&SCHEMA).await.unwrap();
    shop::assert_as_now(&store, MANY).await;
}

/// Everything that a store is used for, on one that was just brought up to date.
async fn assert_usable(store: &Store) {
    shop::assert_as_now(store, FEW).await;
    let newest = store.begin().await.unwrap().commit().await.unwrap();
    assert!(append(store, "shop/log", "1").await > newest, "a number is given out twice");
    let taken = store.transact(|txn| txn.insert(&Guest { id: "new".into(), ..shop::now(1) }));
    assert!(matches!(taken.await, Err(StoreError::Duplicate { index: "name", .. })));
    let free = Guest { id: "new".into(), name: "new".into(), ..shop::now(1) };
    store.transact(|txn| txn.insert(&free)).await.unwrap();
    put(store, "t/a", "1").await;
}

#[tokio::test]
async fn a_file_of_every_format_is_opened() {
    for file in corpus::files("redb") {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("store.redb");
        std::fs::copy(&file, &copy).unwrap();
        let store = Store::redb(Env::real(), &copy).await.unwrap();
        store.migrate(&SCHEMA).await.unwrap();
        assert_usable(&store).await;
        store.close().await;
        shop::assert_as_now(&Store::redb(Env::real(), &copy).await.unwrap(), FEW).await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_every_format_is_opened() {
    for file in corpus::files("sql") {
        let Some(database) = crate::postgres::server::Database::fresh().await else { return };
        let dump = std::fs::read_to_string(&file).unwrap();
        database.admin().await.batch_execute(&dump).await.unwrap();
        let store = database.store().await;
        store.migrate(&SCHEMA).await.unwrap();
        assert_usable(&store).await;
        shop::assert_as_now(&database.store().await, FEW).await;
    }
}

#[tokio::test]
async fn what_was_copied_from_an_old_store_is_brought_up_to_date_where_it_is_put_back() {
    use updraft_runtime::store::Filling;
    let old = Store::memory(Env::real());
    shop::furnish_as_then(&old, FEW).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut filling = Filling::redb(Env::real(), &path).await.unwrap();
    for piece in pieces(&old).await {
        filling.add(piece).await.unwrap();
    }
    let sequence = old.copy().await.unwrap().sequence();
    filling.finish(sequence).await.unwrap();
    let store = Store::redb(Env::real(), &path).await.unwrap();
    store.migrate(&SCHEMA).await.unwrap();
    assert_usable(&store).await;
}

#[tokio::test]
async fn a_schema_that_is_damaged_names_its_key() {
    let store = Store::memory(Env::real());
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("shop/schema", json("two")).unwrap();
    txn.commit().await.unwrap();
    let refused = store.migrate(&SCHEMA).await.unwrap_err().to_string();
    assert!(refused.contains("shop/schema"), "{refused}");
}
