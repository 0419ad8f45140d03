//! Ends connections that may not be any longer.
//!
//! What belongs to a connection passes without being judged again, so when a tap or a security group lets less
//! pass than before, the kernel is asked for the connections of the bridge, and told to forget those that could
//! not be opened now. It knows what this life of the agent has applied, and leaves alone what it does not know.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use parking_lot::Mutex;
use updraft_protocol::network::{
    FilterWant,
    protocol_number::{self, ICMP, ICMP6},
};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{LinuxConfig, command};
use crate::driver::{
    DriverError, TapSpec,
    judge::{self, Connection},
};

/// What has been applied.
#[derive(Default)]
struct Applied {
    taps: BTreeMap<Uuid, TapSpec>,
    groups: BTreeMap<Uuid, FilterWant>,
}

/// The connections on the agent's bridges.
pub(super) struct Connections {
    env: Env,
    program: PathBuf,
    applied: Mutex<Applied>,
}

impl Connections {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        let program = config.conntrack.clone();
        Self { env: env.clone(), program, applied: Mutex::default() }
    }

    /// The tap is applied as it is here; says whether it may let less pass than before. So may one that was just
    /// made: its addresses may have been another's, whose connections the kernel remembers.
    pub(super) fn tap(&self, tap: &TapSpec) -> bool {
        let before = self.applied.lock().taps.insert(tap.port, tap.clone());
        before.is_none_or(|before| is_narrower(&before, tap))
    }

    /// The port has no tap any longer.
    pub(super) fn no_tap(&self, port: Uuid) {
        self.applied.lock().taps.remove(&port);
    }

    /// The group is applied as it is here; names the networks on which it may let less pass than before.
    pub(super) fn group(&self, want: &FilterWant) -> Vec<Uuid> {
        let mut applied = self.applied.lock();
        let before = applied.groups.insert(want.group, want.clone());
        if before.is_some_and(|before| !group_is_narrower(&before, want)) {
            return Vec::new();
        }
        let having = applied.taps.values().filter(|tap| tap.groups.contains(&want.group));
        let mut networks: Vec<Uuid> = having.map(|tap| tap.network).collect();
        networks.sort();
        networks.dedup();
        networks
    }

    /// Nothing is left of the group.
    pub(super) fn no_group(&self, group: Uuid) {
        self.applied.lock().groups.remove(&group);
    }

    /// Ends the connections of the network, whose zone this is, that could not be opened now.
    pub(super) async fn end_forbidden(&self, network: Uuid, zone: u16) -> Result<(), DriverError> {
        let listed = self.run(&["-L", "-w", &zone.to_string(), "-o", "extended"], "").await?;
        let script: String = {
            let applied = self.applied.lock();
            let taps: Vec<&TapSpec> =
                applied.taps.values().filter(|tap| tap.network == network).collect();
            let tracked = listed.lines().filter_map(Tracked::read);
            let forbidden = tracked.filter(|tracked| {
                judge::may_open(&taps, &applied.groups, &tracked.connection) == Some(false)
            });
            forbidden.map(|tracked| tracked.ending(zone)).collect()
        };
        if script.is_empty() {
            return Ok(());
        }
        tracing::info!(%network, ended = script.lines().count(), "connections may not be any longer");
        self.run(&["-R", "-"], &script).await.map(drop)
    }

    /// Ends every connection in a zone that nobody has any longer.
    pub(super) async fn end_all(&self, zone: u16) -> Result<(), DriverError> {
        self.run(&["-R", "-"], &format!("-D -w {zone}\n")).await.map(drop)
    }

    async fn run(&self, words: &[&str], input: &str) -> Result<String, DriverError> {
        let ran = command::run(&self.env, &self.program, words, input).await;
        ran.map_err(|error| DriverError::failed("looking after connections", error))
    }
}

fn is_narrower(before: &TapSpec, now: &TapSpec) -> bool {
    let has_more = !now.addresses.iter().all(|address| before.addresses.contains(address))
        || !now.pairs.is_subset(&before.pairs);
    now.secured && !(before.secured && before.groups.is_subset(&now.groups) && !has_more)
}

fn group_is_narrower(before: &FilterWant, now: &FilterWant) -> bool {
    let keeps_rules = before.rules.iter().all(|rule| now.rules.contains(rule));
    let keeps_peers = before.peers.iter().all(|(peer, nets)| {
        nets.is_empty() || now.peers.get(peer).is_some_and(|now| nets.is_subset(now))
    });
    !(keeps_rules && keeps_peers)
}

/// A connection as conntrack lists it.
#[derive(Debug, PartialEq, Eq)]
struct Tracked {
    connection: Connection,
    /// What tells an echo from others.
    id: u16,
}

