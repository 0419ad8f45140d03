//! What DHCP agents need to know: which subnets they serve, and their own address in each.

use std::net::IpAddr;

use updraft_runtime::{
    rpc::TraceContext,
    store::{StoreError, Txn},
};
use uuid::Uuid;

use super::{filters, overlays, ports, routing, subnets};
use crate::{
    error::Outcome,
    ipam,
    plan::{dhcp, port},
    rows::{DhcpRow, Fixed, NetworkRow, PortRow, SubnetRow, owner},
    work::Work,
};

/// The id of a network's one DHCP port. All agents of the network answer from its addresses, each on its host.
pub(crate) fn port_id(network: Uuid) -> Uuid {
    Uuid::new_v5(&network, b"dhcp")
}

/// The subnets that agents serve, with the agents' own address in each.
pub(crate) fn served(txn: &Txn, network: Uuid) -> Result<Vec<(SubnetRow, IpAddr)>, StoreError> {
    let Some(agent) = txn.get::<PortRow>(&port_id(network).to_string())? else {
        return Ok(Vec::new());
    };
    let address_in = |subnet: &SubnetRow| {
        agent.fixed_ips.iter().find(|fixed| fixed.subnet == subnet.id).map(|fixed| fixed.address)
    };
    let rows = subnets::on(txn, network)?.into_iter();
    Ok(rows
        .filter(SubnetRow::is_served)
        .filter_map(|row| address_in(&row).map(|address| (row, address)))
        .collect())
}

/// What the plan of a port may know.
pub(crate) fn port_facts(txn: &Txn, row: &PortRow) -> Result<port::Facts, StoreError> {
    let mtu = txn.get::<NetworkRow>(&row.network.to_string())?.map(|network| network.mtu);
    let served = served(txn, row.network)?.into_iter().map(|(subnet, _)| subnet.id).collect();
    let (in_force, cut_off) = (filters::in_force(txn, row)?, overlays::is_awaited(txn, row)?);
    let (routed, held) = (routing::is_routed(txn, row)?, routing::is_held(txn, row)?);
    Ok(port::Facts { mtu, served, in_force, cut_off, routed, held })
}

/// What the plan of a network on a host may know.
pub(crate) fn facts(txn: &Txn, row: &DhcpRow) -> Result<dhcp::Facts, StoreError> {
    let mtu = txn.get::<NetworkRow>(&row.network.to_string())?.map(|network| network.mtu);
    let ports = txn.find::<PortRow>("host", &format!("{}/{}", row.network, row.host))?;
    Ok(dhcp::Facts { mtu, subnets: served(txn, row.network)?, ports })
}

/// Gives the network's DHCP port an address in every subnet that is served and in no other, and makes or
/// deletes the port accordingly. A subnet that has no address to spare is not served.
pub(crate) fn refresh_port(work: &mut Work<'_>, network: &NetworkRow) -> Outcome<()> {
    let served: Vec<SubnetRow> =
        subnets::on(work.txn, network.id)?.into_iter().filter(SubnetRow::is_served).collect();
    let id = port_id(network.id);
    let known = work.txn.get::<PortRow>(&id.to_string())?;
    let mut fixed_ips: Vec<Fixed> =
        known.as_ref().map(|row| row.fixed_ips.clone()).unwrap_or_default();
    for fixed in &fixed_ips {
        if served.iter().all(|subnet| subnet.id != fixed.subnet) {
            ipam::release(work.txn, fixed.subnet, fixed.address, id)?;
        }
    }
    fixed_ips.retain(|fixed| served.iter().any(|subnet| subnet.id == fixed.subnet));
    for subnet in &served {
        if fixed_ips.iter().all(|fixed| fixed.subnet != subnet.id)
            && let Some(address) = ipam::choose(work.txn, &mut work.rng, subnet, id)?
        {
            fixed_ips.push(Fixed { subnet: subnet.id, address });
        }
    }
    match known {
        Some(_) if fixed_ips.is_empty() => drop(work.txn.delete::<PortRow>(&id.to_string())?),
        Some(old) => {
            let new = PortRow { fixed_ips, ..old.clone() };
            super::save!(work, &old, new);
        }
        None if fixed_ips.is_empty() => {}
        None => {
            let mut row = ports::infrastructure(work, network, id)?;
            row.project_id.clone_from(&network.project_id);
            row.device_id = owner::DHCP_DEVICE.to_owned();
            row.device_owner = owner::DHCP.to_owned();
            row.fixed_ips = fixed_ips;
            row.trace = TraceContext::default();
            work.txn.insert(&row)?;
        }
    }
    Ok(())
}
