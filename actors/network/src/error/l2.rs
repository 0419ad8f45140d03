//! Networks, subnets, ports and addresses.

use std::{fmt::Display, net::IpAddr};

use uuid::Uuid;

use super::{Kind, NetworkError};

fn not_found(name: &'static str, message: String) -> NetworkError {
    NetworkError::new(Kind::NotFound, name, message)
}

fn conflict(name: &'static str, message: String) -> NetworkError {
    NetworkError::new(Kind::Conflict, name, message)
}

fn invalid(name: &'static str, message: String) -> NetworkError {
    NetworkError::new(Kind::Invalid, name, message)
}

pub(crate) fn network_not_found(id: impl Display) -> NetworkError {
    not_found("NetworkNotFound", format!("Network {id} could not be found."))
}

pub(crate) fn subnet_not_found(id: impl Display) -> NetworkError {
    not_found("SubnetNotFound", format!("Subnet {id} could not be found."))
}

pub(crate) fn port_not_found(id: impl Display) -> NetworkError {
    not_found("PortNotFound", format!("Port {id} could not be found."))
}

pub(crate) fn agent_not_found(id: impl Display) -> NetworkError {
    not_found("AgentNotFound", format!("Agent {id} could not be found."))
}

pub(crate) fn project_quota_not_found(project_id: &str) -> NetworkError {
    not_found("TenantQuotaNotFound", format!("Quota for project {project_id} could not be found."))
}

pub(crate) fn network_in_use(id: Uuid, ports: &[Uuid]) -> NetworkError {
    let ports: Vec<String> = ports.iter().map(Uuid::to_string).collect();
    conflict(
        "NetworkInUse",
        format!(
            "Unable to complete operation on network {id}. There are one or more ports still in \
             use on the network, id for these ports is: {}.",
            ports.join(",")
        ),
    )
}

pub(crate) fn subnet_in_use(id: Uuid) -> NetworkError {
    conflict(
        "SubnetInUse",
        format!(
            "Unable to complete operation on subnet {id}: One or more ports have an IP \
             allocation from this subnet."
        ),
    )
}

pub(crate) fn port_in_use(id: Uuid, network: Uuid, device: &str) -> NetworkError {
    conflict(
        "PortInUse",
        format!(
            "Unable to complete operation on port {id} for network {network}. Port already has an \
             attached device {device}."
        ),
    )
}

pub(crate) fn service_port_in_use(id: Uuid, owner: &str) -> NetworkError {
    conflict(
        "ServicePortInUse",
        format!("Port {id} cannot be deleted directly via the port API: has device owner {owner}."),
    )
}

pub(crate) fn mac_address_in_use(network: Uuid, mac: &str) -> NetworkError {
    conflict(
        "MacAddressInUse",
        format!(
            "Unable to complete operation for network {network}. The mac address {mac} is in use."
        ),
    )
}

pub(crate) fn no_mac_address(network: Uuid) -> NetworkError {
    NetworkError::new(
        Kind::Unavailable,
        "NetworkMacAddressGenerationFailure",
        format!("Unable to generate unique mac on network {network}."),
    )
}

pub(crate) fn mac_update_unsupported(id: Uuid, owner: &str) -> NetworkError {
    conflict(
        "UnsupportedPortDeviceOwner",
        format!(
            "Operation mac address update is not supported for device_owner {owner} on port {id}."
        ),
    )
}

pub(crate) fn address_allocated(address: IpAddr, subnet: Uuid) -> NetworkError {
    conflict(
        "IpAddressAlreadyAllocated",
        format!("IP address {address} already allocated in subnet {subnet}"),
    )
}

pub(crate) fn no_address_on_network(network: Uuid) -> NetworkError {
    conflict(
        "IpAddressGenerationFailure",
        format!("No more IP addresses available on network {network}."),
    )
}

pub(crate) fn invalid_ip_for_network(address: impl Display) -> NetworkError {
    invalid(
        "InvalidIpForNetwork",
        format!(
            "IP address {address} is not a valid IP for any of the subnets on the specified \
             network."
        ),
    )
}

pub(crate) fn invalid_ip_for_subnet(address: impl Display) -> NetworkError {
    invalid(
        "InvalidIpForSubnet",
        format!("IP address {address} is not a valid IP for the specified subnet."),
    )
}

