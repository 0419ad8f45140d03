//! Security groups and their rules.

use std::fmt::Display;

use uuid::Uuid;

use super::{Kind, NetworkError};

fn conflict(name: &'static str, message: impl Into<String>) -> NetworkError {
    NetworkError::new(Kind::Conflict, name, message)
}

fn invalid(name: &'static str, message: impl Into<String>) -> NetworkError {
    NetworkError::new(Kind::Invalid, name, message)
}

pub(crate) fn group_not_found(id: impl Display) -> NetworkError {
    NetworkError::new(
        Kind::NotFound,
        "SecurityGroupNotFound",
        format!("Security group {id} does not exist"),
    )
}

pub(crate) fn rule_not_found(id: impl Display) -> NetworkError {
    NetworkError::new(
        Kind::NotFound,
        "SecurityGroupRuleNotFound",
        format!("Security group rule {id} does not exist"),
    )
}

pub(crate) fn group_in_use(id: Uuid) -> NetworkError {
    conflict("SecurityGroupInUse", format!("Security Group {id} in use."))
}

pub(crate) fn cannot_remove_default() -> NetworkError {
    conflict(
        "SecurityGroupCannotRemoveDefault",
        "Insufficient rights for removing default security group.",
    )
}

pub(crate) fn cannot_update_default() -> NetworkError {
    conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
}

pub(crate) fn default_exists() -> NetworkError {
    conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
}

pub(crate) fn rule_exists(id: Uuid) -> NetworkError {
    conflict(
        "SecurityGroupRuleExists",
        format!("Security group rule already exists. Rule id is {id}."),
    )
}

pub(crate) fn duplicate_in_post() -> NetworkError {
    conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")
}

pub(crate) fn not_single_group() -> NetworkError {
    invalid(
        "SecurityGroupNotSingleGroupRules",
        "Only allowed to update rules for one security profile at a time",
    )
}

pub(crate) fn invalid_protocol(protocol: impl Display, known: &str) -> NetworkError {
    invalid(
        "SecurityGroupRuleInvalidProtocol",
        format!(
            "Security group rule protocol {protocol} not supported. Only protocol values {known} \
             and integer representations [0 to 255] are supported."
        ),
    )
}

pub(crate) fn invalid_ethertype(ethertype: impl Display) -> NetworkError {
    invalid(
        "SecurityGroupRuleInvalidEtherType",
        format!(
            "Security group rule for ethertype '{ethertype}' not supported. Allowed values are \
             ['IPv4', 'IPv6']."
        ),
    )
}

pub(crate) fn invalid_port(port: impl Display) -> NetworkError {
    invalid("SecurityGroupInvalidPortValue", format!("Invalid value for port {port}"))
}

pub(crate) fn invalid_port_range() -> NetworkError {
    invalid(
        "SecurityGroupInvalidPortRange",
        "For TCP/UDP protocols, port_range_min must be <= port_range_max",
    )
}

pub(crate) fn invalid_icmp(field: &str, attribute: &str, value: u16) -> NetworkError {
    invalid(
        "SecurityGroupInvalidIcmpValue",
        format!("Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255."),
    )
}

pub(crate) fn missing_icmp_type(code: u16) -> NetworkError {
    invalid(
        "SecurityGroupMissingIcmpType",
        format!(
            "ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing."
        ),
    )
}

pub(crate) fn protocol_without_ports(protocol: impl Display) -> NetworkError {
    invalid(
        "SecurityGroupInvalidProtocolForPort",
        format!(
            "Ports cannot be specified for protocol {protocol}. Ports are only supported for \
             DCCP, SCTP, TCP, UDP, UDPLITE."
        ),
    )
}

pub(crate) fn protocol_required() -> NetworkError {
    invalid(
        "SecurityGroupProtocolRequiredWithPorts",
        "Must also specify protocol if port range is given.",
    )
}

pub(crate) fn ethertype_conflict(ethertype: &str, protocol: &str) -> NetworkError {
    invalid(
        "SecurityGroupEthertypeConflictWithProtocol",
        format!("Invalid ethertype {ethertype} for protocol {protocol}."),
    )
}

pub(crate) fn several_remotes() -> NetworkError {
    invalid(
        "SecurityGroupMultipleRemoteEntites",
        "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be \
         provided.",
    )
}

pub(crate) fn prefix_conflict(ethertype: &str, cidr: impl Display) -> NetworkError {
    invalid(
        "SecurityGroupRuleParameterConflict",
        format!("Conflicting value ethertype {ethertype} for CIDR {cidr}"),
    )
}

pub(crate) fn invalid_cidr(text: impl Display) -> NetworkError {
    invalid("InvalidCIDR", format!("Invalid CIDR {text} given as IP prefix."))
}

pub(crate) fn groups_without_security() -> NetworkError {
    invalid(
        "PortSecurityAndIPRequiredForSecurityGroups",
        "Port security must be enabled and port must have an IP address in order to use security \
         groups.",
    )
}

pub(crate) fn port_has_groups() -> NetworkError {
    conflict(
        "PortSecurityPortHasSecurityGroup",
        "Port has security group associated. Cannot disable port security or IP address until \
         security group is removed.",
    )
}
