//! Every statement of the engine, prepared once per connection.

use tokio_postgres::{Client, Error, Statement};

/// Holds up the commits of everyone else until this transaction ends; whoever gets it sees all earlier ones.
const LOCK: &str = "SELECT format FROM updraft.meta FOR UPDATE";

/// The journal's entry at a position, without its content, and what was added behind it.
const CHANGES: &str = "
SELECT sequence, id, bytes,
    CASE WHEN sequence > $1 THEN keys END,
    CASE WHEN sequence > $1 THEN versions END,
    CASE WHEN sequence > $1 THEN row_values END,
    CASE WHEN sequence > $1 THEN logs END
FROM updraft.commits WHERE sequence >= $1 ORDER BY sequence LIMIT $2";

/// The oldest entry of the journal.
const OLDEST: &str = "SELECT sequence FROM updraft.commits ORDER BY sequence LIMIT 1";

/// Which of two entries are in the journal.
const FIND: &str = "SELECT sequence, id FROM updraft.commits WHERE sequence IN ($1, $2)";

const PUT: &str = "
INSERT INTO updraft.rows (key, version, value)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])
ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value";

const DELETE: &str = "DELETE FROM updraft.rows WHERE key = ANY ($1::text[])";

const APPEND: &str = "
INSERT INTO updraft.logs (log, sequence, value)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])";

const RECORD: &str = "
INSERT INTO updraft.commits (sequence, id, bytes, keys, versions, row_values, logs)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

const NOTIFY: &str = "SELECT pg_notify('updraft', $1)";

/// Looks at the oldest entries alone, however long the journal is.
const TRIM: &str = "
DELETE FROM updraft.commits WHERE sequence = ANY (ARRAY(
    SELECT sequence FROM (
        SELECT sequence, bytes FROM updraft.commits ORDER BY sequence LIMIT $3
    ) oldest WHERE sequence < $1 OR bytes < $2
))";

const READ_LOG: &str = "
SELECT sequence, value FROM updraft.logs
WHERE log = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";

const TRIM_LOG: &str = "
DELETE FROM updraft.logs WHERE log = $1 AND sequence = ANY (ARRAY(
    SELECT sequence FROM updraft.logs
    WHERE log = $1 AND sequence <= $2 ORDER BY sequence LIMIT $3
))";

/// The statements of one connection.
pub(super) struct Statements {
    pub(super) lock: Statement,
    pub(super) changes: Statement,
    pub(super) oldest: Statement,
    pub(super) find: Statement,
    pub(super) put: Statement,
    pub(super) delete: Statement,
    pub(super) append: Statement,
    pub(super) record: Statement,
    pub(super) notify: Statement,
    pub(super) trim: Statement,
    pub(super) read_log: Statement,
    pub(super) trim_log: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (lock, changes, oldest, find, put, delete) = tokio::try_join!(
            client.prepare(LOCK),
            client.prepare(CHANGES),
            client.prepare(OLDEST),
            client.prepare(FIND),
            client.prepare(PUT),
            client.prepare(DELETE),
        )?;
        let (append, record, notify, trim, read_log, trim_log) = tokio::try_join!(
            client.prepare(APPEND),
            client.prepare(RECORD),
            client.prepare(NOTIFY),
            client.prepare(TRIM),
            client.prepare(READ_LOG),
            client.prepare(TRIM_LOG),
        )?;
        Ok(Self {
            lock,
            changes,
            oldest,
            find,
            put,
            delete,
            append,
            record,
            notify,
            trim,
            read_log,
            trim_log,
        })
    }
}
