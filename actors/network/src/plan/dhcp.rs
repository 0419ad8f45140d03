//! What now with a network on a host?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use updraft_protocol::network::{DhcpLease, DhcpSubnet, DhcpWant};
use uuid::Uuid;

use crate::{
    plan::{port, told},
    rows::{DhcpRow, Lease, PortRow, SubnetRow},
};

/// What the plan may know besides the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The network's largest packet; `None` when the network is gone.
    pub mtu: Option<u32>,
    /// The subnets whose addresses agents hand out, with the agents' own address in each.
    pub subnets: Vec<(SubnetRow, IpAddr)>,
    /// The network's ports that the host has something of.
    pub ports: Vec<PortRow>,
}

/// What the plan may ask for: call the host's DHCP agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Of the want.
    pub generation: u64,
}

/// What can be learnt: the agent serves a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Of the want.
    pub generation: u64,
    /// What was in it.
    pub leases: BTreeSet<Lease>,
}

/// What should become of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It becomes this.
    Write(Box<DhcpRow>),
    /// The network is gone, and the agent serves nothing of it.
    Delete,
    /// This is to be done.
    Act(Vec<Serve>),
}

/// What now?
#[must_use]
pub fn plan(row: &DhcpRow, facts: &Facts) -> Next {
    let next = converge(row, facts);
    if next != *row {
        return Next::Write(Box::new(next));
    }
    if !row.is_served() {
        return Next::Act(vec![Serve { generation: row.want.generation }]);
    }
    if facts.mtu.is_none() { Next::Delete } else { Next::Act(Vec::new()) }
}

/// The row with its want as it should be; itself when it is.
#[must_use]
pub fn converge(row: &DhcpRow, facts: &Facts) -> DhcpRow {
    let ports: BTreeMap<Uuid, &PortRow> =
        facts.ports.iter().filter(|port| is_here(row, port)).map(|port| (port.id, port)).collect();
    let of_port = port::Facts {
        mtu: facts.mtu,
        served: facts.subnets.iter().map(|(subnet, _)| subnet.id).collect(),
        ..port::Facts::default()
    };
    let leases: BTreeSet<Lease> =
        ports.values().flat_map(|port| port::leases(port, &of_port)).collect();
    let mut want = DhcpWant {
        network: row.network,
        generation: row.want.generation,
        mtu: if leases.is_empty() { 0 } else { facts.mtu.unwrap_or_default() },
        subnets: if leases.is_empty() { Vec::new() } else { subnets(facts) },
        leases: leases.iter().filter_map(|lease| told(lease, ports.get(&lease.port)?)).collect(),
    };
    if want == row.want {
        return row.clone();
    }
    want.generation += 1;
    let newcomer = leases.difference(&row.leases).find_map(|lease| ports.get(&lease.port));
    let trace = newcomer.map_or(row.trace, |port| port.trace);
    DhcpRow { want, leases, trace, ..row.clone() }
}

/// Whether the port shall be on the row's host.
fn is_here(row: &DhcpRow, port: &PortRow) -> bool {
    port.is_present()
        && port.host.as_ref() == Some(&row.host)
        && port.current().is_some_and(|binding| binding.want.present)
}

fn subnets(facts: &Facts) -> Vec<DhcpSubnet> {
    let told = |(subnet, agent_address): &(SubnetRow, IpAddr)| DhcpSubnet {
        subnet: subnet.id,
        cidr: subnet.cidr,
        gateway: subnet.gateway,
        agent_address: *agent_address,
        dns_servers: subnet.dns_servers.clone(),
        host_routes: subnet.host_routes.clone(),
    };
    facts.subnets.iter().map(told).collect()
}

fn told(lease: &Lease, port: &PortRow) -> Option<DhcpLease> {
    let nic = port.nic.as_ref();
    let server = port.current()?.want.server;
    let by_address = || format!("host-{}", lease.address.to_string().replace(['.', ':'], "-"));
    let hostname = nic.map(|nic| nic.hostname.clone()).filter(|name| !name.is_empty());
    Some(DhcpLease {
        server,
        mac_address: lease.mac_address.clone(),
        address: lease.address,
        hostname: hostname.unwrap_or_else(by_address),
    })
}

/// Folds in what was learnt; what is older than what is known changes nothing.
pub fn learn(row: &mut DhcpRow, learned: Served) -> bool {
    let Served { generation, leases } = learned;
    if !told::is_news(generation, row.served_generation, row.want.generation) {
        return false;
    }
    row.served_generation = generation;
    row.served = leases;
    true
}

#[cfg(test)]
mod tests;
