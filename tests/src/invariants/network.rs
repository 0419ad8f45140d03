//! Ports, addresses, taps and leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use updraft_network::driver::sim::{Frame, carries};
use updraft_protocol::network::Tunnel;
use uuid::Uuid;

use crate::census::{Census, Fixed, Port, Server};

/// What occurs more than once, with who has it.
fn shared<K: Ord + Clone>(pairs: impl IntoIterator<Item = (K, Uuid)>) -> BTreeMap<K, Vec<Uuid>> {
    let mut by_key: BTreeMap<K, Vec<Uuid>> = BTreeMap::new();
    for (key, owner) in pairs {
        by_key.entry(key).or_default().push(owner);
    }
    by_key.retain(|_, owners| owners.len() > 1);
    by_key
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

pub(super) fn one_address(census: &Census) -> Vec<String> {
    let of_port = |(id, port): (&Uuid, &Port)| {
        port.fixed_ips.iter().map(|fixed| (fixed.clone(), *id)).collect::<Vec<_>>()
    };
    let given = shared(census.ports.iter().flat_map(of_port));
    let doubly = given.into_iter().map(|(Fixed { subnet, address }, ports)| {
        format!("{address} of subnet {subnet} is given to ports {}", list(&ports))
    });
    doubly.chain(doubly_leased(census)).collect()
}

/// The same address for two MAC addresses, on one host or on two.
fn doubly_leased(census: &Census) -> Vec<String> {
    let mut macs: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for (network, mac, address) in census.machines.values().flat_map(|found| &found.leases) {
        macs.entry((network, address)).or_default().insert(mac);
    }
    macs.retain(|_, macs| macs.len() > 1);
    let words = |((network, address), macs): ((&Uuid, _), BTreeSet<&str>)| {
        let macs: Vec<&str> = macs.into_iter().collect();
        format!("{address} of network {network} is leased to {}", list(&macs))
    };
    macs.into_iter().map(words).collect()
}

pub(super) fn one_mac(census: &Census) -> Vec<String> {
    let ports = census.ports.iter();
    let macs = ports.map(|(id, port)| ((port.network, port.mac_address.clone()), *id));
    let words = |((network, mac), ports): ((Uuid, String), Vec<Uuid>)| {
        format!("{mac} of network {network} is given to ports {}", list(&ports))
    };
    shared(macs).into_iter().map(words).collect()
}

pub(super) fn one_port(census: &Census) -> Vec<String> {
    let nics = wanted(census)
        .filter_map(|(id, port)| port.nic.as_ref().map(|nic| ((nic.server, nic.index), *id)));
    let words = |((server, index), ports): ((Uuid, u64), Vec<Uuid>)| {
        format!("interface {index} of server {server} has ports {}", list(&ports))
    };
    shared(nics).into_iter().map(words).collect()
}

fn wanted(census: &Census) -> impl Iterator<Item = (&Uuid, &Port)> {
    census.ports.iter().filter(|(_, port)| port.goal == "Present")
}

pub(super) fn ports(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, port) in &census.ports {
        if port.goal != "Present" {
            broken.push(format!("port {id} is to be deleted and still there"));
        }
        let server = port.nic.as_ref().map(|nic| nic.server);
        if let Some(server) = server.filter(|server| !census.servers.contains_key(server)) {
            broken.push(format!("port {id} leaked: it belongs to server {server}, which is gone"));
        }
        if !census.networks.contains_key(&port.network) {
            broken.push(format!("port {id} is on network {}, which is gone", port.network));
        }
    }
    for (id, server) in census.servers.iter().filter(|(_, server)| server.is_built()) {
        broken.extend(lacking(census, *id, server));
    }
    broken
}

/// What ports a server that is there has, against what it asked for.
fn lacking(census: &Census, id: Uuid, server: &Server) -> Vec<String> {
    let of_server = |port: &Port| port.nic.as_ref().is_some_and(|nic| nic.server == id);
    let own: Vec<_> = wanted(census).filter(|(_, port)| of_server(port)).collect();
    let mut broken = Vec::new();
    if own.len() != server.nics.len() {
        let asked = server.nics.len();
        broken.push(format!("server {id} asked for {asked} interfaces and has {}", own.len()));
    }
    for (port, row) in own {
        if row.host.as_deref() != server.host() || row.status != "ACTIVE" {
            let host = row.host.as_deref().unwrap_or("no host");
            broken.push(format!("port {port} of server {id} is {} on {host}", row.status));
        }
    }
    broken
}

pub(super) fn allocations(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for given in &census.allocations {
        let fixed = Fixed { subnet: given.subnet, address: given.address };
        let port = census.ports.get(&given.port);
        if !port.is_some_and(|port| port.fixed_ips.contains(&fixed)) {
            broken.push(format!("{} leaked: port {} does not have it", given.address, given.port));
        }
    }
    for (id, port) in &census.ports {
        for Fixed { subnet, address } in &port.fixed_ips {
            let given = census.allocations.iter().any(|given| {
                given.port == *id && given.subnet == *subnet && given.address == *address
            });
            if !given {
                broken.push(format!("port {id} has {address}, which nobody gave it"));
            }
        }
    }
    broken
}

