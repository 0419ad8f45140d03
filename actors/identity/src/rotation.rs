//! Keys that rotate by themselves, and what else is done from time to time.

use std::{sync::Arc, time::Duration};

use updraft_edge::token::fresh_key;
use updraft_runtime::store::StoreError;

use crate::{
    core::Core,
    error::Error,
    keys, ledger,
    rows::{KeysRow, RevokedRow},
};

/// How often it is looked whether something is to be done.
const ROUND: Duration = Duration::from_secs(60);

/// Most revocations that one round forgets in one transaction.
const FORGOTTEN_AT_ONCE_MAX: usize = 1_000;

/// Makes the staged key the primary one and stages a new one.
pub(crate) async fn rotate(core: &Core) -> Result<KeysRow, Error> {
    rotate_if(core, |_| true)
        .await?
        .ok_or(Error::Internal("there are no keys: bootstrap comes first"))
}

async fn rotate_if(core: &Core, due: impl Fn(&KeysRow) -> bool) -> Result<Option<KeysRow>, Error> {
    let staged = fresh_key(&core.env);
    let lifetime = core.config.token_lifetime;
    core.change(|change| {
        let Some(row) = change.get::<KeysRow>(KeysRow::KEY)?.filter(|row| due(row)) else {
            return Ok(None);
        };
        let next = keys::rotated(&row, staged.clone(), core.env.wall(), lifetime)?;
        change.put(&next)?;
        Ok(Some(next))
    })
    .await
}

/// Does what is due, again and again. Every identity server does, and transactions see to it that
/// it is done once.
pub(crate) async fn keep_house(core: Arc<Core>) {
    loop {
        if let Err(error) = round(&core).await {
            tracing::warn!(%error, "a round of housekeeping failed");
        }
        core.env.sleep(ROUND).await;
    }
}

async fn round(core: &Core) -> Result<(), Error> {
    let now = core.env.wall();
    let every = core.config.key_rotation;
    if rotate_if(core, |row| now >= keys::next_rotation(row, every)).await?.is_some() {
        tracing::info!("the keys of tokens were rotated");
    }
    while forget(core).await? == FORGOTTEN_AT_ONCE_MAX {}
    Ok(ledger::trim(&core.store).await?)
}

/// Forgets revocations that no token could fall under any more.
async fn forget(core: &Core) -> Result<usize, Error> {
    let now = core.env.wall();
    let old: Vec<String> = core
        .store
        .read(|txn| {
            let rows = txn.scan::<RevokedRow>(None, usize::MAX)?;
            let old = rows.into_iter().filter(|row| row.forget_at < now);
            Ok::<_, StoreError>(
                old.take(FORGOTTEN_AT_ONCE_MAX).map(|row| row.audit_id.to_string()).collect(),
            )
        })
        .await?;
    if old.is_empty() {
        return Ok(0);
    }
    core.change(|change| {
        for key in &old {
            change.delete::<RevokedRow>(key)?;
        }
        Ok(old.len())
    })
    .await
}
