//! Server groups: which servers shall share a host, and which shall not.

use serde::{Deserialize, Serialize};
use updraft_runtime::store::{IndexEntry, Record};
use uuid::Uuid;

use crate::scheduler::GroupPolicy;

/// A server group; its members are the servers that name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it asks of its members' hosts.
    pub policy: GroupPolicy,
    /// Its project.
    pub project_id: String,
    /// Who made it.
    pub user_id: String,
}

impl Record for GroupRow {
    const TABLE: &'static str = "compute/group";
    fn key(&self) -> String {
        self.id.to_string()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("project", &self.project_id)]
    }
}
