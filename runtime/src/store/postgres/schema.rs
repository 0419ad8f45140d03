//! The tables, and whether those that are there are ours.

use tokio_postgres::Client;

use super::{link::within, trouble::Trouble};
use crate::{
    Env,
    store::limits::{ANSWER_PATIENCE, FORMAT_VERSION},
};

/// A number that no other program is likely to lock while it makes its tables.
const MAKING: &str = "SELECT pg_advisory_xact_lock(7521962890172588)";

const LOOK: &str = "
SELECT current_setting('server_encoding'),
    to_regclass('updraft.meta') IS NOT NULL,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('updraft'))";

/// `rows` leaves space on its pages so that a row that is written again stays on its page; the arrays of
/// `commits` are kept for minutes and not worth compressing.
const TABLES: &str = "
CREATE SCHEMA IF NOT EXISTS updraft;
CREATE TABLE updraft.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format bigint NOT NULL
);
CREATE TABLE updraft.rows (
    key text COLLATE \"C\" PRIMARY KEY,
    version bigint NOT NULL,
    value bytea NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE updraft.commits (
    sequence bigint PRIMARY KEY,
    id uuid NOT NULL,
    bytes bigint NOT NULL,
    keys text[] NOT NULL,
    versions bigint[] NOT NULL,
    row_values bytea[] NOT NULL,
    logs text[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE updraft.commits ALTER COLUMN row_values SET STORAGE EXTERNAL;
CREATE TABLE updraft.logs (
    log text COLLATE \"C\",
    sequence bigint,
    value bytea NOT NULL,
    PRIMARY KEY (log, sequence)
);
CREATE VIEW updraft.readable AS
    SELECT key, version, convert_from(value, 'UTF8') AS value FROM updraft.rows;
COMMENT ON SCHEMA updraft IS 'The rows of an Updraft cloud: read them in the view readable.';
COMMENT ON TABLE updraft.meta IS 'Its one row is locked by whoever commits.';
COMMENT ON TABLE updraft.rows IS 'Every row, and the commit that wrote it last.';
COMMENT ON TABLE updraft.commits IS 'The latest commits, for the processes that follow.';
COMMENT ON TABLE updraft.logs IS 'Ordered logs.';";

const STAMP: &str = "INSERT INTO updraft.meta (format) VALUES ($1)";

const FIRST_ENTRY: &str = "INSERT INTO updraft.commits VALUES (0, $1, 0, '{}', '{}', '{}', '{}')";

/// Makes the tables if they are missing, and refuses those of another version or program.
pub(super) async fn ensure(env: &Env, client: &Client) -> Result<(), Trouble> {
    within(env, ANSWER_PATIENCE, client.batch_execute("BEGIN")).await?;
    within(env, ANSWER_PATIENCE, client.batch_execute(MAKING)).await?;
    let row = within(env, ANSWER_PATIENCE, client.query_one(LOOK, &[])).await?;
    let encoding: String = row.try_get(0)?;
    if encoding != "UTF8" {
        return Err(Trouble::refused(format!(
            "its encoding is {encoding} and has to be UTF8: make it with `createdb --encoding=UTF8 --template=template0`"
        )));
    }
    match (row.try_get(1)?, row.try_get(2)?) {
        (true, _) => check_format(env, client).await?,
        (false, true) => {
            return Err(Trouble::refused(
                "its schema \"updraft\" belongs to another program: use another database",
            ));
        }
        (false, false) => make(env, client).await?,
    }
    within(env, ANSWER_PATIENCE, client.batch_execute("COMMIT")).await
}

async fn make(env: &Env, client: &Client) -> Result<(), Trouble> {
    within(env, ANSWER_PATIENCE, client.batch_execute(TABLES)).await?;
    let format = i64::try_from(FORMAT_VERSION).unwrap_or(i64::MAX);
    within(env, ANSWER_PATIENCE, client.execute(STAMP, &[&format])).await?;
    within(env, ANSWER_PATIENCE, client.execute(FIRST_ENTRY, &[&env.uuid()])).await?;
    Ok(())
}

async fn check_format(env: &Env, client: &Client) -> Result<(), Trouble> {
    let asked = client.query_opt("SELECT format FROM updraft.meta", &[]);
    let row = within(env, ANSWER_PATIENCE, asked).await?;
    let row = row.ok_or_else(|| Trouble::refused("its table updraft.meta is empty: restore it"))?;
    is_ours(row.try_get(0)?)
}

/// Refuses a format that this program does not write.
pub(super) fn is_ours(format: i64) -> Result<(), Trouble> {
    if u64::try_from(format) == Ok(FORMAT_VERSION) {
        return Ok(());
    }
    Err(Trouble::refused(format!(
        "it has format {format} and this program needs format {FORMAT_VERSION}: run the version that wrote it"
    )))
}
