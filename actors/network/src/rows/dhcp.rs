//! What a host's DHCP agent is to serve of a network, and what it has said that it serves.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use updraft_protocol::network::DhcpWant;
use updraft_runtime::{
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// A port's address that an agent answers for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lease {
    /// The port.
    pub port: Uuid,
    /// The address.
    pub address: IpAddr,
    /// Lower-case, colons.
    pub mac_address: String,
}

/// One network on one host.
///
/// It outlives its leases, so that its generation never starts anew while the agent remembers a larger one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpRow {
    /// The network.
    pub network: Uuid,
    /// The host.
    pub host: String,
    /// What is wanted, its generation included.
    pub want: DhcpWant,
    /// The ports and addresses in the want.
    pub leases: BTreeSet<Lease>,
    /// The newest generation that the agent serves.
    pub served_generation: u64,
    /// What was in that.
    pub served: BTreeSet<Lease>,
    /// The request that last changed the want.
    pub trace: TraceContext,
}

impl DhcpRow {
    /// A row that wants nothing yet.
    #[must_use]
    pub fn new(network: Uuid, host: &str) -> Self {
        let want =
            DhcpWant { network, generation: 0, mtu: 0, subnets: Vec::new(), leases: Vec::new() };
        Self {
            network,
            host: host.to_owned(),
            want,
            leases: BTreeSet::new(),
            served_generation: 0,
            served: BTreeSet::new(),
            trace: TraceContext::default(),
        }
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

impl Record for DhcpRow {
    const TABLE: &'static str = "network/dhcp";

    fn key(&self) -> String {
        Self::key_of(self.network, &self.host)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("network", &self.network)]
    }
}
