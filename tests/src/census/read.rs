//! Reads a simulated cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{FutureExt, TryStreamExt};
use object_store::ObjectStore;
use serde::{Deserialize, de::DeserializeOwned};
use updraft_harness::{fault::FaultKind, world::World};
use updraft_network::driver::sim;
use updraft_protocol::hypervisor::{GuestReport, PowerState};
use updraft_runtime::store::{Changes, Entry, Store, StoreError, Txn};
use updraft_transport::NodeId;
use uuid::Uuid;

use super::{Census, Found, Guest, Object};
use crate::cloud::{Machine, SimCloud};

/// Rows of one table read at most; a test has fewer.
const ROWS_MAX: usize = 100_000;

/// Where a volume node keeps what files there shall be.
const FILES: &str = "volume-node/file/";

/// Takes the census.
///
/// # Panics
/// If there is no database yet, or a row is not what its table's rows are.
#[must_use]
pub fn take(cloud: &SimCloud) -> Census {
    let mut census = Census::default();
    let all = Changes { overflowed: true, ..Changes::default() };
    update_rows(&mut census, cloud, &all);
    for host in cloud.hosts() {
        update_machine(&mut census, cloud, host);
    }
    census
}

/// Reads the rows again that have changed, and the objects; whether there were any.
pub(super) fn update_rows(census: &mut Census, cloud: &SimCloud, changes: &Changes) -> bool {
    let Some(database) = cloud.database() else { panic!("there is no database") };
    let mut updated = std::mem::take(census);
    let updating = look(&database, |txn| {
        let fresh = Fresh { txn, changes };
        Ok([
            fresh.by_id("compute/server/", &mut updated.servers)?,
            fresh.by_key("compute/host/", &mut updated.hosts)?,
            fresh.all("compute/usage/", &mut updated.usages)?,
            fresh.all("compute/reservation/", &mut updated.reservations)?,
            fresh.by_id("network/network/", &mut updated.networks)?,
            fresh.by_id("network/port/", &mut updated.ports)?,
            fresh.by_id("network/router/", &mut updated.routers)?,
            fresh.by_id("network/floatingip/", &mut updated.floating)?,
            fresh.all("network/allocation/", &mut updated.allocations)?,
            fresh.by_id("volume/volume/", &mut updated.volumes)?,
            fresh.by_id("volume/snapshot/", &mut updated.snapshots)?,
            fresh.by_id("image/image/", &mut updated.images)?,
        ])
    });
    let read = match updating {
        Ok(read) => read.contains(&true),
        Err(error) => panic!("the database is not read: {error}"),
    };
    let objects = objects(cloud);
    let differs = read || updated.objects != objects;
    updated.objects = objects;
    *census = updated;
    differs
}

/// Looks at the guests of a host again; whether there are others than before.
pub(super) fn update_guests(census: &mut Census, cloud: &SimCloud, host: &NodeId) -> bool {
    let Some(machine) = cloud.machine(host) else { return false };
    let guests = guests_on(&machine);
    let found = census.machines.entry(host.to_string()).or_default();
    let differs = found.guests != guests;
    found.guests = guests;
    found.has_lost_power = machine.guests.has_lost_power();
    differs
}

/// What a volume node's own row of a file says, as far as anything depends on it.
#[derive(Deserialize)]
struct Kept {
    want: Wanted,
}

#[derive(Deserialize)]
struct Wanted {
    present: bool,
}

/// Looks at a host again; whether anything is not as before.
pub(super) fn update_machine(census: &mut Census, cloud: &SimCloud, host: &NodeId) -> bool {
    let Some(machine) = cloud.machine(host) else { return false };
    let mut found = on(&machine);
    found.remembered = ledger(cloud, host, |txn| ids(txn, "node/guest/"));
    let files = ledger(cloud, host, |txn| by_key::<Kept>(txn, FILES)).into_iter();
    let wanted = files.filter(|(_, row)| row.want.present);
    found.to_be_made = wanted.map(|(key, _)| id(FILES, &key)).collect();
    let losses = cloud.world.faults().struck_at(FaultKind::DriverLosesState, host.as_str());
    found.has_lost_state = losses > 0;
    let known = census.machines.entry(host.to_string()).or_default();
    let differs = *known != found;
    *known = found;
    differs
}

/// The database, and what of it is new.
struct Fresh<'a> {
    txn: &'a Txn,
    changes: &'a Changes,
}

