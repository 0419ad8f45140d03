//! What a host's L2 agent is to let pass for a security group, and what it has said that it does.

use serde::{Deserialize, Serialize};
use updraft_protocol::network::FilterWant;
use updraft_runtime::{
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// One security group on one host.
///
/// It outlives the ports that need it, so that its generation never starts anew while the agent remembers a
/// larger one; it goes with the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRow {
    /// The group.
    pub group: Uuid,
    /// The host.
    pub host: String,
    /// What is wanted, its generation included.
    pub want: FilterWant,
    /// The newest generation that the agent serves.
    pub served_generation: u64,
    /// Whether that lets anything of the group pass.
    pub in_force: bool,
    /// The request that made a port of the host need it.
    pub trace: TraceContext,
}

impl FilterRow {
    /// The index of rows by their group.
    pub const BY_GROUP: &'static str = "group";
    /// The index of rows by the groups that their rules name as peers.
    pub const BY_PEER: &'static str = "peer";
    /// The index of rows in force by their key. It says so without the row, which changes with every member.
    pub const IN_FORCE: &'static str = "in-force";

    /// A row that wants nothing yet.
    #[must_use]
    pub fn new(group: Uuid, host: &str, trace: TraceContext) -> Self {
        let want = FilterWant::absent(group, 0);
        Self { group, host: host.to_owned(), want, served_generation: 0, in_force: false, trace }
    }

    /// The key of the row for this group and host.
    #[must_use]
    pub fn key_of(group: Uuid, host: &str) -> String {
        format!("{group}/{host}")
    }

    /// Whether the agent serves what is wanted.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served_generation == self.want.generation
    }
}

impl Record for FilterRow {
    const TABLE: &'static str = "network/filter";

    fn key(&self) -> String {
        Self::key_of(self.group, &self.host)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let peers = self.want.peers.keys().map(|peer| IndexEntry::many(Self::BY_PEER, peer));
        let in_force = self.in_force.then(|| IndexEntry::many(Self::IN_FORCE, &self.key()));
        peers.chain([IndexEntry::many(Self::BY_GROUP, &self.group)]).chain(in_force).collect()
    }
}