pub(crate) fn automatic_address_only(address: IpAddr, subnet: Uuid) -> NetworkError {
    invalid(
        "AllocationOnAutoAddressSubnet",
        format!(
            "IPv6 address {address} cannot be directly assigned to a port on subnet {subnet} as \
             the subnet is configured for automatic addresses"
        ),
    )
}

pub(crate) fn invalid_pool(pool: impl Display) -> NetworkError {
    invalid("InvalidAllocationPool", format!("The allocation pool {pool} is not valid."))
}

pub(crate) fn pool_out_of_bounds(pool: impl Display, cidr: impl Display) -> NetworkError {
    invalid(
        "OutOfBoundsAllocationPool",
        format!("The allocation pool {pool} spans beyond the subnet cidr {cidr}."),
    )
}

pub(crate) fn pools_overlap(
    one: impl Display,
    other: impl Display,
    cidr: impl Display,
) -> NetworkError {
    conflict(
        "OverlappingAllocationPools",
        format!("Found overlapping allocation pools: {one} {other} for subnet {cidr}."),
    )
}

pub(crate) fn gateway_in_pool(gateway: IpAddr, pool: impl Display) -> NetworkError {
    conflict(
        "GatewayConflictWithAllocationPools",
        format!("Gateway ip {gateway} conflicts with allocation pool {pool}."),
    )
}

pub(crate) fn gateway_in_use(gateway: IpAddr, port: Uuid) -> NetworkError {
    conflict(
        "GatewayIpInUse",
        format!("Current gateway ip {gateway} already in use by port {port}. Unable to update."),
    )
}

pub(crate) fn name_servers_exhausted(subnet: impl Display, limit: usize) -> NetworkError {
    invalid(
        "DNSNameServersExhausted",
        format!(
            "Unable to complete operation for {subnet}. The number of DNS nameservers exceeds the \
             limit {limit}."
        ),
    )
}

pub(crate) fn host_routes_exhausted(subnet: impl Display, limit: usize) -> NetworkError {
    invalid(
        "HostRoutesExhausted",
        format!(
            "Unable to complete operation for {subnet}. The number of host routes exceeds the \
             limit {limit}."
        ),
    )
}

pub(crate) fn mtu_too_small(network: Uuid, minimum: u32) -> NetworkError {
    conflict(
        "NetworkMTUSubnetConflict",
        format!("MTU of {network} is not valid, subnet requires a minimum of {minimum}"),
    )
}

pub(crate) fn flat_network_in_use(physical_network: &str) -> NetworkError {
    conflict(
        "FlatNetworkInUse",
        format!(
            "Unable to create the flat network. Physical network {physical_network} is in use."
        ),
    )
}

pub(crate) fn vlan_in_use(id: u32, physical_network: &str) -> NetworkError {
    conflict(
        "VlanIdInUse",
        format!(
            "Unable to create the network. The VLAN {id} on physical network {physical_network} \
             is in use."
        ),
    )
}

pub(crate) fn tunnel_in_use(id: u32) -> NetworkError {
    conflict(
        "TunnelIdInUse",
        format!("Unable to create the network. The tunnel ID {id} is in use."),
    )
}

pub(crate) fn no_network_available() -> NetworkError {
    NetworkError::new(
        Kind::Unavailable,
        "NoNetworkAvailable",
        "Unable to create the network. No project network is available for allocation.",
    )
}

pub(crate) fn sharing_in_use(name: &str) -> NetworkError {
    conflict(
        "InvalidSharedSetting",
        format!(
            "Unable to reconfigure sharing settings for network {name}. Multiple projects are \
             using it."
        ),
    )
}

pub(crate) fn external_network_in_use(id: Uuid) -> NetworkError {
    conflict(
        "ExternalNetworkInUse",
        format!(
            "External network {id} cannot be updated to be made non-external, since it has \
             existing gateway ports."
        ),
    )
}

pub(crate) fn device_not_owned(device: &str) -> NetworkError {
    conflict(
        "DeviceIDNotOwnedByTenant",
        format!(
            "The following device_id {device} is not owned by your project or matches another \
             project router."
        ),
    )
}
