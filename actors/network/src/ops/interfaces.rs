//! A router's interfaces: the ports by which it stands in subnets.

use uuid::Uuid;

use super::{
    fixed,
    fixed::{FixedRequest, Holder},
    networks, ports, quotas, routers, routing, subnets,
};
use crate::{
    error::{Outcome, bad_resource, l2, l3},
    rows::{FloatingIpRow, PortRow, Resource, RouterRow, SubnetRow, owner},
    work::Work,
};

/// An interface that was added or removed.
pub(crate) struct Interface {
    pub(crate) port: PortRow,
    pub(crate) subnets: Vec<SubnetRow>,
}

/// Adds an interface with the subnet's gateway address.
pub(crate) fn add_subnet(
    work: &mut Work<'_>,
    router: &RouterRow,
    subnet: SubnetRow,
) -> Outcome<Interface> {
    let Some(gateway) = subnet.gateway else {
        return Err(bad_resource("router", "Subnet for router interface must have a gateway IP"));
    };
    routers::check_overlap(work, router.id, std::slice::from_ref(&subnet))?;
    quotas::check(work, &router.project_id, Resource::Port, 1)?;
    let network = networks::of(work.txn, subnet.network)?;
    let id = work.id();
    let mut port = ports::infrastructure(work, &network, id)?;
    port.project_id.clone_from(&router.project_id);
    port.device_id = router.id.to_string();
    port.device_owner = owner::ROUTER_INTERFACE.to_owned();
    let request = FixedRequest { subnet: Some(subnet.id.to_string()), address: Some(gateway) };
    let holder = Holder {
        port: id,
        network: network.id,
        mac_address: &port.mac_address,
        device_owner: &port.device_owner,
    };
    port.fixed_ips = fixed::allocate(work, &holder, Some(&[request]))?;
    work.txn.insert(&port)?;
    routing::settle(work, router.id)?;
    let port = ports::get(work.txn, &port.id.to_string())?;
    Ok(Interface { port, subnets: vec![subnet] })
}

/// Makes a port that nothing has an interface.
pub(crate) fn add_port(
    work: &mut Work<'_>,
    router: &RouterRow,
    port: &PortRow,
) -> Outcome<Interface> {
    if !port.device_id.is_empty() {
        return Err(l2::port_in_use(port.id, port.network, &port.device_id));
    }
    if port.fixed_ips.is_empty() {
        return Err(bad_resource("router", "Router port must have at least one fixed IP"));
    }
    let subnets = subnets_of(work, port)?;
    if subnets.iter().filter(|subnet| subnet.ip_version() == 4).count() > 1 {
        return Err(bad_resource("router", "Cannot have multiple IPv4 subnets on router port"));
    }
    routers::check_overlap(work, router.id, &subnets)?;
    let new = PortRow {
        device_id: router.id.to_string(),
        device_owner: owner::ROUTER_INTERFACE.to_owned(),
        ..port.clone()
    };
    let port = ports::put(work, port, new)?;
    Ok(Interface { port, subnets })
}

fn subnets_of(work: &Work<'_>, port: &PortRow) -> Outcome<Vec<SubnetRow>> {
    let ids = port.fixed_ips.iter().map(|fixed| fixed.subnet.to_string());
    ids.map(|id| subnets::get(work.txn, &id)).collect()
}

/// Removes an interface that a client names by its port, its subnet, or both.
pub(crate) fn remove(
    work: &mut Work<'_>,
    router: &RouterRow,
    port: Option<&str>,
    subnet: Option<&str>,
) -> Outcome<Interface> {
    let mut inner = routers::ports_of(work.txn, router.id)?;
    inner.retain(|port| port.device_owner == owner::ROUTER_INTERFACE);
    let has = |row: &PortRow, subnet: &str| {
        row.fixed_ips.iter().any(|fixed| fixed.subnet.to_string() == subnet)
    };
    let found = match (port, subnet) {
        (Some(id), _) => inner
            .into_iter()
            .find(|row| row.id.to_string() == id)
            .ok_or_else(|| l3::interface_not_found(router.id, id))?,
        (None, Some(id)) => {
            subnets::get(work.txn, id)?;
            inner
                .into_iter()
                .find(|row| has(row, id))
                .ok_or_else(|| l3::interface_not_found_for_subnet(router.id, id))?
        }
        (None, None) => {
            return Err(bad_resource("router", "Either subnet_id or port_id must be specified"));
        }
    };
    if let Some(id) = subnet.filter(|id| !has(&found, id)) {
        return Err(l3::subnet_mismatch(found.id, id));
    }
    let subnets = subnets_of(work, &found)?;
    for subnet in &subnets {
        check_unused(work, router, subnet)?;
    }
    ports::discard(work, &found)?;
    routing::settle(work, router.id)?;
    Ok(Interface { port: found, subnets })
}

/// Refuses if a floating IP or a route goes through the router's interface in this subnet.
fn check_unused(work: &Work<'_>, router: &RouterRow, subnet: &SubnetRow) -> Outcome<()> {
    if router.routes.iter().any(|route| subnet.cidr.contains(&route.nexthop)) {
        return Err(l3::interface_in_use_by_route(router.id, subnet.id));
    }
    for floating in work.txn.find::<FloatingIpRow>("router", &router.id.to_string())? {
        if leads_into(work, &floating, subnet.id)? {
            return Err(l3::interface_in_use(router.id, subnet.id));
        }
    }
    Ok(())
}

fn leads_into(work: &Work<'_>, floating: &FloatingIpRow, subnet: Uuid) -> Outcome<bool> {
    let Some(port) = floating.port else { return Ok(false) };
    let Some(port) = work.txn.get::<PortRow>(&port.to_string())? else { return Ok(false) };
    let is_it = |address, of| floating.fixed == Some(address) && of == subnet;
    Ok(port.fixed_ips.iter().any(|fixed| is_it(fixed.address, fixed.subnet)))
}
