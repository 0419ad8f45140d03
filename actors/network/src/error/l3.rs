//! Routers and floating IPs.

use std::{fmt::Display, net::IpAddr};

use uuid::Uuid;

use super::{Kind, NetworkError};

fn not_found(name: &'static str, message: String) -> NetworkError {
    NetworkError::new(Kind::NotFound, name, message)
}

fn conflict(name: &'static str, message: String) -> NetworkError {
    NetworkError::new(Kind::Conflict, name, message)
}

pub(crate) fn router_not_found(id: impl Display) -> NetworkError {
    not_found("RouterNotFound", format!("Router {id} could not be found"))
}

pub(crate) fn router_in_use(id: Uuid, ports: &[Uuid]) -> NetworkError {
    let ports: Vec<String> = ports.iter().map(Uuid::to_string).collect();
    conflict("RouterInUse", format!("Router {id} has ports still attached: {}", ports.join(", ")))
}

pub(crate) fn interface_not_found(router: Uuid, port: impl Display) -> NetworkError {
    not_found(
        "RouterInterfaceNotFound",
        format!("Router {router} does not have an interface with id {port}"),
    )
}

pub(crate) fn interface_not_found_for_subnet(router: Uuid, subnet: impl Display) -> NetworkError {
    not_found(
        "RouterInterfaceNotFoundForSubnet",
        format!("Router {router} has no interface on subnet {subnet}"),
    )
}

pub(crate) fn subnet_mismatch(port: Uuid, subnet: impl Display) -> NetworkError {
    NetworkError::new(
        Kind::Invalid,
        "SubnetMismatchForPort",
        format!("Subnet on port {port} does not match the requested subnet {subnet}."),
    )
}

pub(crate) fn interface_in_use(router: Uuid, subnet: Uuid) -> NetworkError {
    conflict(
        "RouterInterfaceInUseByFloatingIP",
        format!(
            "Router interface for subnet {subnet} on router {router} cannot be deleted, as it is \
             required by one or more floating IPs."
        ),
    )
}

pub(crate) fn interface_in_use_by_route(router: Uuid, subnet: Uuid) -> NetworkError {
    conflict(
        "RouterInterfaceInUseByRoute",
        format!(
            "Router interface for subnet {subnet} on router {router} cannot be deleted, as it is \
             required by one or more routes."
        ),
    )
}

pub(crate) fn gateway_in_use(router: Uuid, network: Uuid) -> NetworkError {
    conflict(
        "RouterExternalGatewayInUseByFloatingIp",
        format!(
            "Gateway cannot be updated for router {router}, since a gateway to external network \
             {network} is required by one or more floating IPs."
        ),
    )
}

pub(crate) fn invalid_routes(routes: impl Display, reason: &str) -> NetworkError {
    NetworkError::new(
        Kind::Invalid,
        "InvalidRoutes",
        format!("Invalid format for routes: {routes}, {reason}"),
    )
}

pub(crate) fn routes_exhausted(router: Uuid, limit: usize) -> NetworkError {
    NetworkError::new(
        Kind::Invalid,
        "RoutesExhausted",
        format!(
            "Unable to complete operation for {router}. The number of routes exceeds the maximum \
             {limit}."
        ),
    )
}

pub(crate) fn floating_ip_not_found(id: impl Display) -> NetworkError {
    not_found("FloatingIPNotFound", format!("Floating IP {id} could not be found"))
}

pub(crate) fn no_gateway_for_floating_ip(network: Uuid, subnet: Uuid, port: Uuid) -> NetworkError {
    not_found(
        "ExternalGatewayForFloatingIPNotFound",
        format!(
            "External network {network} is not reachable from subnet {subnet}.  Therefore, cannot \
             associate Port {port} with a Floating IP."
        ),
    )
}

pub(crate) fn already_associated(
    floating: IpAddr,
    id: Uuid,
    port: Uuid,
    fixed: IpAddr,
    network: Uuid,
) -> NetworkError {
    conflict(
        "FloatingIPPortAlreadyAssociated",
        format!(
            "Cannot associate floating IP {floating} ({id}) with port {port} using fixed IP \
             {fixed}, as that fixed IP already has a floating IP on external network {network}."
        ),
    )
}

pub(crate) fn no_external_address(network: Uuid) -> NetworkError {
    NetworkError::new(
        Kind::Invalid,
        "ExternalIpAddressExhausted",
        format!("Unable to find any IP address on external network {network}."),
    )
}
