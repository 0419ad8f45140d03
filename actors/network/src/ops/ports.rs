//! Ports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use updraft_protocol::compute::Goal;
use updraft_runtime::store::{StoreError, Txn};
use updraft_runtime::{
    planted::{Bug, is_planted},
    sometimes,
};
use uuid::Uuid;

use super::{
    dhcp, filters, fixed,
    fixed::{FixedRequest, Holder},
    floatingips, overlays, quotas, routers, routing, security,
};
use crate::{
    error::security as refusals,
    error::{Outcome, l2},
    ipam,
    plan::port::converge,
    rows::{
        AddressPair, DhcpRow, Fixed, NetworkRow, Nic, PortRow, PortStatus, Resource, RouterRow,
        Standard, owner, parse_id,
    },
    work::Work,
};

/// How often a free MAC address is looked for at random: two of 16 million seldom meet.
const MAC_TRIES_MAX: usize = 16;

/// A port to be made. What is `None` is for the service to choose.
#[derive(Clone)]
pub(crate) struct NewPort {
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) mac_address: Option<String>,
    pub(crate) fixed_ips: Option<Vec<FixedRequest>>,
    pub(crate) admin_state_up: bool,
    pub(crate) device_id: String,
    pub(crate) device_owner: String,
    pub(crate) security_groups: Option<Vec<String>>,
    pub(crate) port_security_enabled: Option<bool>,
    pub(crate) allowed_address_pairs: Vec<AddressPair>,
    pub(crate) vnic_type: String,
    pub(crate) profile: Map<String, Value>,
    pub(crate) host: Option<String>,
    pub(crate) nic: Option<Nic>,
}

impl NewPort {
    /// A port of this project of which nothing else is said.
    pub(crate) fn of(project_id: &str) -> Self {
        Self {
            project_id: project_id.to_owned(),
            name: String::new(),
            description: Some(String::new()),
            mac_address: None,
            fixed_ips: None,
            admin_state_up: true,
            device_id: String::new(),
            device_owner: String::new(),
            security_groups: None,
            port_security_enabled: None,
            allowed_address_pairs: Vec::new(),
            vnic_type: "normal".to_owned(),
            profile: Map::new(),
            host: None,
            nic: None,
        }
    }
}

/// The port that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<PortRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<PortRow>(id)?,
        None => None,
    };
    row.filter(PortRow::is_present).ok_or_else(|| l2::port_not_found(id))
}

/// The ports of a network.
pub(crate) fn on(txn: &Txn, network: Uuid) -> Result<Vec<PortRow>, StoreError> {
    txn.find("network", &network.to_string())
}

/// The ports of a device.
pub(crate) fn of_device(txn: &Txn, device: &str) -> Result<Vec<PortRow>, StoreError> {
    txn.find("device", device)
}

/// Makes a port for a user or a server.
pub(crate) fn create(work: &mut Work<'_>, network: &NetworkRow, new: NewPort) -> Outcome<PortRow> {
    quotas::check(work, &new.project_id, Resource::Port, 1)?;
    check_router_device(work, &new.device_owner, &new.device_id, &new.project_id)?;
    let id = work.id();
    let mac_address = mac_address(work, network.id, new.mac_address.as_deref())?;
    let holder = Holder {
        port: id,
        network: network.id,
        mac_address: &mac_address,
        device_owner: &new.device_owner,
    };
    let fixed_ips = fixed::allocate(work, &holder, new.fixed_ips.as_deref())?;
    let trusted = new.device_owner.starts_with(owner::NETWORK_PREFIX);
    let secured = match new.port_security_enabled {
        _ if trusted => false,
        Some(enabled) => enabled,
        None if !fixed_ips.is_empty() && new.security_groups.is_some() => true,
        None => network.port_security_enabled,
    };
    let security_groups = groups_of_new(work, &new, trusted, secured)?;
    let row = PortRow {
        project_id: new.project_id,
        name: new.name,
        fixed_ips,
        admin_state_up: new.admin_state_up,
        device_id: new.device_id,
        device_owner: new.device_owner,
        security_groups,
        port_security_enabled: secured,
        allowed_address_pairs: new.allowed_address_pairs,
        vnic_type: new.vnic_type,
        profile: new.profile,
        status: PortStatus::Down,
        standard: Standard::new(new.description, work.now),
        host: new.host,
        nic: new.nic,
        ..blank(work, network, id, mac_address)
    };
    insert(work, &row)
}

