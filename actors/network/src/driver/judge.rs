//! What security groups mean: whether a connection may be opened.
//!
//! Pure, and the measure of every driver. A connection may be opened if the port that it comes from lets it leave
//! and the port that it goes to lets it enter. Replies are not judged here: they pass with what they reply to.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use updraft_protocol::network::{
    Direction, EtherType, FilterRule, FilterWant, Peer,
    protocol_number::{self, TCP, UDP},
};
use uuid::Uuid;

use super::TapSpec;
use crate::agent::{METADATA_ADDRESS, METADATA_PORT};

/// The ports of DHCP, from the client and to the server, for either internet protocol.
const DHCP_PORTS: [(u16, u16); 2] = [(68, 67), (546, 547)];

/// A connection, as its first packet shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// The number of the protocol.
    pub protocol: u8,
    /// The ports it comes from and goes to, or ICMP's type and code; zeros where there is neither.
    pub numbers: (u16, u16),
}

/// Whether it may be opened on a network with these taps; `None` if that depends on a group of which nothing is
/// known. What is no tap lets everything pass.
#[must_use]
pub fn may_open(
    taps: &[&TapSpec],
    groups: &BTreeMap<Uuid, FilterWant>,
    connection: &Connection,
) -> Option<bool> {
    let passes = |address: IpAddr, direction| match taps.iter().find(|tap| has(tap, address)) {
        Some(tap) => lets_pass(tap, groups, direction, connection),
        None => Some(true),
    };
    let leaves = passes(connection.source, Direction::Egress);
    let enters = passes(connection.destination, Direction::Ingress);
    match (leaves, enters) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Whether packets with this address are the tap's.
#[must_use]
pub fn has(tap: &TapSpec, address: IpAddr) -> bool {
    tap.addresses.contains(&address) || tap.pairs.iter().any(|pair| pair.net.contains(&address))
}

fn lets_pass(
    tap: &TapSpec,
    groups: &BTreeMap<Uuid, FilterWant>,
    direction: Direction,
    connection: &Connection,
) -> Option<bool> {
    if !tap.secured || is_always_allowed(direction, connection) {
        return Some(true);
    }
    let known = tap.groups.iter().filter_map(|group| groups.get(group));
    let (mut count, mut passes) = (0, false);
    for group in known {
        count += 1;
        passes |= group.rules.iter().any(|rule| matches(rule, group, direction, connection));
    }
    if passes || count == tap.groups.len() { Some(passes) } else { None }
}

/// What a guest needs to find its address, and what it may always ask.
fn is_always_allowed(direction: Direction, connection: &Connection) -> bool {
    let Connection { destination, protocol, numbers, .. } = *connection;
    let asks_metadata = protocol == TCP
        && destination == IpAddr::from(METADATA_ADDRESS)
        && numbers.1 == METADATA_PORT;
    let is_dhcp = |(from, to)| protocol == UDP && numbers == (from, to);
    match direction {
        Direction::Egress => asks_metadata || DHCP_PORTS.into_iter().any(is_dhcp),
        Direction::Ingress => {
            DHCP_PORTS.into_iter().any(|(client, server)| is_dhcp((server, client)))
        }
    }
}

/// Whether the rule, which is the group's, lets the connection pass in this direction.
#[must_use]
pub fn matches(
    rule: &FilterRule,
    group: &FilterWant,
    direction: Direction,
    connection: &Connection,
) -> bool {
    let peer = match direction {
        Direction::Ingress => connection.source,
        Direction::Egress => connection.destination,
    };
    rule.direction == direction
        && (rule.ethertype == EtherType::V4) == peer.is_ipv4()
        && rule.protocol.is_none_or(|protocol| protocol == connection.protocol)
        && numbers_match(rule, connection)
        && nets(rule, group).is_none_or(|nets| nets.iter().any(|net| net.contains(&peer)))
}

/// The addresses of the other end that a rule allows; `None` is all.
#[must_use]
pub fn nets(rule: &FilterRule, group: &FilterWant) -> Option<Vec<IpNet>> {
    let is_of_its_version = |net: &IpNet| (rule.ethertype == EtherType::V4) == net.addr().is_ipv4();
    let nets: Vec<IpNet> = match rule.peer {
        Peer::Any => return None,
        Peer::Net(net) => vec![net],
        Peer::Group(peer) => group.peers.get(&peer).into_iter().flatten().copied().collect(),
    };
    let nets: Vec<IpNet> = nets.into_iter().filter(is_of_its_version).collect();
    if nets.iter().any(|net| net.prefix_len() == 0) { None } else { Some(IpNet::aggregate(&nets)) }
}

fn numbers_match(rule: &FilterRule, connection: &Connection) -> bool {
    let (first, last) = rule.ports;
    match rule.protocol {
        Some(number) if protocol_number::has_ports(number) => {
            let port = connection.numbers.1;
            first.is_none_or(|first| first <= port) && last.is_none_or(|last| port <= last)
        }
        Some(protocol_number::ICMP | protocol_number::ICMP6) => {
            let (kind, code) = connection.numbers;
            first.is_none_or(|first| first == kind) && last.is_none_or(|last| last == code)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
