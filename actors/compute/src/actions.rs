//! What was done with a server, for its owner to read.
//!
//! Keeps the newest actions of a server, and those of one that is gone for a while.

mod forget;

pub(crate) use forget::forget_forever;

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record, StoreError, Txn},
};
use uuid::Uuid;

use crate::rows::{Action, ActionKind, ServerRow, VmState};

/// Most actions kept of a server: more than anybody reads, and few enough to be looked through with every one.
pub const KEPT_MAX: usize = 100;

/// One action on a server (nova's `os-instance-actions`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// The server.
    pub server: Uuid,
    /// The request that asked for it.
    pub request_id: String,
    /// What, as nova names it.
    pub action: String,
    /// Who asked.
    pub user_id: String,
    /// For which project.
    pub project_id: String,
    /// When it began.
    pub started: UnixMicros,
    /// When it ended.
    pub finished: Option<UnixMicros>,
    /// Why it failed, if it did.
    pub message: Option<String>,
    /// The host that carried it out.
    pub host: Option<String>,
}

impl Record for ActionRow {
    const TABLE: &'static str = "compute/action";
    fn key(&self) -> String {
        format!("{}:{:020}:{}", self.server, self.started.0, self.request_id)
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("server", &self.server.to_string())]
    }
}

/// Nova's name of an action.
#[must_use]
pub fn name(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::Stop => "stop",
        ActionKind::Start => "start",
        ActionKind::SoftReboot | ActionKind::HardReboot => "reboot",
        ActionKind::Resize => "resize",
        ActionKind::RevertResize => "revertResize",
        ActionKind::Evacuate => "evacuate",
        ActionKind::Migrate => "migrate",
        ActionKind::AttachVolume => "attach_volume",
        ActionKind::DetachVolume => "detach_volume",
        ActionKind::Delete => "delete",
    }
}

/// Notes an action. Of those that are too many the oldest go.
pub fn note(txn: &mut Txn, row: &ActionRow) -> Result<(), StoreError> {
    txn.put(row)?;
    let keys = keys(txn, row.server)?;
    for key in keys.iter().take(keys.len().saturating_sub(KEPT_MAX)) {
        txn.delete::<ActionRow>(key)?;
    }
    Ok(())
}

/// Notes that an action begins.
pub fn begin(
    txn: &mut Txn,
    row: &ServerRow,
    action: &Action,
    user_id: &str,
    now: UnixMicros,
) -> Result<(), StoreError> {
    let begun = ActionRow {
        server: row.id,
        request_id: action.request_id.clone(),
        action: name(action.kind).to_owned(),
        user_id: user_id.to_owned(),
        project_id: row.project_id.clone(),
        started: now,
        finished: None,
        message: None,
        host: row.placement.as_ref().map(|placement| placement.host.clone()),
    };
    note(txn, &begun)
}

/// Notes that the action under way has ended, when the row's change says so.
pub fn follow(
    txn: &mut Txn,
    old: &ServerRow,
    new: Option<&ServerRow>,
    now: UnixMicros,
) -> Result<(), StoreError> {
    let Some(action) = &old.action else { return Ok(()) };
    if new.is_some_and(|new| new.action.as_ref() == Some(action)) {
        return Ok(());
    }
    let Some(mut row) = of_request(txn, old.id, &action.request_id)? else { return Ok(()) };
    row.finished = Some(now);
    row.host = old.placement.as_ref().map(|placement| placement.host.clone()).or(row.host);
    let failed = new.is_some_and(|new| new.state == VmState::Error);
    let failed = failed.then(|| "Error".to_owned());
    row.message = failed.or_else(|| old.migration.as_ref()?.failure.clone());
    txn.put(&row)
}

/// The newest action on a server that this request asked for.
pub fn of_request(
    txn: &Txn,
    server: Uuid,
    request_id: &str,
) -> Result<Option<ActionRow>, StoreError> {
    let asked = format!(":{request_id}");
    match keys(txn, server)?.iter().rfind(|key| key.ends_with(&asked)) {
        Some(key) => txn.get::<ActionRow>(key),
        None => Ok(None),
    }
}

/// The keys of a server's actions, the oldest first; [`note`] keeps them few.
fn keys(txn: &Txn, server: Uuid) -> Result<Vec<String>, StoreError> {
    let entries = txn.index_entries::<ActionRow>("server", &server.to_string())?;
    Ok(entries.into_iter().map(|(_, key)| key).collect())
}

#[cfg(test)]
mod tests;
