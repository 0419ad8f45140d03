//! Rules of security groups.

use std::fmt::Display;

use ipnet::IpNet;
use updraft_runtime::store::Txn;

use super::{quotas, security};
use crate::{
    error::{Outcome, security as refusals},
    rows::{Direction, EtherType, GroupRow, Resource, RuleRow, Standard, parse_id},
    work::Work,
};

/// The protocols that have names, with their numbers, as in neutron.
pub(crate) const PROTOCOLS: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

/// The protocols that have ports.
const WITH_PORTS: [u8; 5] = [33, 132, 6, 17, 136];
/// ICMP for IPv4 and for IPv6.
const ICMP: [u8; 2] = [1, 58];
/// The protocols that are IPv6's alone.
const IPV6_ONLY: [u8; 6] = [41, 44, 58, 59, 60, 43];

/// A rule to be made.
#[derive(Clone)]
pub(crate) struct NewRule {
    pub(crate) project_id: String,
    pub(crate) description: Option<String>,
    pub(crate) direction: Direction,
    pub(crate) ethertype: EtherType,
    pub(crate) protocol: Option<String>,
    pub(crate) port_range_min: Option<u16>,
    pub(crate) port_range_max: Option<u16>,
    pub(crate) remote_ip_prefix: Option<IpNet>,
    pub(crate) remote_group: Option<String>,
}

/// The rule that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<RuleRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<RuleRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| refusals::rule_not_found(id))
}

/// Adds rules to a group, all or none.
pub(crate) fn create(
    work: &mut Work<'_>,
    group: &GroupRow,
    rules: Vec<NewRule>,
) -> Outcome<Vec<RuleRow>> {
    quotas::check(work, &group.project_id, Resource::SecurityGroupRule, rules.len())?;
    let mut known = security::rules_of(work.txn, group.id)?;
    let known_before = known.len();
    for rule in rules {
        let row = checked(work, group, rule)?;
        if let Some(at) = known.iter().position(|other| is_same(other, &row)) {
            return Err(match at < known_before {
                true => refusals::rule_exists(known[at].id),
                false => refusals::duplicate_in_post(),
            });
        }
        work.txn.insert(&row)?;
        known.push(row);
    }
    touch(work, group)?;
    Ok(known.split_off(known_before))
}

/// Deletes a rule.
pub(crate) fn delete(work: &mut Work<'_>, rule: &RuleRow) -> Outcome<()> {
    work.txn.delete::<RuleRow>(&rule.id.to_string())?;
    let group = security::get(work.txn, &rule.group.to_string())?;
    touch(work, &group)
}

/// A group changes with its rules.
fn touch(work: &mut Work<'_>, group: &GroupRow) -> Outcome<()> {
    let mut new = group.clone();
    new.standard.touch(work.now);
    Ok(work.txn.put(&new)?)
}

/// The number of a protocol that a rule names.
pub(super) fn number_of(protocol: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number);
    named.or_else(|| protocol.parse().ok())
}

fn checked(work: &Work<'_>, group: &GroupRow, new: NewRule) -> Outcome<RuleRow> {
    let protocol = new.protocol.map(|protocol| canonical(protocol, new.ethertype));
    let (mut min, mut max) = (new.port_range_min, new.port_range_max);
    if (min, max) == (Some(1), Some(u16::MAX)) {
        // All ports is the same as no ports, and cheaper.
        (min, max) = (None, None);
    }
    check_ports(protocol.as_deref(), min, max)?;
    check_prefix(new.ethertype, new.remote_ip_prefix)?;
    let number = protocol.as_deref().and_then(number_of);
    if let (EtherType::V4, Some(protocol), Some(number)) = (new.ethertype, &protocol, number)
        && IPV6_ONLY.contains(&number)
    {
        return Err(refusals::ethertype_conflict(new.ethertype.as_str(), protocol));
    }
    if new.remote_ip_prefix.is_some() && new.remote_group.is_some() {
        return Err(refusals::several_remotes());
    }
    let remote_group = match &new.remote_group {
        Some(id) => Some(remote(work.txn, id, &new.project_id)?.id),
        None => None,
    };
    Ok(RuleRow {
        id: work.id(),
        project_id: new.project_id,
        group: group.id,
        direction: new.direction,
        ethertype: new.ethertype,
        protocol,
        port_range_min: min,
        port_range_max: max,
        remote_ip_prefix: new.remote_ip_prefix,
        remote_group,
        standard: Standard::new(new.description, work.now),
    })
}

