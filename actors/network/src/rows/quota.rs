//! How many of each kind a project may have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_runtime::store::Record;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Networks.
    Network,
    /// Subnets.
    Subnet,
    /// Ports.
    Port,
    /// Security groups.
    SecurityGroup,
    /// Rules of security groups.
    SecurityGroupRule,
    /// Routers.
    Router,
    /// Floating IPs.
    #[serde(rename = "floatingip")]
    FloatingIp,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Subnet,
        Self::Port,
        Self::SecurityGroup,
        Self::SecurityGroupRule,
        Self::Router,
        Self::FloatingIp,
    ];

    /// As clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::Port => "port",
            Self::SecurityGroup => "security_group",
            Self::SecurityGroupRule => "security_group_rule",
            Self::Router => "router",
            Self::FloatingIp => "floatingip",
        }
    }

    /// What clients write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.as_str() == text)
    }

    /// The default: neutron's.
    #[must_use]
    pub fn default_limit(self) -> i64 {
        match self {
            Self::Network | Self::Subnet | Self::SecurityGroupRule => 100,
            Self::Port => 500,
            Self::SecurityGroup | Self::Router => 10,
            Self::FloatingIp => 50,
        }
    }
}

/// Where a project's limits differ from the defaults. A negative one is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRow {
    /// The project.
    pub project_id: String,
    /// Its limits.
    pub limits: BTreeMap<Resource, i64>,
}

impl Record for QuotaRow {
    const TABLE: &'static str = "network/quota";

    fn key(&self) -> String {
        self.project_id.clone()
    }
}
