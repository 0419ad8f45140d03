//! Floating IPs.

use std::{collections::BTreeSet, net::IpAddr};

use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{
    fixed,
    fixed::{FixedRequest, Holder},
    networks, ports, quotas, routing, save, subnets,
};
use crate::{
    error::{Outcome, bad_resource, l3},
    rows::{
        Fixed, FloatingIpRow, PortRow, PortStatus, Resource, RouterRow, Standard, owner, parse_id,
    },
    work::Work,
};

/// A floating IP to be made.
pub(crate) struct NewFloatingIp {
    pub(crate) project_id: String,
    pub(crate) description: Option<String>,
    pub(crate) network: String,
    pub(crate) subnet: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

/// Where a floating IP shall lead.
pub(crate) struct Association {
    pub(crate) port: Option<String>,
    pub(crate) fixed: Option<IpAddr>,
}

/// The floating IP that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<FloatingIpRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<FloatingIpRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| l3::floating_ip_not_found(id))
}

/// Makes a floating IP with an address of its network, and leads it to a port if it shall.
pub(crate) fn create(
    work: &mut Work<'_>,
    new: NewFloatingIp,
    to: &Association,
    is_admin: bool,
) -> Outcome<FloatingIpRow> {
    quotas::check(work, &new.project_id, Resource::FloatingIp, 1)?;
    let network = networks::get(work.txn, &new.network)?;
    if !network.external {
        let reason = format!("Network {} is not a valid external network", network.id);
        return Err(bad_resource("floatingip", reason));
    }
    if subnets::on(work.txn, network.id)?.iter().all(|subnet| subnet.ip_version() != 4) {
        let reason = format!("Network {} does not contain any IPv4 subnet", network.id);
        return Err(bad_resource("floatingip", reason));
    }
    let (id, port_id) = (work.id(), work.id());
    let mut port = ports::infrastructure(work, &network, port_id)?;
    port.status = PortStatus::NotApplicable;
    port.device_id = id.to_string();
    port.device_owner = owner::FLOATING_IP.to_owned();
    let holder = Holder {
        port: port_id,
        network: network.id,
        mac_address: &port.mac_address,
        device_owner: &port.device_owner,
    };
    let named = new.subnet.is_some() || new.address.is_some();
    let request = [FixedRequest { subnet: new.subnet.clone(), address: new.address }];
    port.fixed_ips = fixed::allocate(work, &holder, named.then_some(&request[..]))?;
    let Some(address) = port.fixed_ips.iter().map(|fixed| fixed.address).find(IpAddr::is_ipv4)
    else {
        return Err(l3::no_external_address(network.id));
    };
    work.txn.insert(&port)?;
    let row = FloatingIpRow {
        id,
        project_id: new.project_id,
        network: network.id,
        floating_port: port_id,
        address,
        port: None,
        fixed: None,
        router: None,
        standard: Standard::new(new.description, work.now),
    };
    let row = lead(work, row, to, is_admin)?;
    work.txn.insert(&row)?;
    tell_routers(work, None, Some(&row))?;
    Ok(row)
}

/// The routers that a floating IP goes through, or went through, are told of the change.
fn tell_routers(
    work: &mut Work<'_>,
    old: Option<&FloatingIpRow>,
    new: Option<&FloatingIpRow>,
) -> Outcome<()> {
    let routers: BTreeSet<Uuid> = old.into_iter().chain(new).filter_map(|row| row.router).collect();
    routers.into_iter().try_for_each(|router| routing::settle(work, router))
}

/// Changes where a floating IP leads (if `to` says something) and what is said of it.
pub(crate) fn update(
    work: &mut Work<'_>,
    old: &FloatingIpRow,
    new: FloatingIpRow,
    to: Option<&Association>,
    is_admin: bool,
) -> Outcome<FloatingIpRow> {
    let new = match to {
        Some(to) => {
            let new = lead(work, new, to, is_admin)?;
            if let Some(left) = old.port.filter(|port| new.port != Some(*port)) {
                mark(work, left)?;
            }
            new
        }
        None => new,
    };
    let new = save!(work, old, new);
    tell_routers(work, Some(old), Some(&new))?;
    Ok(new)
}

/// The row, leading where it shall.
fn lead(
    work: &mut Work<'_>,
    mut row: FloatingIpRow,
    to: &Association,
    is_admin: bool,
) -> Outcome<FloatingIpRow> {
    let Some(id) = &to.port else {
        if to.fixed.is_some() {
            let reason = "fixed_ip_address cannot be specified without a port_id";
            return Err(bad_resource("floatingip", reason));
        }
        (row.port, row.fixed, row.router) = (None, None, None);
        return Ok(row);
    };
    let port = ports::get(work.txn, id)?;
    if port.project_id != row.project_id && !is_admin {
        let reason = format!(
            "Cannot process floating IP association with Port {id}, since that port is owned by a \
             different project"
        );
        return Err(bad_resource("floatingip", reason));
    }
    let fixed = inner_address(&port, to.fixed)?;
    check_free(work.txn, &row, &port, &fixed)?;
    row.router = Some(router_between(work, &row, &port, &fixed)?);
    (row.port, row.fixed) = (Some(port.id), Some(fixed.address));
    mark(work, port.id)?;
    Ok(row)
}

