//! A copy of a store is that store again: the same rows, versions and places in logs.

use std::path::Path;

use updraft_runtime::{
    Env,
    store::{Filling, OpenError, Piece, Store, StoreError, limits::FILL_STEP_MAX_BYTES},
};

use crate::support::{append, json, put};

/// A store with rows, a row that is gone, and a log that was trimmed.
async fn furnish(store: &Store) {
    for n in 0..20 {
        put(store, &format!("t/{n:02}"), &n.to_string()).await;
    }
    let mut gone = store.begin().await.unwrap();
    gone.delete_raw("t/07").unwrap();
    gone.commit().await.unwrap();
    let trimmed = append(store, "t/log", "old").await;
    append(store, "t/log", "new").await;
    append(store, "u/log", "other").await;
    store.trim_log("t/log", trimmed).await.unwrap();
    // More than is written at once.
    for n in 0..=FILL_STEP_MAX_BYTES / 1_000_000 {
        put(store, &format!("large/{n}"), &"x".repeat(1_000_000)).await;
    }
}

async fn pieces(store: &Store) -> (u64, Vec<Piece>) {
    let mut copy = store.copy().await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = copy.next().await {
        pieces.push(piece.unwrap());
    }
    (copy.sequence(), pieces)
}

async fn fill(mut filling: Filling, from: &Store) -> Result<(), OpenError> {
    let (sequence, pieces) = pieces(from).await;
    for piece in pieces {
        filling.add(piece).await?;
    }
    filling.finish(sequence).await
}

/// Both have the same, and the copy goes on from where the other one was.
async fn assert_same(store: &Store, copy: &Store) {
    let ours = pieces(store).await;
    assert_eq!(ours.1.len(), 19 + 2 + FILL_STEP_MAX_BYTES / 1_000_000 + 1);
    assert!(ours == pieces(copy).await, "the copy is different");
    assert!(put(copy, "t/next", "1").await > ours.0);
    assert_eq!(copy.log_read("t/log", 0, 9).await.unwrap()[0].value, json("new"));
}

async fn redb(path: &Path) -> Store {
    Store::redb(Env::real(), path).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_filled_from_a_file_and_from_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = redb(&directory.path().join("store.redb")).await;
    for (name, store) in [("a", file), ("b", Store::memory(Env::real()))] {
        furnish(&store).await;
        let path = directory.path().join(name);
        fill(Filling::redb(Env::real(), &path).await.unwrap(), &store).await.unwrap();
        assert_same(&store, &redb(&path).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_finished_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (_, pieces) = pieces_of_one_row().await;
    let mut filling = Filling::redb(Env::real(), &path).await.unwrap();
    filling.add(pieces[0].clone()).await.unwrap();
    drop(filling);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_there_is_not_filled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    put(&redb(&path).await, "t/a", "1").await;
    let refused = Filling::redb(Env::real(), &path).await.err().expect("it is refused");
    assert!(refused.to_string().contains("exists"), "{refused}");
}

async fn pieces_of_one_row() -> (u64, Vec<Piece>) {
    let store = Store::memory(Env::real());
    put(&store, "t/a", "1").await;
    pieces(&store).await
}

#[tokio::test]
async fn rows_under_a_prefix_are_copied_alone() {
    let store = Store::memory(Env::real());
    furnish(&store).await;
    let mut copy = store.copy_rows("t/1").await.unwrap();
    let mut keys = Vec::new();
    while let Some(piece) = copy.next().await {
        match piece.unwrap() {
            Piece::Row { key, .. } => keys.push(key.to_string()),
            Piece::Log { log, .. } => panic!("an entry of {log}"),
        }
    }
    assert_eq!(keys, (10..20).map(|n| format!("t/{n}")).collect::<Vec<_>>());
    let part = store.scoped("u/").copy_rows("t/").await;
    assert!(matches!(part, Err(StoreError::OutOfScope { .. })));
}

#[tokio::test]
async fn a_handle_that_sees_a_part_makes_no_copy() {
    let store = Store::memory(Env::real()).scoped("t/");
    assert!(matches!(store.copy().await, Err(StoreError::OutOfScope { .. })));
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use updraft_runtime::store::PostgresSettings;

    use super::*;
    use crate::postgres::server::Database;

    async fn filling(database: &Database) -> Result<Filling, OpenError> {
        let settings = PostgresSettings::parse(&database.text()).unwrap();
        Filling::postgres(Env::real(), settings).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_is_filled_from_a_file_and_a_file_from_a_database() {
        let Some(database) = Database::fresh().await else { return };
        let directory = tempfile::tempdir().unwrap();
        let file = redb(&directory.path().join("store.redb")).await;
        furnish(&file).await;
        // A process that has opened the empty database already sees what it is filled with.
        let early = database.store().await;
        fill(filling(&database).await.unwrap(), &file).await.unwrap();
        assert!(pieces(&file).await == pieces(&early).await, "the early one sees less");

        let path = directory.path().join("back.redb");
        fill(Filling::redb(Env::real(), &path).await.unwrap(), &early).await.unwrap();
        assert_same(&file, &redb(&path).await).await;
        assert_same(&file, &database.store().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_that_holds_something_is_not_filled() {
        let Some(database) = Database::fresh().await else { return };
        put(&database.store().await, "t/a", "1").await;
        let refused = filling(&database).await.err().expect("it is refused");
        assert!(refused.to_string().contains("holds a store already"), "{refused}");
    }
}
