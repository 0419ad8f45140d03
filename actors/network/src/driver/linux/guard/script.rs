//! What nft is told, as text. Pure; each script is one transaction of the kernel's, and may be repeated.
//!
//! All filtering is done in one table of the bridge family, by the names of taps: `from_guest` holds guests to
//! their own addresses, `leaving` and `entering` ask the chains of the two taps between which a packet goes, and
//! these ask the chains of their security groups. The bridge family of many kernels tracks no connections, so
//! packets on this agent's bridges are shown to the inet family first, which does, and which leaves in the
//! packet's mark what it knows. A packet without a mark lets no rule pass it.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use ipnet::IpNet;
use updraft_protocol::network::{Direction, FilterWant};
use uuid::Uuid;

use super::rule;
use crate::{
    agent::{METADATA_ADDRESS, METADATA_PORT},
    driver::{TapSpec, names},
};

/// The mark of a packet that opens a connection. Not a number that somebody else would set by chance.
const OPENS: &str = "0x75640001";

/// The mark of a packet of a connection that was let pass, and of an error about one.
const BELONGS: &str = "0x75640002";

/// What a group's chain ends with: the generation that it is of.
pub(super) const GENERATION: &str = "generation ";

/// ICMPv6 that a guest needs to have neighbours at all: MLD, solicitations and advertisements. What it may say in
/// them is limited where it is held to its addresses.
const NEIGHBOURS_FROM_GUEST: &str = "130, 131, 132, 133, 135, 136, 143";

/// The same for what a guest may hear, advertisements of routers among it: guests may not send those.
const NEIGHBOURS_TO_GUEST: &str = "130, 131, 132, 134, 135, 136, 143";

/// The chain of what enters a tap.
pub(super) fn entering(tap: &str) -> String {
    format!("in-{tap}")
}

/// The chain of what leaves a tap.
pub(super) fn leaving(tap: &str) -> String {
    format!("out-{tap}")
}

/// The chain of what a group lets pass this way.
pub(super) fn of_group(direction: Direction, group: Uuid) -> String {
    match direction {
        Direction::Ingress => entering(&group.to_string()),
        Direction::Egress => leaving(&group.to_string()),
    }
}

/// A script under way; every line is a command.
struct Script<'a> {
    table: &'a str,
    text: String,
}

impl<'a> Script<'a> {
    /// The tables with what is in them for all taps; what there is already stays as it is.
    fn new(table: &'a str) -> Self {
        let mut script = Self { table, text: format!("add table bridge {table}\n") };
        for map in ["taps", "leaving", "entering"] {
            script.say("map", &format!("{map} {{ type ifname : verdict; }}"));
        }
        script.say("set", "guests { type ifname; }");
        for (chain, hook) in [
            ("from_guest", "prerouting priority -310"),
            ("to_host", "input priority 0"),
            ("leaving", "forward priority -10"),
            ("entering", "forward priority -9"),
        ] {
            script.say("chain", &format!("{chain} {{ type filter hook {hook}; }}"));
            script.flush(chain);
        }
        script.rule("from_guest", "iifname vmap @taps");
        script.rule("to_host", "iifname @guests drop");
        script.rule("leaving", "iifname vmap @leaving");
        script.rule("entering", "oifname vmap @entering");
        script.track();
        script
    }

    /// Before it is defragmented, a packet gets the zone of its bridge; once its connection is known, its mark.
    fn track(&mut self) {
        let table = self.table;
        // Writing to a string cannot fail.
        let _ = write!(
            self.text,
            "add table inet {table}\n\
             add map inet {table} zones {{ typeof iifname : ct zone; }}\n\
             add chain inet {table} zone {{ type filter hook prerouting priority -410; }}\n\
             add chain inet {table} state {{ type filter hook prerouting priority -110; }}\n\
             flush chain inet {table} zone\n\
             flush chain inet {table} state\n\
             add rule inet {table} zone ct zone set iifname map @zones\n\
             add rule inet {table} state iifname != @zones return\n\
             add rule inet {table} state ct state established,related meta mark set {BELONGS} return\n\
             add rule inet {table} state ct state new,untracked meta mark set {OPENS} return\n\
             add rule inet {table} state meta mark set 0\n"
        );
    }

    fn command(&mut self, verb: &str, what: &str, rest: &str) {
        let _ = writeln!(self.text, "{verb} {what} bridge {} {rest}", self.table);
    }

    fn say(&mut self, what: &str, rest: &str) {
        self.command("add", what, rest);
    }

    fn chain(&mut self, name: &str) {
        self.say("chain", name);
    }

    fn flush(&mut self, chain: &str) {
        self.command("flush", "chain", chain);
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        self.say("rule", &format!("{chain} {rule}"));
    }

