//! What a host's L2 agent is to make of a network's tunnel, what it has said that it has made, and where hosts
//! are reached.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use updraft_protocol::network::OverlayWant;
use updraft_runtime::{
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// One network's tunnel on one host.
///
/// It outlives the ports that need it, so that its generation never starts anew while the agent remembers a
/// larger one; it goes with the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayRow {
    /// The network.
    pub network: Uuid,
    /// The host.
    pub host: String,
    /// What is wanted, its generation included.
    pub want: OverlayWant,
    /// The newest generation that the agent serves.
    pub served_generation: u64,
    /// Whether the host has the tunnel, as far as it has said and nobody has asked it to take it down since.
    pub in_force: bool,
    /// The request that made a port of the host need it.
    pub trace: TraceContext,
}

impl OverlayRow {
    /// The index of rows by their network.
    pub const BY_NETWORK: &'static str = "network";
    /// The index of rows in force by their key. It says so without the row, which changes with every port.
    pub const IN_FORCE: &'static str = "in-force";

    /// A row that wants nothing yet.
    #[must_use]
    pub fn new(network: Uuid, host: &str, trace: TraceContext) -> Self {
        let want = OverlayWant::absent(network, 0);
        Self { network, host: host.to_owned(), want, served_generation: 0, in_force: false, trace }
    }

    /// The key of the row for this network and host.
    #[must_use]
    pub fn key_of(network: Uuid, host: &str) -> String {
        format!("{network}/{host}")
    }

    /// Whether the agent serves what is wanted.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served_generation == self.want.generation
    }
}

impl Record for OverlayRow {
    const TABLE: &'static str = "network/overlay";

    fn key(&self) -> String {
        Self::key_of(self.network, &self.host)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let in_force = self.in_force.then(|| IndexEntry::many(Self::IN_FORCE, &self.key()));
        let by_network = IndexEntry::many(Self::BY_NETWORK, &self.network);
        [by_network].into_iter().chain(in_force).collect()
    }
}

/// Where the tunnels of a host are reached and what it reaches itself, by the word of its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRow {
    /// The host.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// How often its node had started when it said so.
    pub incarnation: u64,
    /// The physical networks that it has a way to.
    #[serde(default)]
    pub physical_networks: BTreeSet<String>,
}

impl Record for TunnelRow {
    const TABLE: &'static str = "network/tunnel";

    fn key(&self) -> String {
        self.host.clone()
    }
}
