//! What a router is to do, from its row and those of its ports, and what follows for these.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use updraft_protocol::network::{FloatingAddress, Leg, Outlet, Routing};
use updraft_runtime::{
    env::UnixMicros,
    store::{StoreError, Txn},
};
use uuid::Uuid;

use super::{dhcp, overlays, ports, subnets};
use crate::{
    error::Outcome,
    plan::{
        port,
        router::{self, Facts, Host},
    },
    rows::{
        AgentKind, AgentRow, FloatingIpRow, NetworkRow, NetworkType, PortRow, RouterRow, TunnelRow,
        owner,
    },
    work::Work,
};

/// Brings a router's wants up to date with the rows that this transaction has written. A host is chosen later.
pub(crate) fn settle(work: &mut Work<'_>, router: Uuid) -> Outcome<()> {
    let Some(row) = work.txn.get::<RouterRow>(&router.to_string())? else { return Ok(()) };
    let facts = Facts { routing: routing(work.txn, &row)?, hosts: None };
    let next = router::converge(&row, &facts);
    // The engine is to look at it, whether or not there is anything to write by now.
    let next = RouterRow { trace: work.trace, ..next };
    if next != row {
        work.txn.put(&next)?;
    }
    Ok(record(work.txn, &next, work.now)?)
}

/// What the plan of a router may know; `pulse` says whether a host was heard lately.
pub(crate) fn facts(
    txn: &Txn,
    row: &RouterRow,
    pulse: impl Fn(&AgentRow) -> bool,
) -> Result<Facts, StoreError> {
    let routing = routing(txn, row)?;
    let mut agents = Vec::new();
    for host in row.placements.keys().chain(&row.host) {
        agents.extend(txn.get::<AgentRow>(&AgentRow::id_of(AgentKind::L2, host).to_string())?);
    }
    let mut hosts = read_hosts(txn, agents, &pulse)?;
    let here = row.host.as_ref().and_then(|host| hosts.get(host));
    let is_to_stay = routing.as_ref().is_none_or(|it| here.is_some_and(|host| host.fits(it)));
    if !is_to_stay {
        let mut agents = txn.scan::<AgentRow>(None, usize::MAX)?;
        agents.retain(|agent| agent.kind == AgentKind::L2);
        hosts = read_hosts(txn, agents, &pulse)?;
    }
    Ok(Facts { routing, hosts: Some(hosts) })
}

fn read_hosts(
    txn: &Txn,
    agents: Vec<AgentRow>,
    pulse: impl Fn(&AgentRow) -> bool,
) -> Result<BTreeMap<String, Host>, StoreError> {
    let mut hosts = BTreeMap::new();
    for agent in agents {
        let end = txn.get::<TunnelRow>(&agent.host)?;
        let routers = txn.index_entries::<RouterRow>(RouterRow::BY_HOST, &agent.host)?;
        let host = Host {
            enabled: agent.admin_state_up,
            alive: pulse(&agent),
            routers: routers.iter().filter(|(host, _)| *host == agent.host).count(),
            physical_networks: end.map(|end| end.physical_networks).unwrap_or_default(),
        };
        hosts.insert(agent.host, host);
    }
    Ok(hosts)
}

/// What a router is to do; nothing as long as it stands nowhere, or shall be down.
fn routing(txn: &Txn, row: &RouterRow) -> Result<Option<Routing>, StoreError> {
    if !row.is_present() || !row.admin_state_up {
        return Ok(None);
    }
    let mut stands = ports::of_device(txn, &row.id.to_string())?;
    stands.sort_by_key(|port| port.id);
    let mut legs = Vec::new();
    for port in stands.iter().filter(|port| port.device_owner == owner::ROUTER_INTERFACE) {
        legs.extend(leg(txn, port)?);
    }
    let outlet = outlet(txn, row)?;
    if legs.is_empty() && outlet.is_none() {
        return Ok(None);
    }
    let routes = row.routes.iter().map(|route| (route.destination, route.nexthop)).collect();
    let floating = if outlet.is_some() { floating(txn, row.id)? } else { Vec::new() };
    Ok(Some(Routing { legs, outlet, routes, floating }))
}

/// How the router stands at a port; not at all while the port has no address.
fn leg(txn: &Txn, port: &PortRow) -> Result<Option<Leg>, StoreError> {
    let Some(network) = txn.get::<NetworkRow>(&port.network.to_string())? else { return Ok(None) };
    let on = subnets::on(txn, port.network)?;
    let with_prefix = |fixed: &crate::rows::Fixed| {
        let subnet = on.iter().find(|subnet| subnet.id == fixed.subnet)?;
        IpNet::new(fixed.address, subnet.cidr.prefix_len()).ok()
    };
    let addresses: Vec<IpNet> = port.fixed_ips.iter().filter_map(with_prefix).collect();
    let up = port.admin_state_up && !addresses.is_empty();
    Ok(up.then(|| Leg {
        port: port.id,
        network: network.id,
        mac_address: port.mac_address.clone(),
        addresses,
        mtu: network.mtu,
    }))
}