/// The address of the port that shall be led to.
fn inner_address(port: &PortRow, asked: Option<IpAddr>) -> Outcome<Fixed> {
    let refuse = |reason: String| Err(bad_resource("floatingip", reason));
    if let Some(address) = asked {
        if !address.is_ipv4() {
            return refuse(format!(
                "Cannot process floating IP association with {address}, since that is not an IPv4 \
                 address"
            ));
        }
        return match port.fixed_ips.iter().find(|fixed| fixed.address == address) {
            Some(fixed) => Ok(fixed.clone()),
            None => refuse(format!("Port {} does not have fixed ip {address}", port.id)),
        };
    }
    let mut of_ipv4 = port.fixed_ips.iter().filter(|fixed| fixed.address.is_ipv4());
    match (of_ipv4.next(), of_ipv4.next()) {
        (Some(fixed), None) => Ok(fixed.clone()),
        (None, _) => refuse(format!(
            "Cannot add floating IP to port {} that has no fixed IPv4 addresses",
            port.id
        )),
        (Some(_), Some(_)) => refuse(format!(
            "Port {} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address \
             when assigning a floating IP",
            port.id
        )),
    }
}

/// Refuses if another floating IP of the network leads to the same address.
fn check_free(txn: &Txn, row: &FloatingIpRow, port: &PortRow, fixed: &Fixed) -> Outcome<()> {
    let others = txn.find::<FloatingIpRow>("port", &port.id.to_string())?;
    let clashes = |other: &FloatingIpRow| {
        other.id != row.id && other.network == row.network && other.fixed == Some(fixed.address)
    };
    if others.iter().any(clashes) {
        return Err(l3::already_associated(
            row.address,
            row.id,
            port.id,
            fixed.address,
            row.network,
        ));
    }
    Ok(())
}

/// The router that stands in the port's subnet and leads to the floating IP's network; if there are
/// several, the one that is the subnet's gateway.
fn router_between(
    work: &Work<'_>,
    row: &FloatingIpRow,
    port: &PortRow,
    fixed: &Fixed,
) -> Outcome<Uuid> {
    let gateway = subnets::get(work.txn, &fixed.subnet.to_string())?.gateway;
    let mut first = None;
    for inner in ports::on(work.txn, port.network)? {
        if inner.device_owner != owner::ROUTER_INTERFACE {
            continue;
        }
        let Some(stands) = inner.fixed_ips.iter().find(|other| other.subnet == fixed.subnet) else {
            continue;
        };
        let router = work.txn.get::<RouterRow>(&inner.device_id)?;
        let leads_out = |router: &RouterRow| {
            router.gateway.as_ref().is_some_and(|way| way.network == row.network)
        };
        if let Some(router) = router.filter(leads_out) {
            if gateway == Some(stands.address) {
                return Ok(router.id);
            }
            first.get_or_insert(router.id);
        }
    }
    first.ok_or_else(|| l3::no_gateway_for_floating_ip(row.network, fixed.subnet, port.id))
}

/// Lets the port's plan tell the compute service that what leads to it has changed.
fn mark(work: &mut Work<'_>, port: Uuid) -> Outcome<()> {
    let Some(mut row) = work.txn.get::<PortRow>(&port.to_string())? else { return Ok(()) };
    row.floating_changes += 1;
    row.trace = work.trace;
    Ok(work.txn.put(&row)?)
}

/// Lets no floating IP lead to this port any more.
pub(crate) fn leave_port(work: &mut Work<'_>, port: Uuid) -> Outcome<()> {
    for old in work.txn.find::<FloatingIpRow>("port", &port.to_string())? {
        let new = FloatingIpRow { port: None, fixed: None, router: None, ..old.clone() };
        save!(work, &old, new);
        tell_routers(work, Some(&old), None)?;
        mark(work, port)?;
    }
    Ok(())
}

/// Refuses addresses of a port without one that a floating IP leads to.
pub(crate) fn check_kept(txn: &Txn, port: Uuid, fixed_ips: &[Fixed]) -> Outcome<()> {
    for floating in txn.find::<FloatingIpRow>("port", &port.to_string())? {
        if !fixed_ips.iter().any(|fixed| floating.fixed == Some(fixed.address)) {
            let reason = format!(
                "Cannot update the fixed_ips of the port {port}, because its original fixed_ip \
                 has been associated to a floating ip"
            );
            return Err(bad_resource("port", reason));
        }
    }
    Ok(())
}

/// Deletes a floating IP and gives its address back.
pub(crate) fn delete(work: &mut Work<'_>, row: &FloatingIpRow) -> Outcome<()> {
    work.txn.delete::<FloatingIpRow>(&row.id.to_string())?;
    tell_routers(work, Some(row), None)?;
    if let Some(port) = row.port {
        mark(work, port)?;
    }
    if let Some(port) = work.txn.get::<PortRow>(&row.floating_port.to_string())? {
        ports::discard(work, &port)?;
    }
    Ok(())
}
