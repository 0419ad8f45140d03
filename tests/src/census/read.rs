//! Reads a simulated cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{FutureExt, TryStreamExt};
use object_store::ObjectStore;
use serde::de::DeserializeOwned;
use updraft_harness::{fault::FaultKind, world::World};
use updraft_protocol::hypervisor::{GuestReport, PowerState};
use updraft_runtime::store::{Entry, Store, StoreError, Txn};
use updraft_transport::NodeId;
use uuid::Uuid;

use super::{Census, Found, Guest, Object};
use crate::cloud::{Machine, SimCloud};

/// Rows of one table read at most; a test has few.
const ROWS_MAX: usize = 10_000;

/// Takes the census.
///
/// # Panics
/// If there is no database yet, or a row is not what its table's rows are.
#[must_use]
pub fn take(cloud: &SimCloud) -> Census {
    let mut census = rows(cloud);
    census.objects = objects(cloud);
    for host in cloud.hosts() {
        let Some(machine) = cloud.machine(host) else { continue };
        let mut found = on(&machine);
        found.remembered = ledger(cloud, host, "node/guest/").into_keys().collect();
        let files = ledger(cloud, host, "volume-node/file/").into_iter();
        let wanted = files.filter(|(_, row)| row["want"]["present"] == true);
        found.to_be_made = wanted.map(|(id, _)| id).collect();
        let losses = cloud.world.faults().struck_at(FaultKind::DriverLosesState, host.as_str());
        found.has_lost_state = losses > 0;
        census.machines.insert(host.to_string(), found);
    }
    census
}

fn rows(cloud: &SimCloud) -> Census {
    let Some(database) = cloud.database() else { panic!("there is no database") };
    let census = look(&database, |txn| {
        Ok(Census {
            servers: by_id(txn, "compute/server/")?,
            hosts: by_key(txn, "compute/host/")?,
            usages: all(txn, "compute/usage/")?,
            reservations: all(txn, "compute/reservation/")?,
            networks: by_id::<serde_json::Value>(txn, "network/network/")?.into_keys().collect(),
            ports: by_id(txn, "network/port/")?,
            allocations: all(txn, "network/allocation/")?,
            volumes: by_id(txn, "volume/volume/")?,
            snapshots: by_id(txn, "volume/snapshot/")?,
            images: by_id(txn, "image/image/")?,
            ..Census::default()
        })
    });
    match census {
        Ok(census) => census,
        Err(error) => panic!("the database is not read: {error}"),
    }
}

fn objects(cloud: &SimCloud) -> Vec<Object> {
    let bytes = cloud.image_bytes();
    let listed = reading(async move { bytes.list(None).try_collect::<Vec<_>>().await });
    match listed {
        Ok(listed) => listed
            .into_iter()
            .map(|object| Object { path: object.location.to_string(), size_bytes: object.size })
            .collect(),
        Err(error) => panic!("the images' bytes are not listed: {error}"),
    }
}

/// What is committed, durable or not yet.
pub(super) fn look<T>(
    store: &Store,
    read: impl FnOnce(&Txn) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    read(&reading(store.begin())?)
}

/// Everything that is read here is in memory, so that reading takes no time and nothing moves meanwhile.
pub(super) fn reading<T>(work: impl Future<Output = T>) -> T {
    let Some(value) = work.now_or_never() else { panic!("reading has to wait") };
    value
}

pub(super) fn by_key<T: DeserializeOwned>(
    txn: &Txn,
    table: &str,
) -> Result<BTreeMap<String, T>, StoreError> {
    let found = txn.scan_raw(table, None, ROWS_MAX)?;
    let row = |(key, entry): (Arc<str>, Entry)| {
        let name = key.strip_prefix(table).unwrap_or(&key).to_owned();
        match serde_json::from_slice(&entry.value) {
            Ok(row) => (name, row),
            Err(error) => {
                panic!("{key} is not understood: {error}: {}", text(&entry.value))
            }
        }
    };
    Ok(found.into_iter().map(row).collect())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn all<T: DeserializeOwned>(txn: &Txn, table: &str) -> Result<Vec<T>, StoreError> {
    Ok(by_key(txn, table)?.into_values().collect())
}

fn by_id<T: DeserializeOwned>(txn: &Txn, table: &str) -> Result<BTreeMap<Uuid, T>, StoreError> {
    let id = |key: &str| key.parse().unwrap_or_else(|_| panic!("{table}{key} is no id"));
    Ok(by_key(txn, table)?.into_iter().map(|(key, row)| (id(&key), row)).collect())
}

/// The guests alone: what can be looked at in every instant.
#[must_use]
pub fn guests(world: &World, hosts: &[NodeId]) -> Census {
    let on = |host: &NodeId| {
        let machine = world.disk(host)?.get::<Machine>()?;
        Some((host.to_string(), Found { guests: guests_on(&machine), ..Found::default() }))
    };
    Census { machines: hosts.iter().filter_map(on).collect(), ..Census::default() }
}

fn guests_on(machine: &Machine) -> BTreeMap<Uuid, Guest> {
    let seen = |guest: GuestReport| {
        let seen = Guest {
            running: guest.power == PowerState::Running,
            serials: guest.disks.into_iter().filter(|serial| serial != "root").collect(),
            macs: guest.mac_addresses.into_iter().collect(),
        };
        (guest.guest.guest, seen)
    };
    machine.guests.guests().into_iter().map(seen).collect()
}

fn on(machine: &Machine) -> Found {
    let network = machine.network.state();
    let taps = network.taps.values().filter_map(|tap| Some(tap.spec.as_ref()?.port));
    let leases = network.dhcp.iter().flat_map(|(network, dhcp)| {
        dhcp.want.leases.iter().map(|l| (*network, l.mac_address.clone(), l.address))
    });
    Found {
        guests: guests_on(machine),
        disks: machine.disks.servers().into_iter().collect(),
        taps: taps.collect(),
        leases: leases.collect(),
        filters: network.filters.keys().copied().collect(),
        files: machine.volumes.simulated_files().into_keys().collect(),
        remembered: BTreeSet::new(),
        to_be_made: BTreeSet::new(),
        has_lost_state: false,
    }
}

/// What a host's own store tells of, if it tells now.
fn ledger(cloud: &SimCloud, host: &NodeId, table: &str) -> BTreeMap<Uuid, serde_json::Value> {
    let Some(store) = cloud.store_of(host) else { return BTreeMap::new() };
    match look(&store, |txn| by_id(txn, table)) {
        Ok(rows) => rows,
        Err(StoreError::Unavailable(_) | StoreError::NoSpace(_)) => BTreeMap::new(),
        Err(error) => panic!("the store of {host} is not read: {error}"),
    }
}
