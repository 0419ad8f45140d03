//! The ports of servers, as the compute service asks for them.
//!
//! A server's ports are named by the server and their index among its interfaces, so that asking again
//! makes nothing twice. What a server's want was when it last asked is remembered even after its ports
//! are released: what comes late does nothing.

use std::{collections::BTreeSet, net::IpAddr};

use updraft_protocol::network::{
    Allocate, LeaveHost, NicRequest, PortInfo, Release, Validate, Validated,
};
use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{
    dhcp, fixed::FixedRequest, networks, ports, ports::NewPort, quotas, security, subnets,
};
use crate::{
    error::{Kind, NetworkError, Outcome, l2, security as refusals},
    plan::port::{info_of, left},
    rows::{AllocationRow, DeviceRow, FloatingIpRow, GroupRow, NetworkRow, Nic, PortRow, Resource},
    work::Work,
};

/// For whom the compute service asks.
pub(crate) struct Asker {
    pub(crate) project_id: String,
    pub(crate) is_admin: bool,
}

impl Asker {
    fn sees(&self, network: &NetworkRow) -> bool {
        self.is_admin || network.project_id == self.project_id || network.shared || network.external
    }
}

/// A newer want of the server has been heard.
fn stale(message: String) -> NetworkError {
    NetworkError::new(Kind::Stale, "StaleGeneration", message)
}

/// What of a request is to be used, if it can be.
pub(crate) fn validate(
    work: &mut Work<'_>,
    asker: &Asker,
    request: &Validate,
) -> Outcome<Validated> {
    let mut nics = Vec::new();
    for nic in &request.nics {
        let resolved = resolve(work, asker, nic, None)?;
        if let Some((network, address)) =
            resolved.as_ref().and_then(|nic| nic.network.zip(nic.fixed_ip))
        {
            check_free(work.txn, network, address)?;
        }
        nics.extend(resolved);
    }
    let to_make = nics.iter().filter(|nic| nic.port.is_none()).count();
    if to_make > 0 {
        quotas::check(work, &asker.project_id, Resource::Port, to_make)?;
    }
    let groups = groups(work, &asker.project_id, &request.security_groups)?;
    let security_groups = groups.into_iter().map(|group| group.name).collect();
    Ok(Validated { nics, security_groups })
}

/// The request with its network filled in; `None` if it asks for any network and there is none.
fn resolve(
    work: &Work<'_>,
    asker: &Asker,
    nic: &NicRequest,
    server: Option<Uuid>,
) -> Outcome<Option<NicRequest>> {
    if let Some(port) = nic.port {
        let port = usable_port(work.txn, asker, port, server)?;
        return Ok(Some(NicRequest { network: Some(port.network), ..nic.clone() }));
    }
    let network = match nic.network {
        Some(id) => networks::of(work.txn, id)?,
        None => match only_network(work.txn, asker)? {
            Some(network) => network,
            None => return Ok(None),
        },
    };
    if !asker.sees(&network) {
        return Err(l2::network_not_found(network.id));
    }
    if network.external && !network.shared && !asker.is_admin {
        return Err(NetworkError::new(
            Kind::Forbidden,
            "ExternalNetworkAttachForbidden",
            format!("It is not allowed to create an interface on external network {}", network.id),
        ));
    }
    check_subnets(work.txn, &network, nic.fixed_ip)?;
    Ok(Some(NicRequest { network: Some(network.id), ..nic.clone() }))
}

/// The one network that a project can mean when it names none.
fn only_network(txn: &Txn, asker: &Asker) -> Outcome<Option<NetworkRow>> {
    let mut found = txn.find::<NetworkRow>("project", &asker.project_id)?;
    let public = txn.find::<NetworkRow>("public", "yes")?;
    found.extend(public.into_iter().filter(|row| row.shared && row.project_id != asker.project_id));
    found.retain(|row| row.admin_state_up && (!row.external || row.shared));
    match (found.pop(), found.is_empty()) {
        (Some(network), true) => Ok(Some(network)),
        (None, _) => Ok(None),
        (Some(_), false) => Err(NetworkError::new(
            Kind::Conflict,
            "NetworkAmbiguous",
            "Multiple possible networks found, use a Network ID to be more specific.",
        )),
    }
}

fn check_subnets(txn: &Txn, network: &NetworkRow, fixed: Option<IpAddr>) -> Outcome<()> {
    let subnets = subnets::on(txn, network.id)?;
    if subnets.is_empty() {
        return Err(NetworkError::new(
            Kind::Invalid,
            "NetworkRequiresSubnet",
            format!("Network {} requires a subnet in order to boot instances on.", network.id),
        ));
    }
    match fixed {
        Some(address) if !subnets.iter().any(|subnet| subnet.cidr.contains(&address)) => {
            Err(l2::invalid_ip_for_network(address))
        }
        _ => Ok(()),
    }
}

