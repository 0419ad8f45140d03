//! The provisioning flow, and what of it is left in a cloud.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use updraft_compute::rows::{HostRow, UsageRow};
use updraft_runtime::store::StoreError;

use crate::{
    cloud::{Client, SimCloud},
    filters,
};

/// How long the reading of the database may take.
const READS: Duration = Duration::from_secs(5);

/// Rows that a deleted server must not leave. `network/device` is not among them: it remembers for a while that a
/// server is gone, so that what comes late does nothing.
const TABLES: [&str; 7] = [
    "compute/server/",
    "compute/reservation/",
    "network/port/",
    "network/allocation/",
    "volume/volume/",
    "volume/snapshot/",
    "image/image/",
];

/// Keys of one table read at most; a test has few.
const ROWS_MAX: usize = 1_000;

/// What the flow needs to be there first.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// An image.
    pub image: String,
    /// A flavor.
    pub flavor: String,
    /// A network with a subnet.
    pub network: String,
}

/// Makes what a server needs.
#[must_use]
pub fn prepare(cloud: &mut SimCloud, client: &Client) -> Prepared {
    let image = client.image(cloud, b"not much of a disk");
    let flavor = client.flavor(cloud, 64);
    let network = client.network(cloud, "10.1.0.0/24");
    Prepared { image, flavor, network }
}

/// Builds a server with a port, deletes it, and checks that nothing is left.
///
/// # Panics
/// If any of it goes wrong.
pub fn build_and_delete(cloud: &mut SimCloud) {
    let client = Client::log_in(cloud);
    let have = prepare(cloud, &client);
    let before = inventory(cloud);
    let server = client.server(cloud, &have.image, &have.flavor, Some(&have.network));
    let built = client.wait_for(cloud, &server, Some("ACTIVE"));
    let shown = client.show(cloud, &server);
    assert!(built, "{shown:#?}");
    let during = inventory(cloud);
    for kind in
        ["guest", "disk", "tap", "filter", "claim", "usage", "network/port/", "network/allocation/"]
    {
        let more = during.difference(&before).any(|line| line.starts_with(kind));
        assert!(more, "no {kind} in {:?}", during.difference(&before));
    }
    assert_eq!(filters::differences(cloud, Duration::from_secs(5)), Vec::<String>::new());
    client.must(cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(cloud, &server, None), "the server does not go");
    assert_eq!(leftovers(cloud, &before, Duration::from_secs(5)), Vec::<String>::new());
}

/// Everything a server consists of, a line each.
///
/// # Panics
/// If the database cannot be read.
#[must_use]
pub fn inventory(cloud: &mut SimCloud) -> BTreeSet<String> {
    let mut lines = on_machines(cloud);
    let (Some((node, _)), Some(database)) = (cloud.edge(), cloud.database()) else {
        panic!("no control node runs");
    };
    let rows = cloud.world.on(&node, READS, async move {
        database
            .read(|txn| {
                let mut lines = Vec::new();
                for table in TABLES {
                    for (key, _) in txn.scan_raw(table, None, ROWS_MAX)? {
                        lines.push(key.to_string());
                    }
                }
                for host in txn.scan::<HostRow>(None, ROWS_MAX)? {
                    let claims = host.claims.keys();
                    lines.extend(claims.map(|server| format!("claim {} {server}", host.name)));
                }
                for usage in txn.scan::<UsageRow>(None, ROWS_MAX)? {
                    if usage.instances + usage.cores + usage.ram_mib > 0 {
                        lines.push(format!("usage {usage:?}"));
                    }
                }
                Ok::<_, StoreError>(lines)
            })
            .await
    });
    match rows {
        Some(Ok(rows)) => lines.extend(rows),
        other => panic!("the database is not read: {other:?}"),
    }
    lines
}

fn on_machines(cloud: &SimCloud) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for host in cloud.hosts() {
        let Some(machine) = cloud.machine(host) else { continue };
        let guests = machine.guests.guests();
        lines.extend(guests.iter().map(|guest| format!("guest {host} {guest:?}")));
        let disks = machine.disks.servers();
        lines.extend(disks.iter().map(|server| format!("disk {host} {server}")));
        let taps = machine.network.state().taps;
        lines.extend(taps.keys().map(|tap| format!("tap {host} {tap:?}")));
        let filters = machine.network.state().filters;
        lines.extend(filters.keys().map(|group| format!("filter {host} {group}")));
        let files = machine.volumes.simulated_files();
        lines.extend(files.keys().map(|file| format!("volume {host} {file}")));
    }
    lines
}

/// What is there and was not before, once it has had this long to go.
#[must_use]
pub fn leftovers(
    cloud: &mut SimCloud,
    before: &BTreeSet<String>,
    patience: Duration,
) -> Vec<String> {
    let end = cloud.world.now() + patience;
    loop {
        let now = inventory(cloud);
        let left: Vec<String> = now.difference(before).cloned().collect();
        if left.is_empty() || cloud.world.now() >= end {
            return left;
        }
        cloud.world.run_for(Duration::from_millis(100));
    }
}
