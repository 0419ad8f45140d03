//! Subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use super::{dhcp, ports, quotas, save};
use crate::{
    error::{NetworkError, Outcome, invalid_input, l2},
    ipam::{self, Pool},
    rows::{AddressMode, NetworkRow, PortRow, Resource, Standard, SubnetRow, owner, parse_id},
    work::Work,
};

/// Smallest largest packet that IPv4 and IPv6 work with, in bytes.
const MTU_MIN: [(u8, u32); 2] = [(4, 68), (6, 1_280)];

/// A subnet to be made. What is `None` is for the service to choose.
pub(crate) struct NewSubnet {
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) ip_version: u8,
    pub(crate) cidr: IpNet,
    pub(crate) gateway: Option<Option<IpAddr>>,
    pub(crate) pools: Option<Vec<Pool>>,
    pub(crate) enable_dhcp: bool,
    pub(crate) dns_servers: Vec<IpAddr>,
    pub(crate) host_routes: Vec<(IpNet, IpAddr)>,
    pub(crate) ipv6_ra_mode: Option<AddressMode>,
    pub(crate) ipv6_address_mode: Option<AddressMode>,
}

/// The subnet that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<SubnetRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<SubnetRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| l2::subnet_not_found(id))
}

/// The subnets of a network.
pub(crate) fn on(txn: &Txn, network: Uuid) -> Result<Vec<SubnetRow>, StoreError> {
    txn.find("network", &network.to_string())
}

/// Makes a subnet.
pub(crate) fn create(
    work: &mut Work<'_>,
    network: &NetworkRow,
    new: NewSubnet,
) -> Outcome<SubnetRow> {
    quotas::check(work, &new.project_id, Resource::Subnet, 1)?;
    let cidr = new.cidr.trunc();
    let gateway = new.gateway.unwrap_or_else(|| Some(ipam::default_gateway(cidr)));
    let row = SubnetRow {
        id: work.id(),
        project_id: new.project_id,
        name: new.name,
        network: network.id,
        cidr,
        gateway,
        pools: new.pools.clone().unwrap_or_else(|| ipam::default_pools(cidr, gateway)),
        enable_dhcp: new.enable_dhcp,
        dns_servers: new.dns_servers,
        host_routes: new.host_routes,
        ipv6_ra_mode: new.ipv6_ra_mode,
        ipv6_address_mode: new.ipv6_address_mode,
        standard: Standard::new(new.description, work.now),
    };
    check_version(new.ip_version, cidr.network().is_ipv4(), "cidr", cidr)?;
    check_modes(&row)?;
    check(work, &row, false, "new subnet")?;
    if new.gateway.is_some() {
        check_gateway(&row)?;
    }
    if let Some(pools) = &new.pools {
        ipam::check_pools(pools, cidr, gateway)?;
    }
    check_mtu(network, new.ip_version)?;
    check_overlap(work, &row)?;
    work.txn.insert(&row)?;
    dhcp::refresh_port(work, network)?;
    Ok(row)
}

fn check_version(
    wanted: u8,
    is_ipv4: bool,
    name: &str,
    value: impl std::fmt::Display,
) -> Outcome<()> {
    if (wanted == 4) == is_ipv4 {
        return Ok(());
    }
    Err(invalid_input(format!("{name} '{value}' does not match the ip_version '{wanted}'")))
}

/// What holds of every subnet, new or changed. `served_before` spares a subnet that has DHCP already.
fn check(work: &Work<'_>, row: &SubnetRow, served_before: bool, name: &str) -> Outcome<()> {
    let cidr = row.cidr;
    if cidr.prefix_len() == 0 {
        return Err(invalid_input("0 is not allowed as CIDR prefix length"));
    }
    if cidr.network().is_unspecified() && row.ip_version() == 6 {
        return Err(invalid_input("IPv6 subnet '::' is not supported"));
    }
    if row.enable_dhcp && !served_before {
        check_dhcp(cidr)?;
    }
    if row.dns_servers.len() > work.config.name_servers_max {
        return Err(l2::name_servers_exhausted(name, work.config.name_servers_max));
    }
    for server in &row.dns_servers {
        check_version(row.ip_version(), server.is_ipv4(), "dns_nameserver", server)?;
    }
    if row.host_routes.len() > work.config.host_routes_max {
        return Err(l2::host_routes_exhausted(name, work.config.host_routes_max));
    }
    for (destination, nexthop) in &row.host_routes {
        check_version(row.ip_version(), nexthop.is_ipv4(), "nexthop", nexthop)?;
        let is_ipv4 = destination.network().is_ipv4();
        check_version(row.ip_version(), is_ipv4, "destination", destination)?;
    }
    Ok(())
}

fn check_dhcp(cidr: IpNet) -> Outcome<()> {
    let too_long = match cidr {
        IpNet::V4(v4) => v4.prefix_len() > 30,
        IpNet::V6(v6) => v6.prefix_len() > 126,
    };
    let first = cidr.network();
    let reason = match () {
        () if too_long => {
            "Subnet has a prefix length that is incompatible with DHCP service enabled"
        }
        () if first.is_multicast() => "Multicast IP subnet is not supported if enable_dhcp is True",
        () if first.is_loopback() => "Loopback IP subnet is not supported if enable_dhcp is True",
        () if first.is_ipv4() && first.is_unspecified() => {
            "First IP '0.0.0.0' of network is not supported if enable_dhcp is True."
        }
        () => return Ok(()),
    };
    Err(invalid_input(reason))
}

