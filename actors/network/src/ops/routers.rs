//! Routers and their way out.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use updraft_protocol::compute::Goal;
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
        FloatingIpRow, Gateway, NetworkRow, PortRow, Resource, Route, RouterRow, Standard,
        SubnetRow, owner, parse_id,
    },
    work::Work,
};

/// A router to be made.
pub(crate) struct NewRouter {
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) admin_state_up: bool,
    pub(crate) availability_zone_hints: Vec<String>,
}

/// The way out that a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct GatewayRequest {
    pub(crate) network: String,
    pub(crate) enable_snat: Option<bool>,
    pub(crate) external_fixed_ips: Vec<FixedRequest>,
}

/// The router that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<RouterRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<RouterRow>(id)?,
        None => None,
    };
    row.filter(RouterRow::is_present).ok_or_else(|| l3::router_not_found(id))
}

/// The ports of a router, its way out among them.
pub(crate) fn ports_of(txn: &Txn, router: Uuid) -> Outcome<Vec<PortRow>> {
    let mut ports = ports::of_device(txn, &router.to_string())?;
    ports.retain(PortRow::is_leg);
    Ok(ports)
}

/// Whether a router or a floating IP would be broken without this port.
pub(crate) fn needs(txn: &Txn, port: &PortRow) -> Outcome<bool> {
    Ok(match port.device_owner.as_str() {
        owner::ROUTER_INTERFACE | owner::ROUTER_GATEWAY => {
            txn.get::<RouterRow>(&port.device_id)?.is_some_and(|row| row.is_present())
        }
        owner::FLOATING_IP => txn.get::<FloatingIpRow>(&port.device_id)?.is_some(),
        _ => false,
    })
}

/// Makes a router.
pub(crate) fn create(
    work: &mut Work<'_>,
    new: NewRouter,
    gateway: Option<&GatewayRequest>,
) -> Outcome<RouterRow> {
    quotas::check(work, &new.project_id, Resource::Router, 1)?;
    let mut row = RouterRow {
        id: work.id(),
        project_id: new.project_id,
        name: new.name,
        admin_state_up: new.admin_state_up,
        gateway: None,
        routes: Vec::new(),
        availability_zone_hints: new.availability_zone_hints,
        standard: Standard::new(new.description, work.now),
        goal: Goal::Present,
        host: None,
        generation: 0,
        placements: BTreeMap::new(),
        trace: work.trace,
    };
    if let Some(wanted) = gateway {
        row.gateway = Some(make_gateway(work, &row, wanted)?);
    }
    work.txn.insert(&row)?;
    settled(work, &row)
}

/// The router with its wants as they should be by now.
fn settled(work: &mut Work<'_>, row: &RouterRow) -> Outcome<RouterRow> {
    routing::settle(work, row.id)?;
    get(work.txn, &row.id.to_string())
}

/// Changes a router to what `new` says; its way out only if `gateway` says something.
pub(crate) fn update(
    work: &mut Work<'_>,
    old: &RouterRow,
    mut new: RouterRow,
    gateway: Option<Option<GatewayRequest>>,
) -> Outcome<RouterRow> {
    match gateway {
        Some(Some(wanted)) => new.gateway = Some(set_gateway(work, old, &wanted)?),
        Some(None) => {
            clear_gateway(work, old)?;
            new.gateway = None;
        }
        None => {}
    }
    // Its ports have told it of what they became meanwhile.
    let new = match work.txn.get::<RouterRow>(&old.id.to_string())? {
        Some(RouterRow { host, generation, placements, trace, .. }) => {
            RouterRow { host, generation, placements, trace, ..new }
        }
        None => new,
    };
    if new.routes != old.routes {
        check_routes(work, &new)?;
    }
    let saved = save!(work, old, new);
    settled(work, &saved)
}

fn set_gateway(
    work: &mut Work<'_>,
    router: &RouterRow,
    wanted: &GatewayRequest,
) -> Outcome<Gateway> {
    let network = external_network(work, wanted)?;
    let Some(known) = router.gateway.as_ref().filter(|known| known.network == network.id) else {
        clear_gateway(work, router)?;
        return make_gateway(work, router, wanted);
    };
    let port = ports::get(work.txn, &known.port.to_string())?;
    if !wanted.external_fixed_ips.is_empty() {
        let holder = holder(&port);
        let requests = &wanted.external_fixed_ips;
        let fixed_ips = fixed::reallocate(work, &holder, &port.fixed_ips, requests)?;
        let new = PortRow { fixed_ips, ..port.clone() };
        ports::put(work, &port, new)?;
    }
    let enable_snat = wanted.enable_snat.unwrap_or(known.enable_snat);
    Ok(Gateway { enable_snat, ..known.clone() })
}

fn holder(port: &PortRow) -> Holder<'_> {
    Holder {
        port: port.id,
        network: port.network,
        mac_address: &port.mac_address,
        device_owner: &port.device_owner,
    }
}

fn external_network(work: &Work<'_>, wanted: &GatewayRequest) -> Outcome<NetworkRow> {
    let network = networks::get(work.txn, &wanted.network)?;
    if !network.external {
        let reason = format!("Network {} is not an external network", network.id);
        return Err(bad_resource("router", reason));
    }
    let subnets = subnets::on(work.txn, network.id)?;
    let taken = |address: IpAddr| subnets.iter().any(|subnet| subnet.gateway == Some(address));
    let asked = wanted.external_fixed_ips.iter().filter_map(|request| request.address);
    if let Some(address) = asked.into_iter().find(|address| taken(*address)) {
        let reason = format!("External IP {address} is the same as the gateway IP");
        return Err(bad_resource("router", reason));
    }
    Ok(network)
}

