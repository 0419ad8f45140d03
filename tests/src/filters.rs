//! Whether hosts hold what the rows say of security groups, and whether that is what the rules say.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use updraft_network::{
    driver::{TapSpec, judge::Connection},
    rows::{Direction, EtherType, FilterRow, PortRow, RuleRow},
};
use updraft_protocol::network::{FilterWant, protocol_number::ICMP};
use updraft_runtime::store::StoreError;
use uuid::Uuid;

use crate::cloud::SimCloud;

/// How long the reading of the database may take.
const READS: Duration = Duration::from_secs(5);

/// Rows of one table read at most; a test has few.
const ROWS_MAX: usize = 1_000;

/// What the database says.
struct Rows {
    ports: Vec<PortRow>,
    rules: Vec<RuleRow>,
    filters: Vec<FilterRow>,
}

fn rows(cloud: &mut SimCloud) -> Option<Rows> {
    let (node, database) = (cloud.serving()?, cloud.database()?);
    let read = async move {
        database
            .scoped("network/")
            .read(|txn| {
                Ok::<_, StoreError>(Rows {
                    ports: txn.scan(None, ROWS_MAX)?,
                    rules: txn.scan(None, ROWS_MAX)?,
                    filters: txn.scan(None, ROWS_MAX)?,
                })
            })
            .await
    };
    cloud.world.on(&node, READS, read)?.ok()
}

/// How hosts and rows differ, once they have had this long to agree.
#[must_use]
pub fn differences(cloud: &mut SimCloud, patience: Duration) -> Vec<String> {
    let end = cloud.world.now() + patience;
    loop {
        let found = match rows(cloud) {
            Some(rows) => between(cloud, &rows),
            None => vec!["the database is not read".to_owned()],
        };
        if found.is_empty() || cloud.world.now() >= end {
            return found;
        }
        cloud.world.run_for(Duration::from_millis(100));
    }
}

fn between(cloud: &SimCloud, rows: &Rows) -> Vec<String> {
    let mut found = Vec::new();
    for host in cloud.hosts() {
        let Some(machine) = cloud.machine(host) else { continue };
        let state = machine.network.state();
        let name = host.as_str();
        let wanted: BTreeMap<Uuid, &FilterWant> = rows
            .filters
            .iter()
            .filter(|row| row.host == name && row.want.present)
            .map(|row| (row.group, &row.want))
            .collect();
        let held: BTreeMap<Uuid, &FilterWant> =
            state.filters.iter().map(|(group, want)| (*group, want)).collect();
        if held != wanted {
            found.push(format!("{name} holds {held:#?}, and rows say {wanted:#?}"));
        }
        let taps: Vec<&TapSpec> = state.taps.values().filter_map(|tap| tap.spec.as_ref()).collect();
        for tap in &taps {
            let port = rows.ports.iter().find(|port| port.id == tap.port);
            if port.is_none_or(|port| port.security_groups != tap.groups) {
                found.push(format!("{name} has a tap with groups {:?}: {port:#?}", tap.groups));
            }
        }
        for (from, to) in taps.iter().flat_map(|from| taps.iter().map(move |to| (from, to))) {
            let Some(echo) = echo(from, to).filter(|_| from.network == to.network) else {
                continue;
            };
            let (said, does) = (rows.let_pass(&echo), machine.network.may_open(to.network, &echo));
            if from.port != to.port && does != Some(said) {
                found.push(format!("{name} lets {echo:?} pass: {does:?}; by the rules: {said}"));
            }
        }
    }
    found
}

/// An echo request between the first addresses of two taps.
fn echo(from: &TapSpec, to: &TapSpec) -> Option<Connection> {
    let (source, destination) = (*from.addresses.first()?, *to.addresses.first()?);
    Some(Connection { source, destination, protocol: ICMP, numbers: (8, 0) })
}

impl Rows {
    /// Whether rules, read as a user wrote them, let an echo request pass.
    fn let_pass(&self, echo: &Connection) -> bool {
        let Connection { source, destination, .. } = *echo;
        self.lets(source, destination, Direction::Egress)
            && self.lets(destination, source, Direction::Ingress)
    }

    fn groups_of(&self, address: IpAddr) -> BTreeSet<Uuid> {
        let has = |port: &&PortRow| port.fixed_ips.iter().any(|fixed| fixed.address == address);
        let port = self.ports.iter().filter(|port| port.is_present()).find(has);
        port.map(|port| port.security_groups.clone()).unwrap_or_default()
    }

    fn lets(&self, own: IpAddr, peer: IpAddr, direction: Direction) -> bool {
        let (groups, of_peer) = (self.groups_of(own), self.groups_of(peer));
        self.rules.iter().any(|rule| {
            groups.contains(&rule.group)
                && rule.direction == direction
                && rule.ethertype == EtherType::V4
                && rule.protocol.as_deref().is_none_or(|protocol| protocol == "icmp")
                && rule.remote_ip_prefix.is_none_or(|net: IpNet| net.contains(&peer))
                && rule.remote_group.is_none_or(|group| of_peer.contains(&group))
        })
    }
}
