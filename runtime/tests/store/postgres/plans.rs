//! How the server carries out the statements of the store when the tables are large.

use std::{collections::BTreeSet, sync::Arc};

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

/// What a connection prepares; may only grow.
const STATEMENTS_MIN: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_connection_prepares_reads_a_whole_table() {
    // Whatever reaches the server is in its log.
    let Some(server) = Server::start(&["log_min_duration_statement=0"]) else { return };
    let database = Arc::new(server).database().await;
    let store = database.store().await;
    let admin = database.admin().await;
    admin.batch_execute(LARGE).await.unwrap();
    // Connections that are made after the store was opened do not read everything first.
    let opened = database.server.log().len();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'updraft' AND datname = current_database()";
    admin.execute(end, &[]).await.unwrap();
    super::cut::put_at_last(&store, "t/a").await;
    use_it(&store).await;
    let log = database.server.log()[opened..].to_owned();

    let prepared = said(&log, "parse ");
    assert!(prepared.len() >= STATEMENTS_MIN, "{prepared:?}");
    admin.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    for statement in &prepared {
        let plan = plan_of(&admin, statement).await;
        for table in ["rows", "logs", "commits"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{statement}\n{plan}");
        }
    }
    // What is sent without being prepared begins and ends transactions, and touches no table.
    let plain = said(&log, "statement: ");
    assert!(plain.iter().any(|statement| statement == "COMMIT"), "{plain:?}");
    let ours = plain.iter().filter(|statement| statement.contains("updraft."));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The statements that the server says to have got in this way, each once and on one line.
fn said(log: &str, way: &str) -> BTreeSet<String> {
    // Further lines of an entry are indented.
    let log = log.replace("\n\t", " ");
    let entries = log.lines().filter_map(|entry| entry.split_once(" ms  ")?.1.strip_prefix(way));
    let statements = entries.filter_map(|entry| match way {
        "parse " => entry.split_once(": ").map(|(_, statement)| statement),
        _ => Some(entry),
    });
    statements.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// How the server would carry it out, whatever its parameters are.
async fn plan_of(admin: &tokio_postgres::Client, statement: &str) -> String {
    let parameters = (1..).take_while(|n| statement.contains(&format!("${n}"))).count();
    let nothing = vec!["NULL"; parameters].join(", ");
    let given = if parameters == 0 { String::new() } else { format!("({nothing})") };
    admin.batch_execute(&format!("PREPARE explained AS {statement}")).await.unwrap();
    let lines = admin.simple_query(&format!("EXPLAIN EXECUTE explained{given}")).await.unwrap();
    admin.batch_execute("DEALLOCATE explained").await.unwrap();
    let row = |line: &tokio_postgres::SimpleQueryMessage| match line {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(|line| format!("{line}\n")),
        _ => None,
    };
    lines.iter().filter_map(row).collect()
}
