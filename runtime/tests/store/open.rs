//! Opening a store, and what is said when it cannot be.

use std::path::Path;

use redb::TableDefinition;
use updraft_runtime::{
    Env,
    store::{OpenError, Store},
};

use crate::support::{LossyDisk, put, stored};

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::redb(Env::real(), path).await
}

/// The message of a refusal, which names the file and fits one line.
async fn refusal(path: &Path) -> String {
    let message = open(path).await.unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(!message.contains('\n'), "{message}");
    message
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).await.unwrap();
    put(&store, "t/a", "1").await;
    store.close().await;
    assert_eq!(stored(&open(&path).await.unwrap(), "t/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn dropping_the_last_handle_frees_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).await.unwrap();
    put(&store, "t/a", "1").await;
    drop(store);
    assert_eq!(stored(&open(&path).await.unwrap(), "t/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_transaction_keeps_the_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).await.unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", "1".into()).unwrap();
    drop(store);
    txn.commit().await.unwrap();
    assert_eq!(stored(&open(&path).await.unwrap(), "t/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let _first = open(&path).await.unwrap();
    let message = refusal(&path).await;
    assert!(message.contains("another process") && message.contains("stop it"), "{message}");
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused_and_left_alone() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    open(&path).await.unwrap().close().await;
    let database = redb::Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(META).unwrap().insert("format", 2).unwrap();
    writing.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let message = refusal(&path).await;
    assert!(message.contains("has format 2 and this program needs format 1"), "{message}");
    assert!(before == std::fs::read(&path).unwrap(), "the file was written to");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    const OTHER: TableDefinition<'_, u64, u64> = TableDefinition::new("other");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(OTHER).unwrap().insert(1, 1).unwrap();
    writing.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    assert!(refusal(&path).await.contains("another program"));
    assert!(before == std::fs::read(&path).unwrap(), "the file was written to");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "this is a letter to my aunt".repeat(400)).unwrap();
    assert!(refusal(&path).await.contains("damaged or not a store"));
}

#[tokio::test]
async fn a_file_that_lost_its_content_is_no_new_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "").unwrap();
    assert!(refusal(&path).await.contains("the file is empty"));
}

#[tokio::test]
async fn a_missing_directory_is_named_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let message = refusal(&directory.path().join("missing/store.redb")).await;
    assert!(message.contains("check that its directory exists"), "{message}");
}

#[tokio::test]
async fn a_full_disk_is_named_with_a_remedy() {
    let disk = LossyDisk::default();
    disk.set_full(true);
    let refused = Store::redb_on(Env::real(), disk).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoSpace { .. }), "{refused:?}");
    assert!(refused.to_string().contains("free some"), "{refused}");
}

#[tokio::test]
async fn creating_a_store_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (first, second) = tokio::join!(open(&path), open(&path));
    assert!(first.is_ok() != second.is_ok(), "one of two has it");
    let files = std::fs::read_dir(directory.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}
