//! A whole store in a database: read out at one moment, or filled in one transaction.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresSettings,
    hub::Hub,
    journal,
    link::{Ears, Link, number, stored},
    trouble::Trouble,
};
use crate::{
    Env,
    store::{
        Entry, LogEntry, OpenError, StoreError,
        copy::{self, Copy, Piece, Pieces},
        limits::LOAD_PATIENCE,
    },
};

const ALL_LOGS: &str = "SELECT log, sequence, value FROM updraft.logs ORDER BY log, sequence";

const IS_EMPTY: &str = "
SELECT NOT EXISTS (SELECT FROM updraft.rows) AND NOT EXISTS (SELECT FROM updraft.logs)";

/// Processes that have opened the empty store are behind then, and read everything anew.
const FORGET_JOURNAL: &str = "DELETE FROM updraft.commits";

impl Hub {
    /// Everything that is committed now, over a connection of its own.
    pub(in crate::store) async fn copy(self: &Arc<Self>) -> Result<Copy, StoreError> {
        let (pieces, receiver) = copy::channel();
        let (began, sequence) = oneshot::channel();
        drop(self.serving()?);
        let hub = Arc::clone(self);
        self.env.spawn("store-copy", async move {
            if let Err(trouble) = hub.hand_over(&pieces, began).await {
                // Whoever asked may have gone.
                let _ = pieces.send(Err(trouble.refusal())).await;
            }
        });
        let gone = || StoreError::Unavailable("the database: it cannot be read now".to_owned());
        Ok(Copy { sequence: sequence.await.map_err(|_| gone())?, pieces: receiver })
    }

    async fn hand_over(&self, pieces: &Pieces, began: oneshot::Sender<u64>) -> Result<(), Trouble> {
        let link = Link::connect(&self.env, &self.settings, &Arc::new(Ears::default())).await?;
        let loaded = journal::begin_reading(&link).await?;
        let _ = began.send(loaded.sequence);
        send_all(&link, journal::ALL_ROWS_IN_ORDER, row_piece, pieces).await?;
        send_all(&link, ALL_LOGS, log_piece, pieces).await?;
        link.run("COMMIT").await
    }
}

/// Sends on what comes, as fast as it is taken, until nobody takes it any more.
async fn send_all(
    link: &Link,
    sql: &str,
    piece: fn(&Row) -> Result<Piece, Trouble>,
    pieces: &Pieces,
) -> Result<(), Trouble> {
    let mut rows = pin!(link.rows(sql).await?);
    while let Some(row) = rows.next().await {
        if pieces.send(Ok(piece(&row?)?)).await.is_err() {
            return Err(Trouble::refused("nobody takes the copy"));
        }
    }
    Ok(())
}

fn row_piece(row: &Row) -> Result<Piece, Trouble> {
    let (key, version, value): (&str, i64, &[u8]) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let entry = Entry { value: Bytes::copy_from_slice(value), version: number(version) };
    Ok(Piece::Row { key: key.into(), entry })
}

fn log_piece(row: &Row) -> Result<Piece, Trouble> {
    let (log, sequence, value): (&str, i64, &[u8]) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let entry = LogEntry { sequence: number(sequence), value: Bytes::copy_from_slice(value) };
    Ok(Piece::Log { log: log.into(), entry })
}

/// An empty store in a database that is being filled, in one transaction.
pub(in crate::store) struct Filler {
    env: Env,
    link: Link,
    place: String,
}

impl Filler {
    pub(in crate::store) async fn begin(
        env: Env,
        settings: PostgresSettings,
    ) -> Result<Self, OpenError> {
        let place = settings.place().to_owned();
        let link = super::first_link(&env, &settings, &Arc::default()).await;
        let filler = match link {
            Ok(link) => Self { env, link, place },
            Err(trouble) => {
                return Err(OpenError::Database { database: place, reason: trouble.to_string() });
            }
        };
        filler.lock_empty().await.map_err(|trouble| filler.refused(&trouble))?;
        Ok(filler)
    }

    async fn lock_empty(&self) -> Result<(), Trouble> {
        // Whoever reads the source may be slow.
        let idle = LOAD_PATIENCE.as_millis();
        self.link
            .run(&format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = {idle}"))
            .await?;
        self.link.query(&self.link.statements.lock, &[]).await?;
        let mut empty = false;
        self.link
            .each(IS_EMPTY, |row| {
                empty = row.try_get(0)?;
                Ok(())
            })
            .await?;
        let full = "it holds a store already: use another database";
        if empty { Ok(()) } else { Err(Trouble::refused(full)) }
    }

    pub(in crate::store) async fn write(&mut self, pieces: &[Piece]) -> Result<(), OpenError> {
        self.try_write(pieces).await.map_err(|trouble| self.refused(&trouble))
    }

    async fn try_write(&self, pieces: &[Piece]) -> Result<(), Trouble> {
        let (mut rows, mut logs) = (Columns::default(), Columns::default());
        for piece in pieces {
            match piece {
                Piece::Row { key, entry } => rows.add(key, entry.version, &entry.value),
                Piece::Log { log, entry } => logs.add(log, entry.sequence, &entry.value),
            }
        }
        let statements = &self.link.statements;
        for (statement, columns) in [(&statements.put, rows), (&statements.append, logs)] {
            let Columns { names, numbers, values } = columns;
            if !names.is_empty() {
                self.link.execute(statement, &[&names, &numbers, &values]).await?;
            }
        }
        Ok(())
    }

    pub(in crate::store) async fn finish(self, sequence: u64) -> Result<(), OpenError> {
        let done = self.try_finish(sequence).await;
        done.map_err(|trouble| self.refused(&trouble))
    }

    async fn try_finish(&self, sequence: u64) -> Result<(), Trouble> {
        self.link.run(FORGET_JOURNAL).await?;
        let (keys, versions) = (Vec::<&str>::new(), Vec::<i64>::new());
        let values = Vec::<Option<&[u8]>>::new();
        let (sequence, id, bytes) = (stored(sequence), self.env.uuid(), 0_i64);
        let record = &self.link.statements.record;
        let entry: [&(dyn ToSql + Sync); 7] =
            [&sequence, &id, &bytes, &keys, &versions, &values, &keys];
        self.link.execute(record, &entry).await?;
        self.link.run("COMMIT").await
    }

    fn refused(&self, trouble: &Trouble) -> OpenError {
        OpenError::Database { database: self.place.clone(), reason: trouble.to_string() }
    }
}

/// Parameters of a statement that writes many.
#[derive(Default)]
struct Columns<'a> {
    names: Vec<&'a str>,
    numbers: Vec<i64>,
    values: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, name: &'a str, number: u64, value: &'a [u8]) {
        self.names.push(name);
        self.numbers.push(stored(number));
        self.values.push(value);
    }
}
