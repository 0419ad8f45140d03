//! What an operator may set.

use std::collections::BTreeMap;

use crate::rows::{NetworkType, Resource};

/// The settings of the network service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How networks are told apart for which the user says nothing.
    pub network_type: NetworkType,
    /// The tunnel numbers that may be chosen, both ends included.
    pub vxlan_ids: (u32, u32),
    /// The tags that may be chosen, both ends included.
    pub vlan_ids: (u32, u32),
    /// The physical network that tags are chosen on; `None` chooses none.
    pub vlan_physical_network: Option<String>,
    /// Largest packet of the physical networks, in bytes.
    pub physical_mtu: u32,
    /// Limits for projects that have none of their own; those not named are neutron's.
    pub quotas: BTreeMap<Resource, i64>,
    /// The availability zone of all agents.
    pub availability_zone: String,
    /// Most name servers of a subnet: as many as neutron allows, and more than a resolver asks.
    pub name_servers_max: usize,
    /// Most further routes of a subnet, as in neutron: they have to fit one DHCP option.
    pub host_routes_max: usize,
    /// Most further routes of a router, as in neutron.
    pub router_routes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network_type: NetworkType::Vxlan,
            vxlan_ids: (1, 16_777_215),
            vlan_ids: (1, 4_094),
            vlan_physical_network: None,
            physical_mtu: 1_500,
            quotas: BTreeMap::new(),
            availability_zone: "nova".to_owned(),
            name_servers_max: 5,
            host_routes_max: 20,
            router_routes_max: 30,
        }
    }
}

impl Config {
    /// How many of this a project may have unless it has a limit of its own.
    #[must_use]
    pub fn default_limit(&self, resource: Resource) -> i64 {
        self.quotas.get(&resource).copied().unwrap_or_else(|| resource.default_limit())
    }

    /// Largest packet of a network of this type, in bytes.
    #[must_use]
    pub fn mtu(&self, network_type: NetworkType) -> u32 {
        /// What a packet in a tunnel is larger than itself, in bytes.
        const VXLAN_OVERHEAD: u32 = 50;
        match network_type {
            NetworkType::Vxlan => self.physical_mtu.saturating_sub(VXLAN_OVERHEAD),
            NetworkType::Local | NetworkType::Flat | NetworkType::Vlan => self.physical_mtu,
        }
    }
}