pub(super) fn taps(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        for port in &machine.taps {
            let bound = census.ports.get(port).is_some_and(|port| port.host.as_ref() == Some(host));
            if !bound {
                broken.push(format!("host {host} has a tap of port {port}, which is not there"));
            }
        }
    }
    for (id, port) in wanted(census) {
        let Some(server) = port.nic.as_ref().and_then(|nic| census.servers.get(&nic.server)) else {
            continue;
        };
        let machine = port.host.as_ref().and_then(|host| census.machines.get(host));
        let plugged = machine.is_some_and(|machine| machine.taps.contains(id));
        if server.is_built() && !plugged {
            broken.push(format!("port {id} has no tap on {:?}", port.host));
        }
        let guest = port.nic.as_ref().and_then(|nic| machine?.guests.get(&nic.server));
        if guest.is_some_and(|guest| !guest.macs.contains(&port.mac_address)) {
            broken.push(format!("port {id} is not plugged into its guest"));
        }
    }
    broken
}

pub(super) fn leases(census: &Census) -> Vec<String> {
    let known = |network: &Uuid, mac: &str, address| {
        let has = |port: &Port| {
            port.network == *network
                && port.mac_address == mac
                && port.fixed_ips.iter().any(|fixed| fixed.address == address)
        };
        census.ports.values().any(has)
    };
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        for (network, mac, address) in &machine.leases {
            if !known(network, mac, *address) {
                broken.push(format!("host {host} leases {address} to {mac}, which no port has"));
            }
        }
    }
    broken
}

/// A guest asks for its address as soon as its port is up. A host that lost its DHCP servers owes leases at rest only.
pub(super) fn leased(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, port) in wanted(census).filter(|(_, port)| port.status == "ACTIVE") {
        let (Some(host), Some(_)) = (&port.host, &port.nic) else { continue };
        let machine = census.machines.get(host).filter(|machine| !machine.has_lost_state);
        let Some(machine) = machine else { continue };
        for Fixed { address, .. } in &port.fixed_ips {
            let lease = (port.network, port.mac_address.clone(), *address);
            if !machine.leases.contains(&lease) {
                broken.push(format!("port {id} is up on {host}, which does not lease {address}"));
            }
        }
    }
    broken
}

pub(super) fn filters(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        let ports = machine.taps.iter().filter_map(|port| census.ports.get(port));
        let needed: BTreeSet<Uuid> = ports.flat_map(|port| port.security_groups.clone()).collect();
        let leaked = machine.filters.difference(&needed);
        broken.extend(leaked.map(|group| format!("host {host} has leaked rules of group {group}")));
        let lacking = needed.difference(&machine.filters);
        broken.extend(lacking.map(|group| format!("host {host} lacks the rules of group {group}")));
    }
    broken
}

/// Ports that are up and whose network spans hosts, each with its host and the network's tunnel there.
fn spanning(census: &Census) -> Vec<(Uuid, &Port, &str, Option<&Tunnel>)> {
    let spans = |port: &Port| {
        let network = census.networks.get(&port.network);
        network.is_some_and(|network| network.segment.network_type == "vxlan")
    };
    let up = wanted(census).filter(|(_, port)| port.status == "ACTIVE" && spans(port));
    let placed = up.filter(|(_, port)| port.nic.is_some()).filter_map(|(id, port)| {
        let host = port.host.as_deref()?;
        let tunnel = census.machines.get(host).and_then(|found| found.tunnels.get(&port.network));
        Some((*id, port, host, tunnel))
    });
    placed.collect()
}

pub(super) fn reach(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    let ports = spanning(census);
    for (id, port, host, here) in &ports {
        if here.is_none() {
            broken.push(format!("port {id} is up on {host}, which has no tunnel of its network"));
        }
        let others = ports
            .iter()
            .filter(|(_, other, there, _)| other.network == port.network && *there != *host);
        for (other_id, other, there, end) in others {
            let Some((here, end)) = here.zip(*end) else { continue };
            let all = [Frame::Broadcast, Frame::Unicast(&other.mac_address)];
            if !all.into_iter().all(|frame| carries(here, end, frame)) {
                broken.push(format!("port {id} on {host} does not reach {other_id} on {there}"));
            }
        }
    }
    broken
}

pub(super) fn tunnels(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    let on = |port: &Port, network: &Uuid, host: &str| {
        port.network == *network && port.host.as_deref() == Some(host)
    };
    for (host, machine) in &census.machines {
        for (network, tunnel) in &machine.tunnels {
            if !wanted(census).any(|(_, port)| on(port, network, host)) {
                broken.push(format!("host {host} has leaked the tunnel of network {network}"));
            }
            for (end, macs) in &tunnel.peers {
                let there = census.machines.iter().filter(|(_, found)| {
                    found.tunnels.get(network).is_some_and(|tunnel| tunnel.local == *end)
                });
                let there: Vec<&str> = there.map(|(name, _)| name.as_str()).collect();
                let has = |mac: &String| {
                    let mut ports = wanted(census).filter(|(_, port)| port.mac_address == *mac);
                    ports.any(|(_, port)| there.iter().any(|host| on(port, network, host)))
                };
                let lost = macs.iter().filter(|mac| !has(mac));
                broken.extend(lost.map(|mac| format!("host {host} sends {mac} to {end} in vain")));
            }
        }
    }
    broken
}