impl Fresh<'_> {
    /// The keys of a table that have changed, or all that there are.
    fn keys(&self, table: &str) -> impl Iterator<Item = &Arc<str>> {
        self.changes.keys.iter().filter(move |key| key.starts_with(table))
    }

    /// Whether anything in a table has changed, as far as anybody knows.
    fn differs(&self, table: &str) -> bool {
        self.changes.overflowed || self.keys(table).next().is_some()
    }

    fn update<K: Ord, T: DeserializeOwned>(
        &self,
        table: &str,
        into: &mut BTreeMap<K, T>,
        key_of: impl Fn(&str) -> K,
    ) -> Result<bool, StoreError> {
        if self.changes.overflowed {
            let all = by_key(self.txn, table)?.into_iter();
            *into = all.map(|(key, row)| (key_of(&key), row)).collect();
            return Ok(true);
        }
        for stored in self.keys(table) {
            let key = key_of(stored.strip_prefix(table).unwrap_or(stored));
            match self.txn.get_raw(stored)? {
                Some(entry) => drop(into.insert(key, decoded(stored, &entry))),
                None => drop(into.remove(&key)),
            }
        }
        Ok(self.differs(table))
    }

    fn by_key<T: DeserializeOwned>(
        &self,
        table: &str,
        into: &mut BTreeMap<String, T>,
    ) -> Result<bool, StoreError> {
        self.update(table, into, str::to_owned)
    }

    fn by_id<T: DeserializeOwned>(
        &self,
        table: &str,
        into: &mut BTreeMap<Uuid, T>,
    ) -> Result<bool, StoreError> {
        self.update(table, into, |key| id(table, key))
    }

    fn all<T: DeserializeOwned>(&self, table: &str, into: &mut Vec<T>) -> Result<bool, StoreError> {
        if self.differs(table) {
            *into = by_key(self.txn, table)?.into_values().collect();
        }
        Ok(self.differs(table))
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
        (name, decoded(&key, &entry))
    };
    Ok(found.into_iter().map(row).collect())
}

fn decoded<T: DeserializeOwned>(key: &str, entry: &Entry) -> T {
    match serde_json::from_slice(&entry.value) {
        Ok(row) => row,
        Err(error) => panic!("{key} is not understood: {error}: {}", text(&entry.value)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The ids of a table's rows, whatever else is in them.
fn ids(txn: &Txn, table: &str) -> Result<BTreeSet<Uuid>, StoreError> {
    let found = txn.scan_raw(table, None, ROWS_MAX)?;
    Ok(found.iter().map(|(key, _)| id(table, key.strip_prefix(table).unwrap_or(key))).collect())
}

fn id(table: &str, key: &str) -> Uuid {
    key.parse().unwrap_or_else(|_| panic!("{table}{key} is no id"))
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
            remote: BTreeMap::new(),
            macs: guest.mac_addresses.into_iter().collect(),
        };
        (guest.guest.guest, seen)
    };
    let mut guests: BTreeMap<Uuid, Guest> = machine.guests.guests().into_iter().map(seen).collect();
    for (guest, serial, export) in machine.guests.remote_disks() {
        guests.entry(guest).and_modify(|guest| drop(guest.remote.insert(serial, export)));
    }
    guests
}

fn on(machine: &Machine) -> Found {
    let (taps, leases, filters, tunnels, routers) = machine.network.look(|network| {
        let taps = network.taps.values().filter_map(|tap| Some(tap.spec.as_ref()?.port));
        let leases = network.dhcp.iter().flat_map(|(network, dhcp)| {
            dhcp.want.leases.iter().map(|l| (*network, l.mac_address.clone(), l.address))
        });
        let networks =
            network.overlays.values().filter_map(|found| Some(found.want.as_ref()?.network));
        let tunnels = networks.filter_map(|id| Some((id, sim::tunnel(network, id)?.clone())));
        let filters = network.filters.keys().copied().collect();
        let routers = network.routers.iter();
        let routers = routers.filter_map(|(id, it)| Some((*id, it.want.routing.clone()?)));
        (taps.collect(), leases.collect(), filters, tunnels.collect(), routers.collect())
    });
    let files = machine.volumes.simulated_files();
    let exports = files.iter().filter_map(|(id, file)| {
        let to = &file.export.as_ref()?.to;
        Some((*id, (to.attachment, to.host.clone())))
    });
    Found {
        guests: guests_on(machine),
        exports: exports.collect(),
        disks: machine.disks.servers().into_iter().collect(),
        taps,
        leases,
        filters,
        tunnels,
        routers,
        files: files.into_keys().collect(),
        remembered: BTreeSet::new(),
        to_be_made: BTreeSet::new(),
        has_lost_state: false,
        has_lost_power: machine.guests.has_lost_power(),
    }
}

/// What is read in a host's own store; nothing if it does not tell now.
fn ledger<T: Default>(
    cloud: &SimCloud,
    host: &NodeId,
    read: impl FnOnce(&Txn) -> Result<T, StoreError>,
) -> T {
    let Some(store) = cloud.store_of(host) else { return T::default() };
    match look(&store, read) {
        Ok(read) => read,
        Err(StoreError::Unavailable(_) | StoreError::NoSpace(_)) => T::default(),
        Err(error) => panic!("the store of {host} is not read: {error}"),
    }
}