fn groups_of_new(
    work: &mut Work<'_>,
    new: &NewPort,
    trusted: bool,
    secured: bool,
) -> Outcome<BTreeSet<Uuid>> {
    let asked = new.security_groups.as_deref();
    if !new.allowed_address_pairs.is_empty() && !secured {
        return Err(crate::error::NetworkError::new(
            crate::error::Kind::Conflict,
            "AddressPairAndPortSecurityRequired",
            "Port Security must be enabled in order to have allowed address pairs on a port.",
        ));
    }
    match asked {
        _ if trusted => Ok(BTreeSet::new()),
        Some(groups) if !secured && !groups.is_empty() => Err(refusals::groups_without_security()),
        Some(groups) => security::groups_for(work.txn, groups, &new.project_id),
        None if secured => {
            let default = security::ensure_default(work, &new.project_id)?;
            Ok(BTreeSet::from([default.id]))
        }
        None => Ok(BTreeSet::new()),
    }
}

/// A port that the network service makes for itself; the caller fills in whose and what for.
pub(crate) fn infrastructure(
    work: &mut Work<'_>,
    network: &NetworkRow,
    id: Uuid,
) -> Outcome<PortRow> {
    let mac_address = mac_address(work, network.id, None)?;
    Ok(PortRow { status: PortStatus::Active, ..blank(work, network, id, mac_address) })
}

fn blank(work: &Work<'_>, network: &NetworkRow, id: Uuid, mac_address: String) -> PortRow {
    PortRow {
        id,
        project_id: String::new(),
        name: String::new(),
        network: network.id,
        mac_address,
        fixed_ips: Vec::new(),
        admin_state_up: true,
        device_id: String::new(),
        device_owner: String::new(),
        security_groups: BTreeSet::new(),
        port_security_enabled: false,
        allowed_address_pairs: Vec::new(),
        vnic_type: "normal".to_owned(),
        profile: Map::new(),
        status: PortStatus::Down,
        standard: Standard::new(Some(String::new()), work.now),
        goal: Goal::Present,
        host: None,
        nic: None,
        taken_from: Vec::new(),
        generation: 0,
        bindings: BTreeMap::new(),
        told_generation: 0,
        floating_changes: 0,
        floating_told: 0,
        trace: work.trace,
    }
}

/// The MAC address asked for, or a free one at random.
fn mac_address(work: &mut Work<'_>, network: Uuid, asked: Option<&str>) -> Outcome<String> {
    let taken = |work: &Work<'_>, mac: &str| {
        work.txn.find_one::<PortRow>("mac", &format!("{network}/{mac}")).map(|row| row.is_some())
    };
    if let Some(mac) = asked {
        return match taken(work, mac)? {
            true => Err(l2::mac_address_in_use(network, mac)),
            false => Ok(mac.to_owned()),
        };
    }
    for _ in 0..MAC_TRIES_MAX {
        let mac = ipam::random_mac(&mut work.rng).to_string();
        if !taken(work, &mac)? {
            return Ok(mac);
        }
    }
    Err(l2::no_mac_address(network))
}

/// Refuses a port that would pass for an interface of another project's router.
fn check_router_device(
    work: &Work<'_>,
    device_owner: &str,
    device_id: &str,
    project_id: &str,
) -> Outcome<()> {
    if device_owner != owner::ROUTER_INTERFACE || device_id.is_empty() {
        return Ok(());
    }
    match work.txn.get::<RouterRow>(device_id)? {
        Some(router) if router.project_id != project_id => Err(l2::device_not_owned(device_id)),
        _ => Ok(()),
    }
}

