//! What a project uses, and what it may.

use serde::{Deserialize, Serialize};
use updraft_runtime::store::Record;

/// What the servers of a project take; written with every server made or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The project.
    pub project_id: String,
    /// Servers.
    pub instances: u64,
    /// Their virtual processors.
    pub cores: u64,
    /// Their memory in MiB.
    pub ram_mib: u64,
}

impl Record for UsageRow {
    const TABLE: &'static str = "compute/usage";
    fn key(&self) -> String {
        self.project_id.clone()
    }
}

/// What a project may use; `-1` is without limit. Nova's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRow {
    /// The project.
    pub project_id: String,
    /// Servers.
    pub instances: i64,
    /// Virtual processors.
    pub cores: i64,
    /// Memory in MiB.
    pub ram_mib: i64,
    /// Keys and values of one server.
    pub metadata_items: i64,
    /// Key pairs of one user.
    pub key_pairs: i64,
    /// Server groups.
    pub server_groups: i64,
    /// Servers in one group.
    pub server_group_members: i64,
}

impl QuotaRow {
    /// What a project may use when nobody said otherwise.
    #[must_use]
    pub fn default_of(project_id: &str) -> Self {
        Self {
            project_id: project_id.to_owned(),
            instances: 10,
            cores: 20,
            ram_mib: 51_200,
            metadata_items: 128,
            key_pairs: 100,
            server_groups: 10,
            server_group_members: 10,
        }
    }
}

impl Record for QuotaRow {
    const TABLE: &'static str = "compute/quota";
    fn key(&self) -> String {
        self.project_id.clone()
    }
}