fn outlet(txn: &Txn, row: &RouterRow) -> Result<Option<Outlet>, StoreError> {
    let Some(way) = &row.gateway else { return Ok(None) };
    let port = txn.get::<PortRow>(&way.port.to_string())?.filter(PortRow::is_present);
    let network = txn.get::<NetworkRow>(&way.network.to_string())?;
    let Some((port, network)) = port.zip(network) else { return Ok(None) };
    let Some(leg) = leg(txn, &port)? else { return Ok(None) };
    let on = subnets::on(txn, network.id)?;
    let stands_in = |subnet: &Uuid| port.fixed_ips.iter().any(|fixed| fixed.subnet == *subnet);
    let mut hops: Vec<IpAddr> = Vec::new();
    for hop in on.iter().filter(|it| stands_in(&it.id)).filter_map(|subnet| subnet.gateway) {
        // One for each version of IP.
        if hops.iter().all(|known| known.is_ipv4() != hop.is_ipv4()) {
            hops.push(hop);
        }
    }
    let is_physical = network.segment.network_type == NetworkType::Flat;
    let physical_network = network.segment.physical_network.filter(|_| is_physical);
    Ok(Some(Outlet { leg, physical_network, hops, snat: way.enable_snat }))
}

/// The floating addresses of a router, without those of which another may still have something.
fn floating(txn: &Txn, router: Uuid) -> Result<Vec<FloatingAddress>, StoreError> {
    let mut floating = Vec::new();
    for row in txn.find::<FloatingIpRow>("router", &router.to_string())? {
        let (IpAddr::V4(address), Some(IpAddr::V4(fixed))) = (row.address, row.fixed) else {
            continue;
        };
        let own = router.to_string();
        let holders = holders(txn, row.floating_port)?;
        if holders.iter().all(|holder| *holder == own) {
            floating.push(FloatingAddress { port: row.floating_port, address, fixed });
        }
    }
    floating.sort();
    Ok(floating)
}

/// The routers of which a host may have something of this port.
fn holders(txn: &Txn, port: Uuid) -> Result<BTreeSet<String>, StoreError> {
    let entries = txn.index_entries::<RouterRow>(RouterRow::BY_HELD, &port.to_string())?;
    Ok(entries.into_iter().map(|(_, router)| router).collect())
}

/// Whether a host may still have something of a port that a router is or was made of.
pub(crate) fn is_held(txn: &Txn, port: &PortRow) -> Result<bool, StoreError> {
    let is_piece = port.is_leg() || port.device_owner == owner::FLOATING_IP;
    Ok(is_piece && !holders(txn, port.id)?.is_empty())
}

/// Whether the router's host says that it stands at the port as it now is.
pub(crate) fn is_routed(txn: &Txn, port: &PortRow) -> Result<bool, StoreError> {
    if !port.is_leg() {
        return Ok(false);
    }
    let router = txn.get::<RouterRow>(&port.device_id)?;
    let served = router.as_ref().and_then(RouterRow::served);
    let stands = served.and_then(|served| served.all_legs().find(|leg| leg.port == port.id));
    Ok(stands.is_some() && stands.cloned() == leg(txn, port)?)
}

/// Tells the ports of a router where it is, and whether they work.
pub(crate) fn record(txn: &mut Txn, row: &RouterRow, now: UnixMicros) -> Result<(), StoreError> {
    let stands = ports::of_device(txn, &row.id.to_string())?;
    for old in stands.into_iter().filter(PortRow::is_leg) {
        let placed = PortRow { host: row.host.clone(), ..old.clone() };
        let next = port::converge(&placed, &dhcp::port_facts(txn, &placed)?, now);
        if next != old {
            txn.put(&next)?;
        }
        overlays::ensure_rows(txn, &next)?;
    }
    Ok(())
}

/// What clients see of a router's or a floating IP's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its host says that it is as wanted.
    Active,
    /// It is not, or not yet.
    Down,
    /// Its host says why it cannot be.
    Error,
}

impl State {
    /// As clients read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Down => "DOWN",
            Self::Error => "ERROR",
        }
    }
}

/// The state of a router; one that stands nowhere lacks nothing.
pub(crate) fn state_of(txn: &Txn, row: &RouterRow) -> Result<State, StoreError> {
    if !row.admin_state_up {
        return Ok(State::Down);
    }
    let Some(routing) = routing(txn, row)? else { return Ok(State::Active) };
    let serves = |served: &Routing| {
        served.outlet == routing.outlet
            && served.routes == routing.routes
            && routing.legs.iter().all(|leg| served.legs.contains(leg))
    };
    if !row.served().is_some_and(serves) {
        return Ok(fault_or_down(row));
    }
    for port in ports::of_device(txn, &row.id.to_string())? {
        if port.is_leg() && overlays::is_awaited(txn, &port)? {
            return Ok(State::Down);
        }
    }
    Ok(State::Active)
}

fn fault_or_down(row: &RouterRow) -> State {
    match row.current() {
        Some(placement) if placement.fault.is_some() => State::Error,
        _ => State::Down,
    }
}

/// The state of a floating IP.
pub(crate) fn state_of_floating(txn: &Txn, row: &FloatingIpRow) -> Result<State, StoreError> {
    let router = match row.router {
        Some(id) => txn.get::<RouterRow>(&id.to_string())?,
        None => None,
    };
    let Some(router) = router else { return Ok(State::Down) };
    let leads = |floating: &FloatingAddress| {
        floating.port == row.floating_port
            && row.address == floating.address
            && row.fixed == Some(floating.fixed.into())
    };
    match router.served() {
        Some(served) if served.floating.iter().any(leads) => Ok(State::Active),
        _ => Ok(fault_or_down(&router)),
    }
}
