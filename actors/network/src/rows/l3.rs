//! Floating IPs, and what a router has of its own.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::store::{IndexEntry, Record};
use uuid::Uuid;

use super::Standard;

/// A router's way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The external network.
    pub network: Uuid,
    /// The router's port there.
    pub port: Uuid,
    /// Whether it hides what is behind it.
    pub enable_snat: bool,
}

/// A route that a user added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Where packets go.
    pub destination: IpNet,
    /// Over which neighbour.
    pub nexthop: IpAddr,
}

/// An address of an external network that leads to a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIpRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// The external network.
    pub network: Uuid,
    /// The port on it that holds the address.
    pub floating_port: Uuid,
    /// The address.
    pub address: IpAddr,
    /// The port that it leads to.
    pub port: Option<Uuid>,
    /// The address of that port that it leads to.
    pub fixed: Option<IpAddr>,
    /// The router in between.
    pub router: Option<Uuid>,
    /// What every resource has.
    pub standard: Standard,
}

impl Record for FloatingIpRow {
    const TABLE: &'static str = "network/floatingip";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes = vec![
            IndexEntry::many("project", &self.project_id),
            IndexEntry::many("network", &self.network),
        ];
        indexes.extend(self.port.iter().map(|port| IndexEntry::many("port", port)));
        indexes.extend(self.router.iter().map(|router| IndexEntry::many("router", router)));
        indexes
    }
}
