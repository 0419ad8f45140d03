//! Forgets what was done with servers that went long ago.

use std::{collections::BTreeSet, time::Duration};

use updraft_runtime::{
    Env,
    env::UnixMicros,
    store::{Store, StoreError, Txn},
};

use super::ActionRow;
use crate::rows::ServerRow;

/// How long the actions of a server that is gone are kept: a week, in which somebody asks who deleted it.
const KEPT_AFTER_DELETION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often it is looked for what may be forgotten.
const ROUND: Duration = Duration::from_secs(60 * 60);

/// How many actions are looked at together.
const PAGE: usize = 256;

/// Forgets, again and again.
pub(crate) async fn forget_forever(env: Env, store: Store) {
    loop {
        env.sleep(ROUND).await;
        if let Err(error) = forget(&env, &store).await {
            tracing::warn!(%error, "not all actions of servers long gone were looked at");
        }
    }
}

async fn forget(env: &Env, store: &Store) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.read(|txn| txn.scan_keys::<ActionRow>(after.as_deref(), PAGE)).await?;
        let servers: BTreeSet<&str> =
            page.iter().filter_map(|key| key.split_once(':')).map(|(server, _)| server).collect();
        for server in servers {
            let forgotten = store.transact(|txn| forget_server(txn, server, env.wall())).await;
            // One that is damaged keeps no other from being forgotten.
            if let Err(error) = forgotten {
                tracing::warn!(server, %error, "its actions are kept");
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().last();
    }
}

/// Forgets a server's actions if it is gone, and the last of them was long ago.
fn forget_server(txn: &mut Txn, server: &str, now: UnixMicros) -> Result<(), StoreError> {
    if txn.get::<ServerRow>(server)?.is_some() {
        return Ok(());
    }
    let rows = txn.find::<ActionRow>("server", server)?;
    let last = rows.iter().map(|row| row.finished.unwrap_or(row.started)).max();
    if last.is_some_and(|last| now.since(last) > KEPT_AFTER_DELETION) {
        for row in &rows {
            txn.delete::<ActionRow>(&updraft_runtime::store::Record::key(row))?;
        }
    }
    Ok(())
}