impl Tracked {
    /// Reads a line; what is not one, or of no kind that can be told to end, is passed over.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let protocol = words.nth(3)?.parse().ok()?;
        // The first of each is of the packet that opened it, the second of replies.
        let mut first: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            first.entry(name).or_insert(value);
        }
        let address = |name| first.get(name)?.parse::<IpAddr>().ok();
        let number = |name| first.get(name).and_then(|text| text.parse().ok()).unwrap_or_default();
        let numbers = match protocol {
            ICMP | ICMP6 => (number("type"), number("code")),
            _ => (number("sport"), number("dport")),
        };
        let (source, destination) = (address("src")?, address("dst")?);
        let connection = Connection { source, destination, protocol, numbers };
        Some(Self { connection, id: number("id") })
    }

    /// The line of a script that ends it.
    fn ending(&self, zone: u16) -> String {
        let Connection { source, destination, protocol, numbers: (one, two) } = self.connection;
        let family = if source.is_ipv4() { "ipv4" } else { "ipv6" };
        let id = self.id;
        let which = match protocol {
            ICMP => format!(" --icmp-type {one} --icmp-code {two} --icmp-id {id}"),
            ICMP6 => format!(" --icmpv6-type {one} --icmpv6-code {two} --icmpv6-id {id}"),
            number if protocol_number::has_ports(number) => format!(" --sport {one} --dport {two}"),
            _ => String::new(),
        };
        format!("-D -w {zone} -f {family} -p {protocol} -s {source} -d {destination}{which}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use updraft_protocol::network::{Direction, EtherType, FilterRule, Peer};

    use super::*;

    fn tap(groups: &[u128]) -> TapSpec {
        TapSpec {
            port: Uuid::from_u128(1),
            generation: 1,
            network: Uuid::from_u128(2),
            mac_address: "fa:16:3e:00:00:01".to_owned(),
            addresses: vec!["10.1.0.11".parse().unwrap()],
            mtu: 1450,
            secured: true,
            groups: groups.iter().map(|group| Uuid::from_u128(*group)).collect(),
            pairs: BTreeSet::new(),
        }
    }

    fn group(rules: usize, members: &[&str]) -> FilterWant {
        let peer = Uuid::from_u128(9);
        let rule = |number: usize| FilterRule {
            direction: Direction::Ingress,
            ethertype: EtherType::V4,
            protocol: u8::try_from(number).ok(),
            ports: (None, None),
            peer: Peer::Group(peer),
        };
        let nets = members.iter().map(|text| text.parse().unwrap()).collect();
        FilterWant {
            present: true,
            rules: (1..=rules).map(rule).collect(),
            peers: BTreeMap::from([(peer, nets)]),
            ..FilterWant::absent(Uuid::from_u128(3), 1)
        }
    }

    #[test]
    fn a_listed_connection_is_told_to_end_as_it_was_opened() {
        let tcp = "ipv4     2 tcp      6 113 TIME_WAIT src=10.1.0.11 dst=10.1.0.12 sport=39676 dport=80 \
                   src=10.1.0.12 dst=10.1.0.11 sport=80 dport=39676 [ASSURED] mark=0 zone=4097 use=1";
        let ending = "-D -w 7 -f ipv4 -p 6 -s 10.1.0.11 -d 10.1.0.12 --sport 39676 --dport 80\n";
        assert_eq!(Tracked::read(tcp).unwrap().ending(7), ending);
        let echo = "ipv6     10 icmpv6   58 23 src=fd00::12 dst=fd00::13 type=128 code=0 id=38 \
                    src=fd00::13 dst=fd00::12 type=129 code=0 id=38 mark=0 zone=4097 use=1";
        let ending = "-D -w 7 -f ipv6 -p 58 -s fd00::12 -d fd00::13 \
                      --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 38\n";
        assert_eq!(Tracked::read(echo).unwrap().ending(7), ending);
        assert_eq!(Tracked::read("conntrack v1.4.7 (conntrack-tools): 9 flow entries"), None);
    }

    #[test]
    fn connections_are_looked_at_when_a_tap_lets_less_pass() {
        let without_addresses = TapSpec { addresses: Vec::new(), ..tap(&[3]) };
        let unsecured = TapSpec { secured: false, ..tap(&[3]) };
        let cases = [
            (tap(&[3]), tap(&[3, 4]), false),
            (tap(&[3, 4]), tap(&[3]), true),
            (unsecured.clone(), tap(&[3]), true),
            (tap(&[3]), unsecured, false),
            (without_addresses.clone(), tap(&[3]), true),
            (tap(&[3]), without_addresses, false),
        ];
        for (before, now, narrower) in cases {
            assert_eq!(is_narrower(&before, &now), narrower, "{before:?} {now:?}");
        }
    }

    #[test]
    fn connections_are_looked_at_when_a_group_lets_less_pass() {
        let cases = [
            (group(1, &["10.0.0.1/32"]), group(2, &["10.0.0.1/32", "10.0.0.2/32"]), false),
            (group(2, &["10.0.0.1/32"]), group(1, &["10.0.0.1/32"]), true),
            (group(1, &["10.0.0.1/32"]), group(1, &["10.0.0.2/32"]), true),
        ];
        for (before, now, narrower) in cases {
            assert_eq!(group_is_narrower(&before, &now), narrower, "{before:?} {now:?}");
        }
    }
}