/// Refuses an address that is given already. The port that is made later is refused it in any case; this says so
/// before there is a server.
fn check_free(txn: &Txn, network: Uuid, address: IpAddr) -> Outcome<()> {
    for subnet in subnets::on(txn, network)? {
        let Some(given) = txn.get::<AllocationRow>(&AllocationRow::key_of(subnet.id, address))?
        else {
            continue;
        };
        let port = txn.get::<PortRow>(&given.port.to_string())?;
        let holder = match port.map(|port| port.device_id).filter(|device| !device.is_empty()) {
            Some(device) => format!("on instance {device}"),
            None => format!("by port {}", given.port),
        };
        return Err(NetworkError::new(
            Kind::Invalid,
            "FixedIpAlreadyInUse",
            format!("Fixed IP address {address} is already in use {holder}."),
        ));
    }
    Ok(())
}

/// The user's own port, if the server may have it.
fn usable_port(txn: &Txn, asker: &Asker, id: Uuid, server: Option<Uuid>) -> Outcome<PortRow> {
    let port = ports::get(txn, &id.to_string())?;
    if !asker.is_admin && port.project_id != asker.project_id {
        return Err(l2::port_not_found(id));
    }
    let own = server.is_some_and(|server| port.device_id == server.to_string());
    if !port.device_id.is_empty() && !own {
        return Err(l2::port_in_use(id, port.network, &port.device_id));
    }
    if port.fixed_ips.is_empty() {
        return Err(NetworkError::new(
            Kind::Invalid,
            "PortRequiresFixedIP",
            format!("Port {id} requires a FixedIP in order to be used."),
        ));
    }
    Ok(port)
}

/// The groups that a project names by id or name.
fn groups(work: &mut Work<'_>, project_id: &str, named: &[String]) -> Outcome<Vec<GroupRow>> {
    let mut groups = Vec::new();
    if named.is_empty() {
        return Ok(groups);
    }
    security::ensure_default(work, project_id)?;
    let own = work.txn.find::<GroupRow>("project", project_id)?;
    for name in named {
        let mut matching =
            own.iter().filter(|group| group.id.to_string() == *name || group.name == *name);
        match (matching.next(), matching.next()) {
            (Some(group), None) => groups.push(group.clone()),
            (None, _) => return Err(refusals::group_not_found(name)),
            (Some(_), Some(_)) => {
                return Err(NetworkError::new(
                    Kind::Conflict,
                    "NoUniqueMatch",
                    format!(
                        "Multiple security groups found matching '{name}'. Use an ID to be more \
                         specific."
                    ),
                ));
            }
        }
    }
    Ok(groups)
}

/// Gives a server its ports on its host: makes what is missing, moves what is elsewhere, lets go of what is
/// no longer asked for.
pub(crate) fn allocate(
    work: &mut Work<'_>,
    asker: &Asker,
    request: &Allocate,
) -> Outcome<Vec<PortInfo>> {
    fence(work, request)?;
    let known = allocated(work.txn, request.server)?;
    let taken = taken_from(work.txn, request.server)?;
    let mut wanted = BTreeSet::new();
    for nic in request.nics.iter().filter(|nic| !taken.contains(&nic.index)) {
        let had = known.iter().find(|port| index(port) == Some(nic.index));
        let port = match (had, nic.port) {
            (Some(port), None) => Some(bind(work, request, nic.index, port)?),
            (Some(port), Some(id)) if port.id == id => Some(bind(work, request, nic.index, port)?),
            (_, Some(id)) => {
                let port = usable_port(work.txn, asker, id, Some(request.server))?;
                Some(bind(work, request, nic.index, &port)?)
            }
            (None, None) => make(work, asker, request, nic)?,
        };
        wanted.extend(port.map(|port| port.id));
    }
    for port in known.iter().filter(|port| !wanted.contains(&port.id)) {
        let_go(work, port)?;
    }
    infos(work.txn, request.server)
}

/// Refuses what comes late, and remembers what has come.
fn fence(work: &mut Work<'_>, request: &Allocate) -> Outcome<()> {
    let known = work.txn.get::<DeviceRow>(&request.server.to_string())?;
    let now_known = DeviceRow::asked(known.as_ref(), request).map_err(|known| {
        stale(format!(
            "server {}: generation {} of host {} is older than generation {known}",
            request.server, request.generation, request.host
        ))
    })?;
    if known.as_ref() != Some(&now_known) {
        work.txn.put(&now_known)?;
    }
    Ok(())
}