fn make_gateway(
    work: &mut Work<'_>,
    router: &RouterRow,
    wanted: &GatewayRequest,
) -> Outcome<Gateway> {
    let network = external_network(work, wanted)?;
    let subnets = subnets::on(work.txn, network.id)?;
    check_overlap(work, router.id, &subnets)?;
    let id = work.id();
    // The port belongs to no project: users know the router, not what it is made of.
    let mut port = ports::infrastructure(work, &network, id)?;
    port.device_id = router.id.to_string();
    port.device_owner = owner::ROUTER_GATEWAY.to_owned();
    let asked = Some(wanted.external_fixed_ips.as_slice()).filter(|asked| !asked.is_empty());
    port.fixed_ips = fixed::allocate(work, &holder(&port), asked)?;
    work.txn.insert(&port)?;
    let enable_snat = wanted.enable_snat.unwrap_or(true);
    Ok(Gateway { network: network.id, port: port.id, enable_snat })
}

/// Takes a router's way out, unless a floating IP needs it.
fn clear_gateway(work: &mut Work<'_>, router: &RouterRow) -> Outcome<()> {
    let Some(known) = &router.gateway else { return Ok(()) };
    let used = work.txn.find_page::<FloatingIpRow>("router", &router.id.to_string(), None, 1)?;
    if !used.is_empty() {
        return Err(l3::gateway_in_use(router.id, known.network));
    }
    let port = ports::get(work.txn, &known.port.to_string())?;
    ports::discard(work, &port)
}

/// Refuses subnets that the router has already, or whose addresses it could not tell from those it has.
pub(crate) fn check_overlap(work: &Work<'_>, router: Uuid, new: &[SubnetRow]) -> Outcome<()> {
    let mut known: Vec<SubnetRow> = Vec::new();
    for port in ports_of(work.txn, router)? {
        for fixed in &port.fixed_ips {
            if new.iter().any(|subnet| subnet.id == fixed.subnet) {
                let reason = format!("Router already has a port on subnet {}", fixed.subnet);
                return Err(bad_resource("router", reason));
            }
        }
        if port.device_owner == owner::ROUTER_GATEWAY {
            known.extend(subnets::on(work.txn, port.network)?);
        } else {
            for fixed in &port.fixed_ips {
                known.push(subnets::get(work.txn, &fixed.subnet.to_string())?);
            }
        }
    }
    for subnet in new {
        let overlaps = |cidr: &IpNet| {
            cidr.contains(&subnet.cidr.network()) || subnet.cidr.contains(&cidr.network())
        };
        if let Some(other) = known.iter().find(|other| overlaps(&other.cidr)) {
            let reason = format!(
                "Cidr {} of subnet {} overlaps with cidr {} of subnet {}",
                subnet.cidr, subnet.id, other.cidr, other.id
            );
            return Err(bad_resource("router", reason));
        }
    }
    Ok(())
}

fn check_routes(work: &Work<'_>, router: &RouterRow) -> Outcome<()> {
    if router.routes.len() > work.config.router_routes_max {
        return Err(l3::routes_exhausted(router.id, work.config.router_routes_max));
    }
    let (mut cidrs, mut addresses) = (Vec::new(), Vec::new());
    for port in ports_of(work.txn, router.id)? {
        for fixed in &port.fixed_ips {
            cidrs.push(subnets::get(work.txn, &fixed.subnet.to_string())?.cidr);
            addresses.push(fixed.address);
        }
    }
    for Route { nexthop, .. } in &router.routes {
        let reason = match nexthop {
            hop if !cidrs.iter().any(|cidr| cidr.contains(hop)) => {
                "the nexthop is not connected with router"
            }
            hop if addresses.contains(hop) => "the nexthop is used by router",
            _ => continue,
        };
        return Err(l3::invalid_routes(shown(&router.routes), reason));
    }
    Ok(())
}

fn shown(routes: &[Route]) -> String {
    let one = |route: &Route| {
        format!("{{'destination': '{}', 'nexthop': '{}'}}", route.destination, route.nexthop)
    };
    format!("[{}]", routes.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Deletes a router that has no interfaces.
pub(crate) fn delete(work: &mut Work<'_>, router: &RouterRow) -> Outcome<()> {
    let inner: Vec<Uuid> = ports_of(work.txn, router.id)?
        .iter()
        .filter(|port| port.device_owner == owner::ROUTER_INTERFACE)
        .map(|port| port.id)
        .collect();
    if !inner.is_empty() {
        return Err(l3::router_in_use(router.id, &inner));
    }
    clear_gateway(work, router)?;
    let Some(row) = work.txn.get::<RouterRow>(&router.id.to_string())? else { return Ok(()) };
    work.txn.put(&RouterRow { goal: Goal::Absent, gateway: None, ..row })?;
    routing::settle(work, router.id)?;
    let is_free = |row: &RouterRow| row.placements.is_empty();
    if work.txn.get::<RouterRow>(&router.id.to_string())?.as_ref().is_some_and(is_free) {
        work.txn.delete::<RouterRow>(&router.id.to_string())?;
    }
    Ok(())
}
