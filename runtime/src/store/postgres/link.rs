//! One connection to the database, and what it hears.
//!
//! Whoever owns a link drops it after any failure; what was under way on the server then ends without effect.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_postgres::{
    AsyncMessage, Client, Connection, Error, Row, RowStream, Socket, Statement,
    types::{BorrowToSql, ToSql},
};

use super::{settings::PostgresSettings, sql::Statements, tls::Secured, trouble::Trouble};
use crate::{
    Env,
    store::{
        LogEntry,
        limits::{
            ANSWER_PATIENCE, CONNECT_PATIENCE, IDLE_PATIENCE, LOCK_PATIENCE, STATEMENT_PATIENCE,
        },
    },
};

/// What wakes the task that owns a connection.
#[derive(Default)]
pub(super) struct Ears {
    wake: Notify,
    /// The newest commit that a notification told of.
    newest: AtomicU64,
}

impl Ears {
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns when woken; false if it was not within the limit.
    pub(super) async fn woken(&self, env: &Env, within: Duration) -> bool {
        env.timeout(within, self.wake.notified()).await.is_some()
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    fn heard(&self, sequence: u64) {
        self.newest.fetch_max(sequence, Ordering::AcqRel);
        self.wake();
    }
}

/// A connection with its statements.
pub(super) struct Link {
    pub(super) env: Env,
    pub(super) statements: Statements,
    client: Client,
}

impl Link {
    pub(super) async fn connect(
        env: &Env,
        settings: &PostgresSettings,
        ears: &Arc<Ears>,
    ) -> Result<Self, Trouble> {
        Self::on(env, bare(env, settings, ears).await?).await
    }

    pub(super) async fn on(env: &Env, client: Client) -> Result<Self, Trouble> {
        let statements = within(env, ANSWER_PATIENCE, Statements::prepare(&client)).await?;
        Ok(Self { env: env.clone(), statements, client })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// From now on this connection hears of every commit.
    pub(super) async fn listen(&self) -> Result<(), Trouble> {
        self.run("LISTEN updraft").await
    }

    /// Statements without parameters or answers.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Trouble> {
        within(&self.env, ANSWER_PATIENCE, self.client.batch_execute(sql)).await
    }

    pub(super) async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        within(&self.env, ANSWER_PATIENCE, self.client.query(statement, parameters)).await
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Trouble> {
        within(&self.env, ANSWER_PATIENCE, self.client.execute(statement, parameters)).await
    }

    /// The rows of an answer of any length, as they come.
    pub(super) async fn rows(&self, sql: &str) -> Result<RowStream, Trouble> {
        let none: [&(dyn ToSql + Sync); 0] = [];
        let asked = self.client.query_raw(sql, none.iter().map(BorrowToSql::borrow_to_sql));
        within(&self.env, ANSWER_PATIENCE, asked).await
    }

    /// The same, for someone who takes no time.
    pub(super) async fn each(
        &self,
        sql: &str,
        mut taken: impl FnMut(Row) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut rows = pin!(self.rows(sql).await?);
        while let Some(row) = rows.next().await {
            taken(row?)?;
        }
        Ok(())
    }

    /// Up to `limit` entries of a log behind `after`.
    pub(super) async fn log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, Trouble> {
        let (after, limit) = (stored(after), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.query(&self.statements.read_log, &[&log, &after, &limit]).await?;
        let entry = |row: &Row| {
            let (sequence, value): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            Ok(LogEntry { sequence: number(sequence), value: Bytes::from(value) })
        };
        rows.iter().map(entry).collect()
    }
}

/// A connection that has its limits and nothing prepared.
pub(super) async fn bare(
    env: &Env,
    settings: &PostgresSettings,
    ears: &Arc<Ears>,
) -> Result<Client, Trouble> {
    let (client, connection) = within(env, CONNECT_PATIENCE, settings.connect()).await?;
    env.spawn("store-connection", carry(connection, Arc::clone(ears)));
    within(env, ANSWER_PATIENCE, client.batch_execute(&session())).await?;
    Ok(client)
}

/// What holds for every statement of a connection, whatever the database's own settings are: each statement of a
/// transaction sees what was committed before it, and what is acknowledged is on the server's disk.
fn session() -> String {
    format!(
        "SET default_transaction_isolation = 'read committed';
         SET client_min_messages = 'warning';
         SET statement_timeout = {};
         SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') = 'off'",
        STATEMENT_PATIENCE.as_millis(),
        LOCK_PATIENCE.as_millis(),
        IDLE_PATIENCE.as_millis(),
    )
}

/// Moves bytes until the connection ends.
async fn carry(mut connection: Connection<Socket, Secured<Socket>>, ears: Arc<Ears>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        let AsyncMessage::Notification(notification) = message else { continue };
        // Anyone may notify; what is no number is not from us.
        if let Ok(sequence) = notification.payload().parse() {
            ears.heard(sequence);
        }
    }
    drop(connection);
    ears.wake();
}

/// The work's result, or that it took too long.
pub(super) async fn within<T>(
    env: &Env,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Trouble> {
    let done = env.timeout(limit, work).await;
    done.ok_or_else(|| Trouble::slow("an answer", limit))?.map_err(Trouble::from)
}

/// A number of ours as the database keeps it.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of ours as the database has kept it.
pub(super) fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}