fn remote(txn: &Txn, id: &str, project_id: &str) -> Outcome<GroupRow> {
    let group = security::get(txn, id)?;
    if group.project_id == project_id { Ok(group) } else { Err(refusals::group_not_found(id)) }
}

/// ICMP in IPv6 has a name and a number of its own, which a rule may fail to use.
fn canonical(protocol: String, ethertype: EtherType) -> String {
    match (ethertype, protocol.as_str()) {
        (EtherType::V6, "icmp" | "icmpv6") => "ipv6-icmp".to_owned(),
        (EtherType::V6, "1") => "58".to_owned(),
        _ => protocol,
    }
}

fn check_ports(protocol: Option<&str>, min: Option<u16>, max: Option<u16>) -> Outcome<()> {
    if min.is_none() && max.is_none() {
        return Ok(());
    }
    let Some(protocol) = protocol else { return Err(refusals::protocol_required()) };
    let number = number_of(protocol);
    if number.is_some_and(|number| WITH_PORTS.contains(&number)) {
        return match (min, max) {
            (Some(0), _) | (_, Some(0)) => Err(refusals::invalid_port(0)),
            (Some(min), Some(max)) if min <= max => Ok(()),
            _ => Err(refusals::invalid_port_range()),
        };
    }
    if !number.is_some_and(|number| ICMP.contains(&number)) {
        let shown: &dyn Display = number.as_ref().map_or(&protocol, |number| number);
        return Err(refusals::protocol_without_ports(shown));
    }
    let fields = [("type", "port_range_min", min), ("code", "port_range_max", max)];
    for (field, attribute, value) in fields {
        if let Some(value) = value.filter(|value| *value > 255) {
            return Err(refusals::invalid_icmp(field, attribute, value));
        }
    }
    match (min, max) {
        (None, Some(code)) => Err(refusals::missing_icmp_type(code)),
        _ => Ok(()),
    }
}

fn check_prefix(ethertype: EtherType, prefix: Option<IpNet>) -> Outcome<()> {
    match (ethertype, prefix) {
        (EtherType::V4, Some(IpNet::V6(_))) | (EtherType::V6, Some(IpNet::V4(_))) => {
            let shown = prefix.map(|prefix| prefix.to_string()).unwrap_or_default();
            Err(refusals::prefix_conflict(ethertype.as_str(), shown))
        }
        _ => Ok(()),
    }
}

/// Whether two rules let the same packets pass, however they are written.
fn is_same(one: &RuleRow, other: &RuleRow) -> bool {
    let key = |rule: &RuleRow| {
        let protocol = rule.protocol.as_deref().map(|text| number_of(text).ok_or(text.to_owned()));
        let prefix = rule.remote_ip_prefix.filter(|prefix| prefix.prefix_len() > 0);
        (
            (rule.direction, rule.ethertype, protocol, prefix),
            (rule.port_range_min, rule.port_range_max, rule.remote_group),
        )
    };
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::NetworkError;

    #[test]
    fn ports_fit_their_protocol_or_are_refused_by_name() {
        let cases = [
            (None, Some(1), Some(2), Some("SecurityGroupProtocolRequiredWithPorts")),
            (Some("tcp"), Some(80), Some(79), Some("SecurityGroupInvalidPortRange")),
            (Some("tcp"), None, Some(6), Some("SecurityGroupInvalidPortRange")),
            (Some("6"), Some(0), Some(6), Some("SecurityGroupInvalidPortValue")),
            (Some("icmp"), Some(1), Some(256), Some("SecurityGroupInvalidIcmpValue")),
            (Some("icmp"), Some(300), Some(1), Some("SecurityGroupInvalidIcmpValue")),
            (Some("icmp"), None, Some(6), Some("SecurityGroupMissingIcmpType")),
            (Some("gre"), Some(1), Some(2), Some("SecurityGroupInvalidProtocolForPort")),
            (Some("tcp"), Some(22), Some(22), None),
            (Some("ipv6-icmp"), Some(8), None, None),
            (None, None, None, None),
        ];
        for (protocol, min, max, refusal) in cases {
            let outcome = check_ports(protocol, min, max);
            let name = outcome.as_ref().err().and_then(NetworkError::name);
            assert_eq!(name, refusal, "{protocol:?} {min:?} {max:?}");
        }
    }
}
