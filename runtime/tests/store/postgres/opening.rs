//! Opening a store in a database, and what is said when it cannot be.

use std::sync::Arc;

use updraft_runtime::{
    Env,
    store::{PostgresSettings, Store},
};

use super::server::{Database, Server};
use crate::support::{put, stored};

async fn refusal(text: &str) -> String {
    let settings = PostgresSettings::parse(text).unwrap().password("secret");
    let message = Store::postgres(Env::real(), settings).await.unwrap_err().to_string();
    assert!(!message.contains("secret") && !message.contains('\n'), "{message}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_named() {
    let Some(database) = Database::fresh().await else { return };
    let message = refusal(&format!("{}_missing", database.text())).await;
    assert!(message.contains("_missing") && message.contains("does not exist"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_later_is_waited_for() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    database.server.kill();
    let opening = database.store();
    let starting = async { database.server.start_again() };
    let (store, ()) = tokio::join!(opening, starting);
    put(&store, "t/a", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_format_are_refused() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store().await;
    put(&store, "t/a", "1").await;
    let admin = database.admin().await;
    admin.batch_execute("UPDATE updraft.meta SET format = 2").await.unwrap();
    let message = refusal(&database.text()).await;
    assert!(message.contains("has format 2 and this program needs format 1"), "{message}");
    // Neither does a program that is running already write into them.
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", "2".into()).unwrap();
    let refused = txn.commit().await.unwrap_err().to_string();
    assert!(refused.contains("format 2"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_another_program_is_refused_and_left_alone() {
    let Some(database) = Database::fresh().await else { return };
    let admin = database.admin().await;
    admin.batch_execute("CREATE SCHEMA updraft CREATE TABLE planes (id int)").await.unwrap();
    assert!(refusal(&database.text()).await.contains("another program"));
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'updraft'";
    let found = admin.query(tables, &[]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["planes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_another_encoding_is_refused_with_a_remedy() {
    let Some(database) = Database::fresh().await else { return };
    let admin = database.admin().await;
    let create = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    admin.batch_execute(create).await.unwrap();
    let host = database.server.directory();
    let message = refusal(&format!("host={} user=postgres dbname=latin", host.display())).await;
    assert!(message.contains("LATIN1") && message.contains("--encoding=UTF8"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_open_an_empty_database_at_once_agree_on_its_tables() {
    let Some(database) = Database::fresh().await else { return };
    let stores = futures_util::future::join_all((0..4).map(|_| database.store())).await;
    put(&stores[0], "t/a", "1").await;
    for store in &stores {
        assert_eq!(stored(store, "t/a").await.as_deref(), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_database_do_not_weaken_what_is_promised() {
    let Some(database) = Database::fresh().await else { return };
    let name = database.text().rsplit('=').next().unwrap().to_owned();
    let admin = database.admin().await;
    for setting in ["default_transaction_isolation = 'serializable'", "synchronous_commit = off"] {
        admin.batch_execute(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let (one, other) = tokio::join!(database.store(), database.store());
    for n in 0..10 {
        put(if n % 2 == 0 { &one } else { &other }, "t/a", &n.to_string()).await;
    }
    assert_eq!(stored(&one, "t/a").await.as_deref(), Some("9"));
}
