//! Keeps the keys that are no longer believed with the link of a node, and on its disk.
//!
//! Owns `nodes/NAME/revoked.json`. Promises that what a node once knew it refuses from its first moment after a restart
//! on, also while no control node answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    revocations::{Revocations, Revoked},
};
use updraft_transport::{NodeId, quic::Quic};

use super::{data_dir::DataDir, link::Failure};
use crate::membership::{key_of, key_text};

/// The set as a person may read it.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u64,
    /// In hexadecimal.
    keys: Vec<String>,
}

fn file(node: &NodeId) -> String {
    format!("nodes/{node}/revoked.json")
}

/// What the node knew when it last ran.
pub(super) fn kept(data: &DataDir, node: &NodeId) -> Result<Revoked, Failure> {
    let name = file(node);
    let Some(text) = data.read(&name)? else { return Ok(Revoked::default()) };
    let Kept { version, keys } =
        serde_json::from_str(&text).map_err(|error| data.damaged(&name, error))?;
    let key = |text: &String| key_of(text).ok_or_else(|| data.damaged(&name, "a key is no key"));
    Ok(Revoked { version, keys: keys.iter().map(key).collect::<Result<_, _>>()? })
}

/// Keeps it for the next start.
fn keep(data: &DataDir, node: &NodeId, revoked: &Revoked) -> Result<(), Failure> {
    let keys = revoked.keys.iter().map(key_text).collect();
    let text = serde_json::to_string_pretty(&Kept { version: revoked.version, keys })?;
    Ok(data.write(&file(node), &format!("{text}\n"))?)
}

/// Applies what a node of this machine comes to know, for ever, and keeps it on the disk `of` that node; a node that has
/// the store of the cloud needs no copy.
pub(super) fn follow(
    env: &Env,
    quic: Arc<Quic>,
    of: Option<(DataDir, NodeId)>,
    revocations: &Revocations,
) {
    let mut changes = revocations.changes();
    changes.mark_changed();
    env.spawn("revoked", async move {
        while changes.changed().await.is_ok() {
            let revoked = changes.borrow_and_update().clone();
            if revoked.version == 0 {
                continue;
            }
            if let Err(error) = quic.revoke(&revoked.keys) {
                tracing::error!(%error, "revoked keys are still believed");
            }
            if let Some((data, node)) = &of
                && let Err(error) = keep(data, node, &revoked)
            {
                tracing::warn!(%error, "whose keys are revoked is not kept for the next start");
            }
            tracing::info!(keys = revoked.keys.len(), "the keys that are revoked are known");
        }
    });
}

#[cfg(test)]
mod tests {
    use updraft_transport::key::PublicKey;

    use super::*;

    #[test]
    fn what_is_kept_is_what_was_known_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let node = NodeId::new("rack-7").unwrap();
        assert_eq!(kept(&data, &node).unwrap(), Revoked::default());
        let revoked = Revoked { version: 7, keys: [PublicKey([1; 32]), PublicKey([9; 32])].into() };
        keep(&data, &node, &revoked).unwrap();
        assert_eq!(kept(&data, &node).unwrap(), revoked);
        for damage in ["", "{}", r#"{"version": 8, "keys": ["01"]}"#] {
            data.write(&file(&node), damage).unwrap();
            let said = kept(&data, &node).unwrap_err().to_string();
            assert!(said.contains("revoked.json is damaged"), "{said}");
        }
    }
}