/// The ports that a server has through its interfaces, by index.
pub(crate) fn allocated(txn: &Txn, server: Uuid) -> Outcome<Vec<PortRow>> {
    let mut ports = txn.find::<PortRow>("server", &server.to_string())?;
    ports.retain(|port| {
        port.is_present() && port.nic.as_ref().is_some_and(|nic| nic.server == server)
    });
    ports.sort_by_key(index);
    Ok(ports)
}

/// The interfaces that clients have taken from a server whose compute service does not know yet.
fn taken_from(txn: &Txn, server: Uuid) -> Outcome<BTreeSet<u32>> {
    let ports = txn.find::<PortRow>("server", &server.to_string())?;
    let taken = ports.into_iter().flat_map(|port| port.taken_from);
    Ok(taken.filter(|nic| nic.server == server).map(|nic| nic.index).collect())
}

fn index(port: &PortRow) -> Option<u32> {
    port.nic.as_ref().map(|nic| nic.index)
}

/// What neutron calls a guest's ports: by their availability zone.
fn device_owner(work: &Work<'_>) -> String {
    format!("{}{}", crate::rows::owner::COMPUTE_PREFIX, work.config.availability_zone)
}

fn bind(work: &mut Work<'_>, request: &Allocate, index: u32, old: &PortRow) -> Outcome<PortRow> {
    let new = old.bound(request, index, device_owner(work));
    ports::put(work, old, new)
}

fn make(
    work: &mut Work<'_>,
    asker: &Asker,
    request: &Allocate,
    wanted: &NicRequest,
) -> Outcome<Option<PortRow>> {
    let Some(resolved) = resolve(work, asker, wanted, Some(request.server))? else {
        return Ok(None);
    };
    let Some(network) = resolved.network else { return Ok(None) };
    let network = networks::of(work.txn, network)?;
    let groups = groups(work, &request.project_id, &request.security_groups)?;
    let groups: Vec<String> = groups.iter().map(|group| group.id.to_string()).collect();
    let at = |address| vec![FixedRequest { subnet: None, address: Some(address) }];
    let new = NewPort {
        device_id: request.server.to_string(),
        device_owner: device_owner(work),
        fixed_ips: wanted.fixed_ip.map(at),
        security_groups: Some(groups).filter(|groups| !groups.is_empty()),
        host: Some(request.host.clone()),
        nic: Some(Nic::asked(request, wanted.index, true)),
        ..NewPort::of(&request.project_id)
    };
    ports::create(work, &network, new).map(Some)
}

/// Lets go of a port that its server needs no longer: one made for it is deleted, the user's own is unbound.
fn let_go(work: &mut Work<'_>, port: &PortRow) -> Outcome<()> {
    if port.nic.as_ref().is_some_and(|nic| nic.made) {
        return ports::discard(work, port);
    }
    ports::put(work, port, port.unbound()).map(drop)
}

/// Lets go of all ports of a server; says whether every host has confirmed that nothing of them is left.
pub(crate) fn release(work: &mut Work<'_>, request: &Release) -> Outcome<bool> {
    let key = request.server.to_string();
    let known = work.txn.get::<DeviceRow>(&key)?;
    let now_known = DeviceRow::released(known.as_ref(), request, work.now);
    if known.as_ref() != Some(&now_known) {
        work.txn.put(&now_known)?;
    }
    for port in allocated(work.txn, request.server)? {
        let_go(work, &port)?;
    }
    Ok(work.txn.find_page::<PortRow>("server", &key, None, 1)?.is_empty())
}

/// The ports of a server that was taken from a host wait for that host no longer; says whether none of them does.
pub(crate) fn leave(work: &mut Work<'_>, request: &LeaveHost) -> Outcome<bool> {
    let mut all = true;
    for port in allocated(work.txn, request.server)? {
        match left(&port, &request.host) {
            None => all = false,
            Some(new) if new != port => drop(ports::put(work, &port, new)?),
            Some(_) => {}
        }
    }
    Ok(all)
}

/// A server's ports, as the compute service needs them.
pub(crate) fn infos(txn: &Txn, server: Uuid) -> Outcome<Vec<PortInfo>> {
    allocated(txn, server)?.iter().map(|port| info(txn, port)).collect()
}

fn info(txn: &Txn, port: &PortRow) -> Outcome<PortInfo> {
    let network = networks::of(txn, port.network)?;
    let floating = txn.find::<FloatingIpRow>("port", &port.id.to_string())?;
    let leading_to =
        |address| floating.iter().find(|row| row.fixed == Some(address)).map(|row| row.address);
    let facts = dhcp::port_facts(txn, port)?;
    Ok(info_of(port, &facts, &network.name, network.mtu, leading_to))
}
