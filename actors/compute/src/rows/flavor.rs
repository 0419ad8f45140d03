//! A flavor: how large a server may be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use updraft_protocol::compute::FlavorSpec;
use updraft_runtime::store::{IndexEntry, Record};

/// A flavor. Servers copy its [`FlavorSpec`], so that a change of it changes no server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlavorRow {
    /// What a server made of it takes.
    pub spec: FlavorSpec,
    /// The operator's words on it.
    pub description: Option<String>,
    /// A share of the network, which nothing enforces; kept since clients set it.
    pub rxtx_factor: f64,
    /// Whether every project sees it.
    pub is_public: bool,
    /// The projects that see it though it is not public.
    pub access: BTreeSet<String>,
}

impl Record for FlavorRow {
    const TABLE: &'static str = "compute/flavor";
    fn key(&self) -> String {
        self.spec.id.clone()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::unique("name", &self.spec.name)]
    }
}

impl FlavorRow {
    /// Whether a project may use it.
    #[must_use]
    pub fn visible_to(&self, project_id: Option<&str>) -> bool {
        self.is_public || project_id.is_some_and(|project| self.access.contains(project))
    }
}
