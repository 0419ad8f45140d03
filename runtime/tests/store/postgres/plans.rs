//! How the server carries out the statements of the store when the tables are large.

use std::sync::Arc;

use updraft_runtime::{
    Env,
    store::{PostgresSettings, Store},
};

use super::server::Server;
use crate::support::{append, json, put};

/// Rows, log entries and commits as after a long time; the statistics are as fresh as autovacuum keeps them.
const LARGE: &str = "
INSERT INTO updraft.rows
    SELECT 't/' || n, n, convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, 100000) n;
INSERT INTO updraft.logs
    SELECT 'l/' || n % 10, n, 'x' FROM generate_series(1, 100000) n;
INSERT INTO updraft.commits
    SELECT n, gen_random_uuid(), n, ARRAY['t/' || n], ARRAY[n], ARRAY['x'::bytea], '{}'
    FROM generate_series(80001, 100000) n;
ANALYZE updraft.rows, updraft.logs, updraft.commits";

/// Has the server log the plan of every statement it carries out.
const EXPLAIN: &str =
    "options='-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0'";

/// More than a statement is planned for its own parameters.
const TIMES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_happens_often_reads_a_whole_table() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    database.store().await.close().await;
    database.admin().await.batch_execute(LARGE).await.unwrap();
    let settings = PostgresSettings::parse(&format!("{} {EXPLAIN}", database.text())).unwrap();
    let store = Store::postgres(Env::real(), settings).await.unwrap();
    put(&store, "t/first", "1").await;
    // Only opening reads everything.
    let opened = database.server.log().len();
    use_it(&store).await;
    store.close().await;

    let plans = database.server.log()[opened..].to_owned();
    for index in ["rows_pkey", "commits_pkey", "logs_pkey"] {
        assert!(plans.contains(index), "no plan with {index} was logged: {plans}");
    }
    for table in ["rows", "logs", "commits"] {
        for hot in [format!("INSERT INTO updraft.{table}"), format!("DELETE FROM updraft.{table}")]
        {
            assert!(plans.contains(&hot), "{hot} was not carried out");
        }
        // The last table has one row, and is read.
        assert!(!plans.contains(&format!("Seq Scan on {table}")), "{table}: {plans}");
    }
}

async fn use_it(store: &Store) {
    for n in 0..TIMES {
        put(store, &format!("t/{n}"), "new").await;
        append(store, "l/1", "new").await;
        let mut txn = store.begin().await.unwrap();
        txn.delete_raw(&format!("t/{}", 5_000 + n)).unwrap();
        txn.put_raw(&format!("u/{n}"), json("new")).unwrap();
        txn.commit().await.unwrap();
        store.log_read("l/2", 90_000, 100).await.unwrap();
        store.trim_log("l/3", 100 * n as u64).await.unwrap();
    }
}
