//! The store in a PostgreSQL database that several processes share.
//!
//! All rows are in memory here too. The database keeps a journal with one entry per group of commits, and the
//! mirror is what the journal adds up to: a transaction begins by asking what has been added since, and a commit
//! holds the one row that orders all commits, catches up with the journal, checks what was read, and adds to it.
//! That makes transactions strictly serializable over all processes. Notifications and the slow poll only
//! shorten the time until watches hear of what others did.
//!
//! An entry of the journal has a random id, so that a commit whose answer was lost is looked for and found, or
//! found missing for good; only if neither works out in time is its outcome unknown. Passwords appear in no
//! error, log or `Debug`.

use std::sync::Arc;

use super::{OpenError, limits::DATABASE_OPEN_PATIENCE};
use crate::Env;

mod batch;
mod committer;
mod copy;
mod follower;
mod hub;
mod journal;
mod link;
mod schema;
mod settings;
mod sql;
mod tls;
mod trouble;

pub use self::settings::PostgresSettings;
pub(super) use self::{copy::Filler, hub::Hub};

use self::{
    committer::Committer,
    follower::Follower,
    link::{Ears, Link},
    trouble::{Pauses, Trouble},
};

/// Opens the store, and starts the two tasks that follow the journal and add to it.
pub(super) async fn open(env: Env, settings: PostgresSettings) -> Result<Arc<Hub>, OpenError> {
    let place = settings.place().to_owned();
    let refused =
        |trouble: Trouble| OpenError::Database { database: place, reason: trouble.to_string() };
    let ears = Arc::new(Ears::default());
    let load = async || journal::load(&prepared_link(&env, &settings, &ears).await?).await;
    let loaded = in_time(&env, load).await.map_err(refused)?;
    let hub = Arc::new(Hub::new(env, settings, loaded));
    Follower::start(&hub);
    Committer::start(&hub);
    Ok(hub)
}

/// A connection with the tables in place.
async fn first_link(
    env: &Env,
    settings: &PostgresSettings,
    ears: &Arc<Ears>,
) -> Result<Link, Trouble> {
    in_time(env, async || prepared_link(env, settings, ears).await).await
}

/// Tries until it succeeds: a server that does not answer yet, or is gone again, is waited for.
async fn in_time<T>(
    env: &Env,
    attempt: impl AsyncFn() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let give_up = env.now() + DATABASE_OPEN_PATIENCE;
    let mut pauses = Pauses::new(env);
    loop {
        match attempt().await {
            Err(trouble) if trouble.may_pass() && env.now() < give_up => pauses.wait().await,
            done => return done,
        }
    }
}

async fn prepared_link(
    env: &Env,
    settings: &PostgresSettings,
    ears: &Arc<Ears>,
) -> Result<Link, Trouble> {
    let bare = link::bare(env, settings, ears).await?;
    schema::ensure(env, &bare).await?;
    Link::on(env, bare).await
}
