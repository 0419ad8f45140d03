//! Networks and subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::{
    notify::Notice,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::Standard;
use crate::ipam::Pool;

/// How a network's packets are told from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkType {
    /// Within each host alone.
    Local,
    /// Untagged on a physical network.
    Flat,
    /// By a tag on a physical network.
    Vlan,
    /// In a tunnel.
    Vxlan,
}

impl NetworkType {
    /// As clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Flat => "flat",
            Self::Vlan => "vlan",
            Self::Vxlan => "vxlan",
        }
    }

    /// What clients write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Local, Self::Flat, Self::Vlan, Self::Vxlan]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Where a network's packets are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// How they are told apart.
    pub network_type: NetworkType,
    /// On which physical network.
    pub physical_network: Option<String>,
    /// The tag or tunnel number.
    pub segmentation_id: Option<u32>,
}

impl Segment {
    /// What no other network may have too.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        let physical = self.physical_network.as_deref().unwrap_or_default();
        let id = self.segmentation_id.unwrap_or_default();
        match self.network_type {
            NetworkType::Local => None,
            NetworkType::Flat => Some(format!("flat/{physical}")),
            NetworkType::Vlan => Some(format!("vlan/{physical}/{id}")),
            NetworkType::Vxlan => Some(format!("vxlan/{id}")),
        }
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// The name.
    pub name: String,
    /// Whether it shall carry packets.
    pub admin_state_up: bool,
    /// Whether every project may put ports on it.
    pub shared: bool,
    /// Whether it leads out of the cloud.
    pub external: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Where its packets are.
    pub segment: Segment,
    /// What new ports have.
    pub port_security_enabled: bool,
    /// Where its agents should be, in order of preference.
    pub availability_zone_hints: Vec<String>,
    /// What every resource has.
    pub standard: Standard,
}

impl Record for NetworkRow {
    const TABLE: &'static str = "network/network";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        super::notices::of_network(old, new)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes = vec![IndexEntry::many("project", &self.project_id)];
        if self.shared || self.external {
            indexes.push(IndexEntry::many("public", "yes"));
        }
        indexes.extend(self.segment.claim().map(|claim| IndexEntry::unique("segment", &claim)));
        indexes
    }
}

/// How guests of an IPv6 subnet get their addresses, or routers tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressMode {
    /// All from DHCPv6.
    Dhcpv6Stateful,
    /// The address by themselves, the rest from DHCPv6.
    Dhcpv6Stateless,
    /// By themselves.
    Slaac,
}

impl AddressMode {
    /// As clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dhcpv6Stateful => "dhcpv6-stateful",
            Self::Dhcpv6Stateless => "dhcpv6-stateless",
            Self::Slaac => "slaac",
        }
    }

    /// What clients write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Dhcpv6Stateful, Self::Dhcpv6Stateless, Self::Slaac]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: String,
    /// The name.
    pub name: String,
    /// Its network.
    pub network: Uuid,
    /// Its addresses.
    pub cidr: IpNet,
    /// Its router.
    pub gateway: Option<IpAddr>,
    /// Where addresses are chosen from.
    pub pools: Vec<Pool>,
    /// Whether agents answer DHCP.
    pub enable_dhcp: bool,
    /// Name servers for guests.
    pub dns_servers: Vec<IpAddr>,
    /// Further routes for guests: destination and next hop.
    pub host_routes: Vec<(IpNet, IpAddr)>,
    /// What routers tell guests.
    pub ipv6_ra_mode: Option<AddressMode>,
    /// How guests get their addresses.
    pub ipv6_address_mode: Option<AddressMode>,
    /// What every resource has.
    pub standard: Standard,
}

impl SubnetRow {
    /// 4 or 6.
    #[must_use]
    pub fn ip_version(&self) -> u8 {
        match self.cidr {
            IpNet::V4(_) => 4,
            IpNet::V6(_) => 6,
        }
    }

    /// Whether guests make their addresses themselves, from their MAC addresses.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        let automatic =
            |mode| matches!(mode, Some(AddressMode::Slaac | AddressMode::Dhcpv6Stateless));
        automatic(self.ipv6_address_mode) || automatic(self.ipv6_ra_mode)
    }

    /// Whether DHCP agents hand out its addresses: all of IPv4, of IPv6 those that say so.
    #[must_use]
    pub fn is_served(&self) -> bool {
        let stateful = self.ipv6_address_mode == Some(AddressMode::Dhcpv6Stateful);
        self.enable_dhcp && (self.ip_version() == 4 || stateful)
    }
}

impl Record for SubnetRow {
    const TABLE: &'static str = "network/subnet";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::many("project", &self.project_id),
            IndexEntry::many("network", &self.network),
        ]
    }
}