    fn rules<S: AsRef<str>>(&mut self, chain: &str, rules: impl IntoIterator<Item = S>) {
        rules.into_iter().for_each(|rule| self.rule(chain, rule.as_ref()));
    }

    /// Adds what may be missing first: deleting what is not there would fail.
    fn without_verdict(&mut self, map: &str, tap: &str, chain: &str) {
        let element = format!("{map} {{ \"{tap}\" : jump {chain} }}");
        self.chain(chain);
        self.say("element", &element);
        self.command("delete", "element", &element);
        self.command("delete", "chain", chain);
    }

    fn verdict(&mut self, map: &str, tap: &str, chain: &str) {
        self.say("element", &format!("{map} {{ \"{tap}\" : jump {chain} }}"));
    }
}

/// The tap's guest can use its own addresses only, and hear and say what its groups let pass.
pub(super) fn hold(table: &str, spec: &TapSpec) -> String {
    let (tap, mut script) = (names::tap(spec.port), Script::new(table));
    script.chain(&tap);
    script.flush(&tap);
    if spec.secured {
        script.rules(&tap, own_addresses(spec));
        filter_tap(&mut script, &tap, spec);
    } else {
        script.without_verdict("leaving", &tap, &leaving(&tap));
        script.without_verdict("entering", &tap, &entering(&tap));
    }
    script.say("element", &format!("guests {{ \"{tap}\" }}"));
    script.verdict("taps", &tap, &tap);
    script.text
}

fn filter_tap(script: &mut Script<'_>, tap: &str, spec: &TapSpec) {
    let ways = [
        (Direction::Egress, "leaving", leaving(tap), always_leaves()),
        (Direction::Ingress, "entering", entering(tap), always_enters(spec)),
    ];
    for (direction, map, chain, always) in ways {
        script.chain(&chain);
        script.flush(&chain);
        script.rules(&chain, always);
        script.rule(&chain, &format!("meta mark != {{ {OPENS}, {BELONGS} }} drop"));
        for group in &spec.groups {
            let group = of_group(direction, *group);
            // Until the group is told of, its chain is empty and lets nothing pass.
            script.chain(&group);
            script.rule(&chain, &format!("jump {group}"));
        }
        script.rule(&chain, "drop");
        script.verdict(map, tap, &chain);
    }
}

fn always_leaves() -> Vec<String> {
    vec![
        "ether type arp accept".to_owned(),
        format!("ether type ip6 icmpv6 type {{ {NEIGHBOURS_FROM_GUEST} }} accept"),
        "ether type ip udp sport 68 udp dport 67 accept".to_owned(),
        "ether type ip6 udp sport 546 udp dport 547 accept".to_owned(),
        format!(
            "ether type ip ip daddr {METADATA_ADDRESS} tcp dport {METADATA_PORT} \
             meta mark {{ {OPENS}, {BELONGS} }} accept"
        ),
    ]
}

fn always_enters(spec: &TapSpec) -> Vec<String> {
    let macs = macs(spec).join(", ");
    vec![
        // What a bridge sends everywhere, for want of knowledge, is no one's to hear but the addressee's.
        format!(
            "ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr != {{ {macs} }} drop"
        ),
        "ether type arp accept".to_owned(),
        format!("ether type ip6 icmpv6 type {{ {NEIGHBOURS_TO_GUEST} }} accept"),
        "ether type ip udp sport 67 udp dport 68 accept".to_owned(),
        "ether type ip6 udp sport 547 udp dport 546 accept".to_owned(),
        format!(
            "ether type ip ip saddr {METADATA_ADDRESS} tcp sport {METADATA_PORT} \
             meta mark {BELONGS} accept"
        ),
    ]
}

/// Every MAC address that the tap's guest may use.
fn macs(spec: &TapSpec) -> Vec<&str> {
    let own = std::iter::once(spec.mac_address.as_str());
    let all: BTreeSet<&str> =
        own.chain(spec.pairs.iter().map(|pair| pair.mac_address.as_str())).collect();
    all.into_iter().collect()
}

/// The addresses that the guest may use with this MAC address.
fn nets(spec: &TapSpec, mac: &str) -> Vec<IpNet> {
    let is_own = mac == spec.mac_address;
    let own = spec.addresses.iter().filter(|_| is_own).map(|address| IpNet::from(*address));
    let pairs = spec.pairs.iter().filter(|pair| pair.mac_address == mac).map(|pair| pair.net);
    IpNet::aggregate(&own.chain(pairs).collect())
}

/// Pairs of a MAC address and each address that may come with it.
fn pairs(spec: &TapSpec, is_it: impl Fn(&IpNet) -> bool, always: &[&str]) -> String {
    let mut pairs = Vec::new();
    for mac in macs(spec) {
        // An address that is always allowed is not named twice.
        let always: Vec<IpNet> = always.iter().filter_map(|text| text.parse().ok()).collect();
        let nets: Vec<IpNet> = nets(spec, mac).into_iter().filter(&is_it).chain(always).collect();
        pairs.extend(IpNet::aggregate(&nets).into_iter().map(|net| format!("{mac} . {net}")));
    }
    pairs.join(", ")
}

