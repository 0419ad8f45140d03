//! Security groups and their rules.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::store::{IndexEntry, Record};
use uuid::Uuid;

pub use updraft_protocol::network::{Direction, EtherType};

use super::Standard;

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// The name.
    pub name: String,
    /// Whether replies pass by themselves.
    pub stateful: bool,
    /// Whether it is the one that ports of the project have unless told otherwise.
    pub is_default: bool,
    /// What every resource has.
    pub standard: Standard,
}

impl Record for GroupRow {
    const TABLE: &'static str = "network/security-group";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes = vec![IndexEntry::many("project", &self.project_id)];
        if self.is_default {
            indexes.push(IndexEntry::unique("default", &self.project_id));
        }
        indexes
    }
}

/// A rule: what it describes may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// Its group.
    pub group: Uuid,
    /// Which way.
    pub direction: Direction,
    /// Which internet protocol.
    pub ethertype: EtherType,
    /// A name or a number; `None` is any.
    pub protocol: Option<String>,
    /// First port, or the ICMP type.
    pub port_range_min: Option<u16>,
    /// Last port, or the ICMP code.
    pub port_range_max: Option<u16>,
    /// The peers' addresses, as the client wrote them.
    pub remote_ip_prefix: Option<IpNet>,
    /// The peers' group.
    pub remote_group: Option<Uuid>,
    /// What every resource has.
    pub standard: Standard,
}

impl RuleRow {
    /// The index of rules by their group.
    pub const BY_GROUP: &'static str = "group";
}

impl Record for RuleRow {
    const TABLE: &'static str = "network/security-group-rule";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes = vec![
            IndexEntry::many("project", &self.project_id),
            IndexEntry::many(Self::BY_GROUP, &self.group),
        ];
        indexes.extend(self.remote_group.iter().map(|group| IndexEntry::many("remote", group)));
        indexes
    }
}
