//! One rule of a security group in nft's language.

use updraft_protocol::network::{
    Direction, EtherType, FilterRule, FilterWant,
    protocol_number::{self, ICMP, ICMP6, IPV6_FRAGMENT, IPV6_OPTIONS, IPV6_ROUTE},
};

use crate::driver::judge;

/// What a packet must be like for the rule, which is the group's, to let it pass; `None` if none can be.
pub(super) fn condition(rule: &FilterRule, group: &FilterWant) -> Option<String> {
    let version = version(rule.ethertype);
    let mut words = vec![format!("ether type {version}")];
    if let Some(nets) = judge::nets(rule, group) {
        if nets.is_empty() {
            return None;
        }
        let end = match rule.direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        words.push(format!("{version} {end} {{ {} }}", nets.join(", ")));
    }
    words.extend(rule.protocol.map(|number| protocol(rule.ethertype, number)));
    words.extend(numbers(rule));
    Some(words.join(" "))
}

fn version(ethertype: EtherType) -> &'static str {
    match ethertype {
        EtherType::V4 => "ip",
        EtherType::V6 => "ip6",
    }
}

/// Headers between IPv6's own and the protocol are no protocol to nft.
fn protocol(ethertype: EtherType, number: u8) -> String {
    let header = match (ethertype, number) {
        (EtherType::V6, IPV6_ROUTE) => "rt",
        (EtherType::V6, IPV6_FRAGMENT) => "frag",
        (EtherType::V6, IPV6_OPTIONS) => "dst",
        _ => return format!("meta l4proto {number}"),
    };
    format!("exthdr {header} exists")
}

fn numbers(rule: &FilterRule) -> Option<String> {
    let number = rule.protocol?;
    let (first, last) = rule.ports;
    if protocol_number::has_ports(number) {
        return match (first, last) {
            (None, None) => None,
            (first, last) => {
                let (first, last) = (first.unwrap_or(0), last.unwrap_or(u16::MAX));
                Some(format!("th dport {first}-{last}"))
            }
        };
    }
    let name = match (rule.ethertype, number) {
        (EtherType::V4, ICMP) => "icmp",
        (EtherType::V6, ICMP6) => "icmpv6",
        _ => return None,
    };
    let kind = first.map(|kind| format!("{name} type {kind}"));
    let code = last.map(|code| format!("{name} code {code}"));
    let words: Vec<String> = kind.into_iter().chain(code).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests;
