//! Agents, as far as the directory has ever named them.

use serde::{Deserialize, Serialize};
use updraft_protocol::network::{DHCP, L2};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// It plugs ports.
    L2,
    /// It answers DHCP.
    Dhcp,
}

impl AgentKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::L2, Self::Dhcp];

    /// The topic that such an agent serves.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::L2 => L2,
            Self::Dhcp => DHCP,
        }
    }

    /// What clients call it.
    #[must_use]
    pub fn agent_type(self) -> &'static str {
        match self {
            Self::L2 => "L2 agent",
            Self::Dhcp => "DHCP agent",
        }
    }

    /// What clients call its program.
    #[must_use]
    pub fn binary(self) -> &'static str {
        match self {
            Self::L2 => "updraft-l2-agent",
            Self::Dhcp => "updraft-dhcp-agent",
        }
    }
}

/// An agent on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// The id: a function of what it does and where, so that three control nodes agree on it.
    pub id: Uuid,
    /// What it does.
    pub kind: AgentKind,
    /// Where.
    pub host: String,
    /// When it was first heard of.
    pub created_at: UnixMicros,
    /// When its node last started.
    pub started_at: UnixMicros,
    /// How often its node had started then.
    pub incarnation: u64,
    /// What an administrator says of it.
    pub admin_state_up: bool,
    /// For people.
    pub description: Option<String>,
}

impl AgentRow {
    /// The id of such an agent on this host.
    #[must_use]
    pub fn id_of(kind: AgentKind, host: &str) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{}@{host}", kind.topic()).as_bytes())
    }
}

impl Record for AgentRow {
    const TABLE: &'static str = "network/agent";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("host", &self.host)]
    }
}