fn insert(work: &mut Work<'_>, row: &PortRow) -> Outcome<PortRow> {
    let row = settled(work, row)?;
    work.txn.insert(&row)?;
    Ok(row)
}

/// Writes a port as it should be now, with its wants and status; what a client sees may have changed.
pub(crate) fn put(work: &mut Work<'_>, old: &PortRow, new: PortRow) -> Outcome<PortRow> {
    let mut new = new;
    if new != *old {
        new.standard.touch(work.now);
        new.trace = work.trace;
    }
    let new = settled(work, &new)?;
    if new != *old {
        work.txn.put(&new)?;
        resettle_routers(work, old, &new)?;
    }
    Ok(new)
}

/// A router that stands at the port, or did, is told of the change.
fn resettle_routers(work: &mut Work<'_>, old: &PortRow, new: &PortRow) -> Outcome<()> {
    let mut routers: BTreeSet<Uuid> = BTreeSet::new();
    for port in [old, new].into_iter().filter(|port| port.is_leg()) {
        routers.extend(parse_id(&port.device_id));
    }
    routers.into_iter().try_for_each(|router| routing::settle(work, router))
}

fn settled(work: &mut Work<'_>, row: &PortRow) -> Outcome<PortRow> {
    let facts = dhcp::port_facts(work.txn, row)?;
    let row = converge(row, &facts, work.now);
    ensure_host_rows(work.txn, &row)?;
    Ok(row)
}

/// Makes the rows by which the agents of the port's hosts will hear of its leases, its security groups and its
/// network's tunnel.
pub(crate) fn ensure_host_rows(txn: &mut Txn, row: &PortRow) -> Result<(), StoreError> {
    filters::ensure_rows(txn, row)?;
    overlays::ensure_rows(txn, row)?;
    for host in row.bindings.keys() {
        if txn.get::<DhcpRow>(&DhcpRow::key_of(row.network, host))?.is_none() {
            txn.insert(&DhcpRow::new(row.network, host))?;
        }
    }
    Ok(())
}

/// What a client changes of a port.
#[derive(Default)]
pub(crate) struct PortChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) admin_state_up: Option<bool>,
    pub(crate) mac_address: Option<String>,
    pub(crate) fixed_ips: Option<Vec<FixedRequest>>,
    pub(crate) device_id: Option<String>,
    pub(crate) device_owner: Option<String>,
    pub(crate) security_groups: Option<Vec<String>>,
    pub(crate) port_security_enabled: Option<bool>,
    pub(crate) allowed_address_pairs: Option<Vec<AddressPair>>,
    pub(crate) vnic_type: Option<String>,
    pub(crate) profile: Option<Map<String, Value>>,
    pub(crate) host: Option<Option<String>>,
}

/// Changes a port.
pub(crate) fn update(work: &mut Work<'_>, old: &PortRow, change: PortChange) -> Outcome<PortRow> {
    let mut new = old.clone();
    change.name.into_iter().for_each(|name| new.name = name);
    change.description.into_iter().for_each(|text| new.standard.description = text);
    change.admin_state_up.into_iter().for_each(|up| new.admin_state_up = up);
    change.device_id.into_iter().for_each(|device| new.device_id = device);
    change.device_owner.into_iter().for_each(|owner| new.device_owner = owner);
    change.vnic_type.into_iter().for_each(|vnic_type| new.vnic_type = vnic_type);
    change.profile.into_iter().for_each(|profile| new.profile = profile);
    change.host.into_iter().for_each(|host| new.host = host);
    change.allowed_address_pairs.into_iter().for_each(|pairs| new.allowed_address_pairs = pairs);
    check_router_device(work, &new.device_owner, &new.device_id, &new.project_id)?;
    if let Some(mac) = change.mac_address.filter(|mac| *mac != old.mac_address) {
        if new.is_infrastructure() {
            return Err(l2::mac_update_unsupported(old.id, &new.device_owner));
        }
        new.mac_address = mac_address(work, old.network, Some(&mac))?;
    }
    if let Some(requests) = change.fixed_ips {
        readdress(work, &mut new, &requests)?;
    }
    regroup(work, &mut new, change.port_security_enabled, change.security_groups.as_deref())?;
    if new.device_id != old.device_id && new.nic.is_some() && new.device_id.is_empty() {
        new.taken_from.extend(new.nic.take());
        new.host = None;
    }
    put(work, old, new)
}

