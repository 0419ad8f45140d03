//! The journal of commits: what the mirror follows.
//!
//! An entry is added while the lock is held and never changes, so that whoever sees one sees all before it. The
//! last entry is never forgotten.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    link::{Link, number, stored},
    trouble::Trouble,
};
use crate::store::{
    Entry,
    limits::{JOURNAL_PAGE_MAX_ENTRIES, LOAD_PATIENCE},
    reads::Rows,
};

const NEWEST: &str =
    "SELECT sequence, id, bytes FROM updraft.commits ORDER BY sequence DESC LIMIT 1";

const ALL_ROWS: &str = "SELECT key, version, value FROM updraft.rows";

pub(super) const ALL_ROWS_IN_ORDER: &str =
    "SELECT key, version, value FROM updraft.rows ORDER BY key";

/// An entry of the journal, and with it a state of all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) sequence: u64,
    /// Random: another history has another one.
    pub(super) id: Uuid,
    /// Bytes of keys and values in all entries so far.
    pub(super) bytes: u64,
}

/// What one group of commits changed.
pub(super) struct Change {
    pub(super) position: Position,
    pub(super) rows: Vec<Changed>,
    /// The logs that were appended to.
    pub(super) logs: Vec<Arc<str>>,
}

/// A row that was written, or deleted if it has no value.
pub(super) struct Changed {
    pub(super) key: Arc<str>,
    pub(super) version: u64,
    pub(super) value: Option<Bytes>,
}

/// What the journal says to someone at a position.
pub(super) enum Heard {
    /// These are next; there may be more.
    Changes { changes: Vec<Change>, more: bool },
    /// The position was forgotten: all rows have to be read anew.
    TooFarBehind,
    /// The position is of another history: commits that were seen are gone.
    Rewound,
}

/// All rows, and where in the journal they are.
pub(super) struct Loaded {
    pub(super) rows: Rows,
    pub(super) position: Position,
}

/// Asks what was added behind a position.
pub(super) async fn ask(link: &Link, from: Position) -> Result<Heard, Trouble> {
    let sequence = stored(from.sequence);
    let rows =
        link.query(&link.statements.changes, &[&sequence, &JOURNAL_PAGE_MAX_ENTRIES]).await?;
    match rows.split_first() {
        Some((first, added)) if position(first)? == from => {
            let changes = added.iter().map(change).collect::<Result<_, _>>()?;
            let more = stored(rows.len() as u64) >= JOURNAL_PAGE_MAX_ENTRIES;
            Ok(Heard::Changes { changes, more })
        }
        _ => lost_place(link, from).await,
    }
}

async fn lost_place(link: &Link, from: Position) -> Result<Heard, Trouble> {
    let oldest = link.query(&link.statements.oldest, &[]).await?;
    let oldest = oldest.first().map(|row| row.try_get(0)).transpose()?;
    let forgotten = oldest.is_some_and(|oldest| number(oldest) > from.sequence);
    Ok(if forgotten { Heard::TooFarBehind } else { Heard::Rewound })
}

/// Reads everything as it is at one moment.
pub(super) async fn load(link: &Link) -> Result<Loaded, Trouble> {
    let position = begin_reading(link).await?;
    let mut rows = Rows::new();
    let reading = link.each(ALL_ROWS, |row| {
        let (key, version, value): (&str, i64, &[u8]) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let entry = Entry { value: Bytes::copy_from_slice(value), version: number(version) };
        rows.insert(key.into(), entry);
        Ok(())
    });
    let read = link.env.timeout(LOAD_PATIENCE, reading).await;
    read.ok_or_else(|| Trouble::slow("reading all rows", LOAD_PATIENCE))??;
    link.run("COMMIT").await?;
    Ok(Loaded { rows, position })
}

/// Keeps the database as it is now for whatever is read until the next `COMMIT`; returns where that is.
pub(super) async fn begin_reading(link: &Link) -> Result<Position, Trouble> {
    let patience = LOAD_PATIENCE.as_millis();
    link.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {patience}"
    ))
    .await?;
    let mut newest = None;
    let reading = link.each(NEWEST, |row| {
        newest = Some(position(&row)?);
        Ok(())
    });
    reading.await?;
    newest.ok_or_else(|| Trouble::refused("its journal is empty: restore it from a backup"))
}

fn position(row: &Row) -> Result<Position, Trouble> {
    let (sequence, id, bytes) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Position { sequence: number(sequence), id, bytes: number(bytes) })
}

fn change(row: &Row) -> Result<Change, Trouble> {
    let keys: Vec<&str> = row.try_get(3)?;
    let versions: Vec<i64> = row.try_get(4)?;
    let values: Vec<Option<&[u8]>> = row.try_get(5)?;
    let logs: Vec<&str> = row.try_get(6)?;
    if keys.len() != versions.len() || keys.len() != values.len() {
        return Err(Trouble::refused(
            "an entry of its journal is damaged: restore it from a backup",
        ));
    }
    let changed = |((key, version), value): ((&str, i64), Option<&[u8]>)| Changed {
        key: key.into(),
        version: number(version),
        value: value.map(Bytes::copy_from_slice),
    };
    let rows = keys.into_iter().zip(versions).zip(values).map(changed).collect();
    Ok(Change { position: position(row)?, rows, logs: logs.into_iter().map(Into::into).collect() })
}
