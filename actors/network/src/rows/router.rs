//! Routers, which host has each, and what is wanted of it there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use updraft_protocol::{
    compute::Goal,
    network::{RouterWant, Routing},
};
use updraft_runtime::{
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::{Gateway, Route, Standard};

/// What is wanted of a router on one host, and what the host has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// What is wanted, its generation included.
    pub want: RouterWant,
    /// The newest generation that the host serves.
    pub served_generation: u64,
    /// What it does by its own word.
    pub served: Option<Routing>,
    /// The ports of which the host may have something: their addresses are nobody else's until it has let go.
    pub holds: BTreeSet<Uuid>,
    /// Why the host does not do as it is told, if it has said so.
    pub fault: Option<String>,
    /// An operator has said that the host is gone: what it may still have is waited for no longer, and cleared away if it
    /// comes back.
    pub gone: bool,
}

impl Placement {
    /// A host that knows nothing yet.
    #[must_use]
    pub fn new(want: RouterWant) -> Self {
        Self {
            want,
            served_generation: 0,
            served: None,
            holds: BTreeSet::new(),
            fault: None,
            gone: false,
        }
    }

    /// Whether the host serves what is wanted.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served_generation == self.want.generation
    }

    /// Whether the host has nothing of the router, or is waited for no longer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.want.routing.is_none() && (self.is_served() || self.gone)
    }
}

/// A router. Its interfaces are the ports that name it as their device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// The name.
    pub name: String,
    /// Whether it shall route.
    pub admin_state_up: bool,
    /// Its way out.
    pub gateway: Option<Gateway>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// Where it should be, in order of preference.
    pub availability_zone_hints: Vec<String>,
    /// What every resource has.
    pub standard: Standard,

    /// Whether it shall be. One that shall not be is no client's to see, and goes when all hosts have let go.
    #[serde(default = "present")]
    pub goal: Goal,
    /// The host that shall have it.
    #[serde(default)]
    pub host: Option<String>,
    /// The newest generation of all its wants.
    #[serde(default)]
    pub generation: u64,
    /// By host.
    #[serde(default)]
    pub placements: BTreeMap<String, Placement>,
    /// The request that last changed what is wanted.
    #[serde(default)]
    pub trace: TraceContext,
}

fn present() -> Goal {
    Goal::Present
}

impl RouterRow {
    /// The index of routers by the hosts that have or may have them.
    pub const BY_HOST: &'static str = "host";
    /// The index of routers by the ports of which a host may have something.
    pub const BY_HELD: &'static str = "held";

    /// Whether it shall be.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.goal == Goal::Present
    }

    /// What is wanted on the host that shall have it.
    #[must_use]
    pub fn current(&self) -> Option<&Placement> {
        self.placements.get(self.host.as_ref()?)
    }

    /// What the host that shall have it does by its own word.
    #[must_use]
    pub fn served(&self) -> Option<&Routing> {
        self.current()?.served.as_ref()
    }

    /// Whether another host may still have it.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let waited_for = |(host, placement): (&String, &Placement)| {
            self.host.as_ref() != Some(host) && !placement.gone
        };
        self.placements.iter().any(waited_for)
    }

    /// What may be said to a host: that it have the router only once no other has it.
    #[must_use]
    pub fn told_of(&self, host: &str) -> Option<&RouterWant> {
        let want = &self.placements.get(host)?.want;
        (want.routing.is_none() || !self.is_elsewhere()).then_some(want)
    }
}

impl Record for RouterRow {
    const TABLE: &'static str = "network/router";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let hosts = self.placements.keys().map(|host| IndexEntry::many(Self::BY_HOST, host));
        let held: BTreeSet<&Uuid> = self.placements.values().flat_map(|it| &it.holds).collect();
        let held = held.into_iter().map(|port| IndexEntry::many(Self::BY_HELD, port));
        let mut indexes: Vec<IndexEntry> = hosts.chain(held).collect();
        if self.is_present() {
            indexes.push(IndexEntry::many("project", &self.project_id));
            indexes
                .extend(self.gateway.iter().map(|way| IndexEntry::many("external", &way.network)));
        }
        indexes
    }
}