fn own_addresses(spec: &TapSpec) -> Vec<String> {
    let macs = macs(spec).join(", ");
    let (v4, v6) = (|net: &IpNet| net.addr().is_ipv4(), |net: &IpNet| net.addr().is_ipv6());
    let ip = match pairs(spec, v4, &[]) {
        none if none.is_empty() => "ether type ip drop".to_owned(),
        own => format!("ether saddr . ip saddr != {{ {own} }} drop"),
    };
    let mut rules = vec![
        // A frame in a frame would pass by all that follows.
        "ether type { 8021q, 8021ad } drop".to_owned(),
        format!("ether saddr != {{ {macs} }} drop"),
        // Before it uses an address, a guest asks from 0.0.0.0 whether somebody has it.
        format!(
            "arp saddr ether . arp saddr ip != {{ {} }} drop",
            pairs(spec, v4, &["0.0.0.0/32"])
        ),
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept".to_owned(),
        ip,
        format!(
            "ether saddr . ip6 saddr != {{ {} }} drop",
            pairs(spec, v6, &["::/128", "fe80::/10"])
        ),
        "udp sport { 67, 547 } drop".to_owned(),
        "icmpv6 type nd-router-advert drop".to_owned(),
    ];
    rules.extend(advertisements(spec));
    rules
}

/// A guest may say to its neighbours of its own addresses alone where they are.
fn advertisements(spec: &TapSpec) -> Option<String> {
    /// Where an advertisement names the address, in bits of ICMPv6.
    const TARGET: u8 = 64;
    let link_local = "fe80::/10".parse::<IpNet>().ok();
    let own = macs(spec).into_iter().flat_map(|mac| nets(spec, mac));
    let mut foreign = String::new();
    for net in own.filter(|net| net.addr().is_ipv6()).chain(link_local) {
        let (IpAddr::V6(address), length) = (net.network(), net.prefix_len()) else { continue };
        if length == 0 {
            return None;
        }
        let bits = u128::from(address) >> (128 - u32::from(length));
        let _ = write!(foreign, " @th,{TARGET},{length} != {bits:#x}");
    }
    Some(format!("icmpv6 type nd-neighbor-advert{foreign} drop"))
}

/// No rule speaks of the tap any longer.
pub(super) fn release(table: &str, tap: &str) -> String {
    let mut script = Script::new(table);
    script.without_verdict("leaving", tap, &leaving(tap));
    script.without_verdict("entering", tap, &entering(tap));
    script.say("element", &format!("guests {{ \"{tap}\" }}"));
    script.command("delete", "element", &format!("guests {{ \"{tap}\" }}"));
    script.without_verdict("taps", tap, tap);
    script.text
}

/// The group lets pass exactly what is wanted.
pub(super) fn filter(table: &str, want: &FilterWant) -> String {
    let mut script = Script::new(table);
    for direction in [Direction::Ingress, Direction::Egress] {
        let chain = of_group(direction, want.group);
        script.chain(&chain);
        script.flush(&chain);
        if want.stateful {
            script.rule(&chain, &format!("meta mark {BELONGS} accept"));
        }
        let rules = want.rules.iter().filter(|rule| rule.direction == direction);
        let conditions = rules.filter_map(|rule| rule::condition(rule, want));
        script.rules(&chain, conditions.map(|condition| format!("{condition} accept")));
        script.rule(&chain, &format!("return comment \"{GENERATION}{}\"", want.generation));
    }
    script.text
}

/// Nothing is left of the group.
pub(super) fn unfilter(table: &str, group: Uuid) -> String {
    let mut script = Script::new(table);
    for direction in [Direction::Ingress, Direction::Egress] {
        let chain = of_group(direction, group);
        script.chain(&chain);
        script.flush(&chain);
        script.command("delete", "chain", &chain);
    }
    script.text
}

/// Connections on the bridge are told from those elsewhere by this number.
pub(super) fn zone(table: &str, bridge: &str, zone: u16) -> String {
    let mut script = Script::new(table);
    let _ = writeln!(script.text, "add element inet {table} zones {{ \"{bridge}\" : {zone} }}");
    script.text
}

/// The bridge has no number any longer.
pub(super) fn unzone(table: &str, bridge: &str, zone: u16) -> String {
    let mut script = self::zone(table, bridge, zone);
    let _ = writeln!(script, "delete element inet {table} zones {{ \"{bridge}\" : {zone} }}");
    script
}

/// The tables are gone.
pub(super) fn remove(table: &str) -> String {
    ["bridge", "inet"]
        .iter()
        .map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n"))
        .collect()
}

#[cfg(test)]
mod tests;
