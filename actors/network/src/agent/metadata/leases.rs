//! Who has which address on which network, as the agent was told last.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::RwLock;
use updraft_protocol::network::{DhcpLease, DhcpWant};
use uuid::Uuid;

/// A guest that has asked, and its interfaces on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    /// The server.
    pub(super) server: Uuid,
    /// The address it asked from.
    pub(super) address: IpAddr,
    /// All its interfaces, that on the network it asked on first.
    pub(super) nics: Vec<Nic>,
}

/// One interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nic {
    /// Its network.
    pub(super) network: Uuid,
    /// Lower-case, colons.
    pub(super) mac_address: String,
    /// Largest packet.
    pub(super) mtu: u32,
    /// Name servers.
    pub(super) dns_servers: Vec<IpAddr>,
}

/// The leases of all networks; clones are the same ones.
#[derive(Clone, Default)]
pub(in crate::agent) struct Leases {
    wants: Arc<RwLock<BTreeMap<Uuid, Arc<DhcpWant>>>>,
}

impl Leases {
    /// Takes in a network's leases, unless newer ones are known.
    pub(in crate::agent) fn learn(&self, want: &DhcpWant) {
        let mut wants = self.wants.write();
        let known = wants.get(&want.network).map(|known| known.generation);
        if known.is_none_or(|known| known <= want.generation) {
            wants.insert(want.network, Arc::new(want.clone()));
        }
    }

    /// Every want, in the order of the networks' ids.
    pub(in crate::agent) fn wants(&self) -> Vec<Arc<DhcpWant>> {
        self.wants.read().values().cloned().collect()
    }

    /// Drops the networks that `drop` names.
    pub(in crate::agent) fn forget(&self, drop: impl Fn(&DhcpWant) -> bool) {
        self.wants.write().retain(|_, want| !drop(want));
    }

    /// Whose address this is.
    pub(super) fn guest(&self, network: Uuid, address: IpAddr) -> Option<Guest> {
        let wants = self.wants.read();
        let asked = wants.get(&network)?;
        let server = asked.leases.iter().find(|lease| lease.address == address)?.server;
        let others = wants.values().filter(|want| want.network != network);
        let mut nics = Vec::new();
        for want in std::iter::once(asked).chain(others) {
            for lease in want.leases.iter().filter(|lease| lease.server == server) {
                add_nic(&mut nics, want, lease);
            }
        }
        Some(Guest { server, address, nics })
    }
}

/// Several addresses of one interface are several leases.
fn add_nic(nics: &mut Vec<Nic>, want: &DhcpWant, lease: &DhcpLease) {
    if nics.iter().any(|nic: &Nic| nic.mac_address == lease.mac_address) {
        return;
    }
    let subnet = want.subnets.iter().find(|subnet| subnet.cidr.contains(&lease.address));
    nics.push(Nic {
        network: want.network,
        mac_address: lease.mac_address.clone(),
        mtu: want.mtu,
        dns_servers: subnet.map(|subnet| subnet.dns_servers.clone()).unwrap_or_default(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn lease(server: u128, mac: &str, address: &str) -> DhcpLease {
        DhcpLease {
            server: Uuid::from_u128(server),
            mac_address: mac.to_owned(),
            address: address.parse().unwrap(),
            hostname: String::new(),
        }
    }

    fn want(network: Uuid, generation: u64, leases: Vec<DhcpLease>) -> DhcpWant {
        DhcpWant { network, generation, mtu: 1450, subnets: Vec::new(), leases }
    }

    fn server(leases: &Leases, network: Uuid, address: &str) -> Option<u128> {
        leases.guest(network, address.parse().unwrap()).map(|guest| guest.server.as_u128())
    }

    #[test]
    fn the_same_address_on_two_networks_is_two_servers() {
        let leases = Leases::default();
        leases.learn(&want(NETWORK, 1, vec![lease(11, "a", "10.0.0.5")]));
        leases.learn(&want(OTHER, 1, vec![lease(22, "b", "10.0.0.5")]));
        assert_eq!(server(&leases, NETWORK, "10.0.0.5"), Some(11));
        assert_eq!(server(&leases, OTHER, "10.0.0.5"), Some(22));
        assert_eq!(server(&leases, NETWORK, "10.0.0.6"), None);
    }

    #[test]
    fn an_address_belongs_to_whom_the_newest_want_says() {
        let leases = Leases::default();
        leases.learn(&want(NETWORK, 2, vec![lease(22, "b", "10.0.0.5")]));
        leases.learn(&want(NETWORK, 1, vec![lease(11, "a", "10.0.0.5")]));
        assert_eq!(server(&leases, NETWORK, "10.0.0.5"), Some(22));
    }

    #[test]
    fn a_guest_has_its_own_interfaces_and_no_others() {
        let leases = Leases::default();
        let mine = lease(11, "a", "10.0.0.5");
        let second = lease(11, "a", "10.0.0.6");
        leases.learn(&want(OTHER, 1, vec![mine, second, lease(22, "b", "10.0.0.7")]));
        leases.learn(&want(NETWORK, 1, vec![lease(11, "c", "10.1.0.5")]));
        let guest = leases.guest(OTHER, "10.0.0.6".parse().unwrap()).unwrap();
        let macs: Vec<&str> = guest.nics.iter().map(|nic| nic.mac_address.as_str()).collect();
        assert_eq!(macs, ["a", "c"]);
    }
}
