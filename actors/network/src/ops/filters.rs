//! What hosts need to know of security groups: which, with which rules, and who is in the groups that these name.
//!
//! Members are read from an index of ports, never from the ports: a host's group changes when somebody joins or
//! leaves, and not whenever a port changes its state.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use updraft_protocol::network::{FilterRule, Peer};
use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use super::{dhcp, rules};
use crate::{
    plan::{
        filter::{self, NETS_MAX, RULES_MAX},
        port,
    },
    rows::{FilterRow, GroupRow, PortRow, RuleRow},
};

/// Protocol 0: the internet protocol itself, which is to say any.
const ANY_PROTOCOL: u8 = 0;

/// The port's security groups that are in force on the host that it shall be plugged on.
pub(crate) fn in_force(txn: &Txn, row: &PortRow) -> Result<BTreeSet<Uuid>, StoreError> {
    let mut found = BTreeSet::new();
    let Some(host) = &row.host else { return Ok(found) };
    for group in &row.security_groups {
        let key = FilterRow::key_of(*group, host);
        let entries = txn.index_entries::<FilterRow>(FilterRow::IN_FORCE, &key)?;
        if entries.iter().any(|(_, row)| *row == key) {
            found.insert(*group);
        }
    }
    Ok(found)
}

/// Makes the rows by which the L2 agents of the port's hosts will hear of its security groups.
pub(crate) fn ensure_rows(txn: &mut Txn, row: &PortRow) -> Result<(), StoreError> {
    for (host, binding) in &row.bindings {
        for group in &binding.want.groups {
            let key = FilterRow::key_of(*group, host);
            let known = txn.index_entries::<FilterRow>(FilterRow::BY_GROUP, &group.to_string())?;
            if known.iter().all(|(_, row)| *row != key) {
                txn.insert(&FilterRow::new(*group, host, row.trace))?;
            }
        }
    }
    Ok(())
}

/// What the plan of a security group on a host may know.
pub(crate) fn facts(txn: &Txn, row: &FilterRow) -> Result<filter::Facts, StoreError> {
    let Some(group) = txn.get::<GroupRow>(&row.group.to_string())? else {
        return Ok(filter::Facts::default());
    };
    let key = FilterRow::key_of(row.group, &row.host);
    let ports = txn.index_entries::<PortRow>(PortRow::BY_FILTER, &key)?;
    if ports.iter().all(|(of, _)| *of != key) {
        return Ok(filter::Facts { group: Some(filter::Group::default()), needed: false });
    }
    let rules = txn.find::<RuleRow>(RuleRow::BY_GROUP, &row.group.to_string())?;
    let named: BTreeSet<Uuid> = rules.iter().filter_map(|rule| rule.remote_group).collect();
    let (mut peers, mut read) = (BTreeMap::new(), 0);
    for peer in named {
        // More than that is left out by the plan.
        if read <= NETS_MAX {
            let nets = members(txn, peer)?;
            read += nets.len();
            peers.insert(peer, nets);
        }
    }
    if read > NETS_MAX || rules.len() > RULES_MAX {
        tracing::warn!(group = %row.group, rules = rules.len(), addresses = read, "too many for a host");
    }
    let rules = rules.iter().map(told).collect();
    let group = filter::Group { stateful: group.stateful, rules, peers };
    Ok(filter::Facts { group: Some(group), needed: true })
}

/// The addresses of all ports that have the group, on whichever host.
fn members(txn: &Txn, group: Uuid) -> Result<BTreeSet<IpNet>, StoreError> {
    let entries = txn.index_entries::<PortRow>(PortRow::BY_MEMBER, &format!("{group}/"))?;
    let net = |value: &str| value.split_once('/').and_then(|(_, net)| net.parse().ok());
    Ok(entries.iter().filter_map(|(value, _)| net(value)).collect())
}

fn told(rule: &RuleRow) -> FilterRule {
    let number = rule.protocol.as_deref().and_then(rules::number_of);
    let peer = match (rule.remote_group, rule.remote_ip_prefix) {
        (Some(group), _) => Peer::Group(group),
        (None, Some(net)) => Peer::Net(net.trunc()),
        (None, None) => Peer::Any,
    };
    FilterRule {
        direction: rule.direction,
        ethertype: rule.ethertype,
        protocol: number.filter(|number| *number != ANY_PROTOCOL),
        ports: (rule.port_range_min, rule.port_range_max),
        peer,
    }
}

/// Tells the ports of a host that a group is in force there now, or no longer: it decides whether they work.
pub(crate) fn record(
    txn: &mut Txn,
    row: &FilterRow,
    now: updraft_runtime::env::UnixMicros,
) -> Result<(), StoreError> {
    for port in txn.find::<PortRow>(PortRow::BY_FILTER, &FilterRow::key_of(row.group, &row.host))? {
        let next = port::converge(&port, &dhcp::port_facts(txn, &port)?, now);
        if next != port {
            txn.put(&next)?;
        }
    }
    Ok(())
}
