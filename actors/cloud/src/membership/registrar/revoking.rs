//! Takes nodes out of the cloud, and says whose keys are revoked.

use std::time::Duration;

use updraft_runtime::{
    env::UnixMicros,
    revocations::{KEYS_MAX, Revocations, Revoked},
    store::{StoreError, Txn},
};
use updraft_transport::NodeId;

use super::{NODE_LASTS, Office, Refusal, Registrar, TokenRow};
use crate::membership::rows::{NodeRow, Removal, key_of};

/// How long nodes are told of a revoked key: until its last certificate has ended by the clock of any node, and these
/// may differ by a day.
const TOLD_FOR: Duration = Duration::from_secs(NODE_LASTS.as_secs() + 24 * 3_600);

/// The pause before a store that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

impl Registrar {
    /// Takes a node out of the cloud, for the user of this id: its key is revoked for good, and unused tokens for its
    /// name, or given out by it, are good no more. Another key may join under the name, with another token.
    pub async fn remove(&self, node: &NodeId, by: &str) -> Result<Removal, Refusal> {
        let office = &self.office;
        let now = office.env.wall();
        office
            .store
            .transact(|txn| {
                let rows = txn.scan::<NodeRow>(None, usize::MAX)?;
                let mut row = office.removable(&rows, node)?.clone();
                let before = revoked(&rows, now);
                if before.keys.len() >= KEYS_MAX {
                    return Err(Refusal::TooManyRevoked);
                }
                let at = now.max(UnixMicros(before.version + 1));
                let removal = Removal { key: row.key.clone(), at, by: by.to_owned() };
                row.removals.push(removal.clone());
                txn.put(&row)?;
                forget_tokens(txn, node)?;
                Ok(removal)
            })
            .await
    }

    /// Whether a node is one that can be removed, and why not.
    pub(crate) async fn may_remove(&self, node: &NodeId) -> Result<(), Refusal> {
        let rows = self.nodes().await?;
        self.office.removable(&rows, node).map(|_| ())
    }

    /// The revoked keys that nodes have to know of, as the store has them.
    pub async fn revoked(&self) -> Result<Revoked, StoreError> {
        let rows = self.nodes().await?;
        Ok(revoked(&rows, self.office.env.wall()))
    }

    /// Puts what the store says of revoked keys where nodes are told of it, now and whenever it changes.
    pub(crate) fn publish(&self, revocations: Revocations) {
        let registrar = self.clone();
        self.office.env.spawn("membership.revoked", async move {
            let env = &registrar.office.env;
            // Before the first look, so that no change is missed.
            let mut watch = registrar.office.store.watch("membership/node/");
            loop {
                match registrar.revoked().await {
                    Ok(revoked) => {
                        revocations.take(revoked);
                        watch.changed().await;
                    }
                    Err(StoreError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "whose keys are revoked is not known");
                        env.sleep(AGAIN).await;
                    }
                }
            }
        });
    }
}

impl Office {
    /// The row of a node that can be removed.
    fn removable<'a>(&self, rows: &'a [NodeRow], node: &NodeId) -> Result<&'a NodeRow, Refusal> {
        if self.own.contains(node) {
            return Err(Refusal::Own(node.clone()));
        }
        let row = rows.iter().find(|row| row.node == *node);
        let row = row.ok_or_else(|| Refusal::UnknownNode(node.clone()))?;
        match row.removals.last().filter(|_| !row.is_member()) {
            None => Ok(row),
            Some(removal) => Err(Refusal::Removed { node: node.clone(), removal: removal.clone() }),
        }
    }
}

/// The keys that these rows revoke, without those whose certificates have ended. The version counts these too: the time
/// of the last removal. So it grows even over a store that was restored from a copy, unlike a number that is counted.
fn revoked(rows: &[NodeRow], now: UnixMicros) -> Revoked {
    let removals = || rows.iter().flat_map(|row| &row.removals);
    let told = removals().filter(|removal| now.since(removal.at) < TOLD_FOR);
    Revoked {
        version: removals().map(|removal| removal.at.0).max().unwrap_or_default(),
        keys: told.filter_map(|removal| key_of(&removal.key)).collect(),
    }
}

/// Tokens for the name were meant for the node that is gone. Those that it gave out are shown to it by machines that know
/// of no removal.
fn forget_tokens(txn: &mut Txn, node: &NodeId) -> Result<(), StoreError> {
    for token in txn.scan::<TokenRow>(None, usize::MAX)? {
        let of_node = [&token.node, &token.issuer].into_iter().flatten().any(|known| known == node);
        if token.used.is_none() && of_node {
            txn.delete::<TokenRow>(&token.digest)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