fn check_modes(row: &SubnetRow) -> Outcome<()> {
    let modes = [("ipv6_ra_mode", row.ipv6_ra_mode), ("ipv6_address_mode", row.ipv6_address_mode)];
    for (name, mode) in modes {
        if mode.is_some() && row.ip_version() == 4 {
            return Err(invalid_input(format!("{name} is not valid when ip_version is 4")));
        }
    }
    if !row.enable_dhcp && modes.iter().any(|(_, mode)| mode.is_some()) {
        return Err(invalid_input(
            "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False",
        ));
    }
    if let (Some(told), Some(taken)) = (row.ipv6_ra_mode, row.ipv6_address_mode)
        && told != taken
    {
        return Err(invalid_input(format!(
            "ipv6_ra_mode set to '{}' with ipv6_address_mode set to '{}' is not valid. If both \
             attributes are set, they must be the same value",
            told.as_str(),
            taken.as_str()
        )));
    }
    if row.is_automatic() && row.cidr.prefix_len() != 64 {
        return Err(invalid_input(format!(
            "Invalid CIDR {} for IPv6 address mode. OpenStack uses the EUI-64 address format, \
             which requires the prefix to be /64",
            row.cidr
        )));
    }
    Ok(())
}

fn check_gateway(row: &SubnetRow) -> Outcome<()> {
    let Some(gateway) = row.gateway else { return Ok(()) };
    check_version(row.ip_version(), gateway.is_ipv4(), "gateway_ip", gateway)?;
    if ipam::gateway_is_end(row.cidr, gateway) {
        return Err(invalid_input("Gateway is not valid on subnet"));
    }
    Ok(())
}

/// Refuses a network whose packets are too small for a subnet of this version.
pub(crate) fn check_mtu(network: &NetworkRow, ip_version: u8) -> Outcome<()> {
    for (version, minimum) in MTU_MIN {
        if version <= ip_version && network.mtu < minimum {
            return Err(l2::mtu_too_small(network.id, minimum));
        }
    }
    Ok(())
}

fn check_overlap(work: &Work<'_>, row: &SubnetRow) -> Outcome<()> {
    let overlaps = |other: &SubnetRow| {
        other.cidr.contains(&row.cidr.network()) || row.cidr.contains(&other.cidr.network())
    };
    if on(work.txn, row.network)?.iter().any(overlaps) {
        return Err(overlap(row));
    }
    Ok(())
}

fn overlap(row: &SubnetRow) -> NetworkError {
    invalid_input(format!(
        "Requested subnet with cidr: {} for network: {} overlaps with another subnet",
        row.cidr, row.network
    ))
}

/// Changes a subnet to what `new` says.
pub(crate) fn update(work: &mut Work<'_>, old: &SubnetRow, new: SubnetRow) -> Outcome<SubnetRow> {
    check(work, &new, old.enable_dhcp, &old.id.to_string())?;
    let has_modes = old.ipv6_ra_mode.is_some() || old.ipv6_address_mode.is_some();
    if has_modes && !new.enable_dhcp {
        return Err(invalid_input("Cannot disable enable_dhcp with ipv6 attributes set"));
    }
    if new.pools != old.pools {
        ipam::check_pools(&new.pools, new.cidr, None)?;
    }
    if new.gateway != old.gateway {
        check_gateway(&new)?;
        check_gateway_unused(work, old)?;
    }
    if new.pools != old.pools || new.gateway != old.gateway {
        let inside = new.gateway.and_then(|gateway| {
            new.pools.iter().find(|pool| pool.contains(gateway)).map(|pool| (gateway, pool))
        });
        if let Some((gateway, pool)) = inside {
            return Err(l2::gateway_in_pool(gateway, pool));
        }
    }
    let new = save!(work, old, new);
    if new.is_served() != old.is_served() {
        let network = super::networks::of(work.txn, new.network)?;
        dhcp::refresh_port(work, &network)?;
    }
    Ok(new)
}

/// Refuses if a router has the gateway's address.
fn check_gateway_unused(work: &Work<'_>, row: &SubnetRow) -> Outcome<()> {
    let Some(gateway) = row.gateway else { return Ok(()) };
    let has_it = |port: &PortRow| {
        port.device_owner == owner::ROUTER_INTERFACE
            && port.fixed_ips.iter().any(|fixed| fixed.subnet == row.id && fixed.address == gateway)
    };
    match ports::on(work.txn, row.network)?.iter().find(|port| has_it(port)) {
        Some(port) => Err(l2::gateway_in_use(gateway, port.id)),
        None => Ok(()),
    }
}

/// Deletes a subnet, unless a port has an address of it that it could not have got by itself.
pub(crate) fn delete(work: &mut Work<'_>, row: &SubnetRow) -> Outcome<()> {
    for port in ports::on(work.txn, row.network)? {
        if port.fixed_ips.iter().all(|fixed| fixed.subnet != row.id) {
            continue;
        }
        let routes = port.device_owner == owner::ROUTER_INTERFACE;
        if port.device_owner != owner::DHCP && (routes || !row.is_automatic()) {
            return Err(l2::subnet_in_use(row.id));
        }
        if port.device_owner != owner::DHCP {
            ports::drop_subnet(work, &port, row.id)?;
        }
    }
    work.txn.delete::<SubnetRow>(&row.id.to_string())?;
    let network = super::networks::of(work.txn, row.network)?;
    dhcp::refresh_port(work, &network)
}