/// Gives a port other addresses, unless a floating IP needs those it has.
fn readdress(work: &mut Work<'_>, port: &mut PortRow, requests: &[FixedRequest]) -> Outcome<()> {
    let holder = Holder {
        port: port.id,
        network: port.network,
        mac_address: &port.mac_address,
        device_owner: &port.device_owner,
    };
    let fixed_ips = fixed::reallocate(work, &holder, &port.fixed_ips, requests)?;
    floatingips::check_kept(work.txn, port.id, &fixed_ips)?;
    port.fixed_ips = fixed_ips;
    Ok(())
}

fn regroup(
    work: &mut Work<'_>,
    port: &mut PortRow,
    secured: Option<bool>,
    groups: Option<&[String]>,
) -> Outcome<()> {
    let secured = secured.unwrap_or(port.port_security_enabled);
    match groups {
        Some(groups) if !groups.is_empty() && !secured => {
            return Err(refusals::groups_without_security());
        }
        Some(groups) => {
            port.security_groups = security::groups_for(work.txn, groups, &port.project_id)?;
        }
        None if !secured && port.port_security_enabled && !port.security_groups.is_empty() => {
            return Err(refusals::port_has_groups());
        }
        None => {}
    }
    port.port_security_enabled = secured;
    Ok(())
}

/// Takes a port's addresses of a subnet that goes.
pub(crate) fn drop_subnet(work: &mut Work<'_>, port: &PortRow, subnet: Uuid) -> Outcome<()> {
    let (gone, fixed_ips): (Vec<Fixed>, Vec<Fixed>) =
        port.fixed_ips.iter().cloned().partition(|fixed| fixed.subnet == subnet);
    fixed::release_all(work, port.id, &gone)?;
    let new = PortRow { fixed_ips, ..port.clone() };
    put(work, port, new).map(drop)
}

/// Deletes a port that a client names, unless it is part of something else.
pub(crate) fn delete(work: &mut Work<'_>, port: &PortRow) -> Outcome<()> {
    if routers::needs(work.txn, port)? {
        return Err(l2::service_port_in_use(port.id, &port.device_owner));
    }
    end(work, port, port.nic.clone())?;
    if port.device_owner == owner::DHCP {
        let network = super::networks::of(work.txn, port.network)?;
        dhcp::refresh_port(work, &network)?;
    }
    Ok(())
}

/// Lets a port go that its owner needs no longer.
pub(crate) fn discard(work: &mut Work<'_>, port: &PortRow) -> Outcome<()> {
    end(work, port, None)
}

/// Lets a port go: at once if no host has anything of it and no server is to be told, otherwise when all hosts have
/// let go and the server that it is taken from knows.
fn end(work: &mut Work<'_>, port: &PortRow, taken_from: Option<Nic>) -> Outcome<()> {
    floatingips::leave_port(work, port.id)?;
    let is_free = port.bindings.is_empty() && !routing::is_held(work.txn, port)?;
    if is_free && port.taken_from.is_empty() && taken_from.is_none() {
        fixed::release_all(work, port.id, &port.fixed_ips)?;
        work.txn.delete::<PortRow>(&port.id.to_string())?;
        return Ok(());
    }
    sometimes!(true, "a port is deleted while a host has it");
    // Read anew: a floating IP that left has changed it.
    let port = work.txn.get::<PortRow>(&port.id.to_string())?.unwrap_or_else(|| port.clone());
    if is_planted(Bug::AddressGivenTwice) {
        fixed::release_all(work, port.id, &port.fixed_ips)?;
    }
    let mut new = PortRow { goal: Goal::Absent, ..port.clone() };
    new.taken_from.extend(taken_from);
    put(work, &port, new).map(drop)
}
