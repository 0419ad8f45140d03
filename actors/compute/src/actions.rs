//! What was done with a server, for its owner to read.

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record, StoreError, Txn},
};
use uuid::Uuid;

use crate::rows::{Action, ActionKind, ServerRow, VmState};

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
        ActionKind::AttachVolume => "attach_volume",
        ActionKind::DetachVolume => "detach_volume",
        ActionKind::Delete => "delete",
    }
}

/// Notes that an action begins.
pub fn begin(
    txn: &mut Txn,
    row: &ServerRow,
    action: &Action,
    user_id: &str,
    now: UnixMicros,
) -> Result<(), StoreError> {
    txn.put(&ActionRow {
        server: row.id,
        request_id: action.request_id.clone(),
        action: name(action.kind).to_owned(),
        user_id: user_id.to_owned(),
        project_id: row.project_id.clone(),
        started: now,
        finished: None,
        message: None,
        host: row.placement.as_ref().map(|placement| placement.host.clone()),
    })
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
    let all = txn.find::<ActionRow>("server", &old.id.to_string())?;
    let Some(mut row) = all.into_iter().rfind(|row| row.request_id == action.request_id) else {
        return Ok(());
    };
    row.finished = Some(now);
    row.host = old.placement.as_ref().map(|placement| placement.host.clone()).or(row.host);
    let failed = new.is_some_and(|new| new.state == VmState::Error);
    row.message = failed.then(|| "Error".to_owned());
    txn.put(&row)
}
