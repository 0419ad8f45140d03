//! What hosts need to know of a network's tunnels: who else has ports of it, with which MAC addresses, and where.
//!
//! Places are read from an index of ports, never from the ports: a tunnel changes when a port comes, goes or
//! moves, and not whenever a port changes its state.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use updraft_runtime::{
    env::UnixMicros,
    store::{StoreError, Txn},
};
use uuid::Uuid;

use super::dhcp;
use crate::{
    plan::{
        overlay::{self, ADDRESSES_MAX},
        port,
    },
    rows::{NetworkRow, NetworkType, OverlayRow, PortRow, TunnelRow},
};

/// Whether the network's packets travel in tunnels.
fn is_overlay(txn: &Txn, network: Uuid) -> Result<bool, StoreError> {
    let row = txn.get::<NetworkRow>(&network.to_string())?;
    Ok(row.is_some_and(|row| row.segment.network_type == NetworkType::Vxlan))
}

/// Whether the host that the port shall be plugged on is still without the tunnel of the port's network.
pub(crate) fn is_awaited(txn: &Txn, row: &PortRow) -> Result<bool, StoreError> {
    let Some(host) = &row.host else { return Ok(false) };
    if !is_overlay(txn, row.network)? {
        return Ok(false);
    }
    let key = OverlayRow::key_of(row.network, host);
    let entries = txn.index_entries::<OverlayRow>(OverlayRow::IN_FORCE, &key)?;
    Ok(entries.iter().all(|(_, row)| *row != key))
}

/// Makes the rows by which the L2 agents of the port's hosts will hear of its network's tunnel.
pub(crate) fn ensure_rows(txn: &mut Txn, row: &PortRow) -> Result<(), StoreError> {
    if row.hosts().next().is_none() || !is_overlay(txn, row.network)? {
        return Ok(());
    }
    let network = row.network.to_string();
    let known = txn.index_entries::<OverlayRow>(OverlayRow::BY_NETWORK, &network)?;
    for host in row.hosts() {
        let key = OverlayRow::key_of(row.network, host);
        if known.iter().all(|(_, row)| *row != key) {
            txn.insert(&OverlayRow::new(row.network, host, row.trace))?;
        }
    }
    Ok(())
}

/// What the plan of a network's tunnel on a host may know.
pub(crate) fn facts(txn: &Txn, row: &OverlayRow) -> Result<overlay::Facts, StoreError> {
    let Some(network) = txn.get::<NetworkRow>(&row.network.to_string())? else {
        return Ok(overlay::Facts::default());
    };
    let places = places(txn, row.network)?;
    let mut ends: BTreeMap<String, IpAddr> = BTreeMap::new();
    for host in places.keys() {
        if let Some(end) = txn.get::<TunnelRow>(host)? {
            ends.insert(host.clone(), end.address);
        }
    }
    if places.values().map(BTreeSet::len).sum::<usize>() > ADDRESSES_MAX {
        tracing::warn!(network = %row.network, "more ports than a host is told of");
    }
    if places.contains_key(&row.host) && !ends.contains_key(&row.host) {
        tracing::warn!(host = row.host, "it has not yet said where its tunnels are reached");
    }
    let vxlan = network.segment.network_type == NetworkType::Vxlan;
    let vni = network.segment.segmentation_id.filter(|_| vxlan);
    Ok(overlay::Facts { network: Some(overlay::Net { vni, mtu: network.mtu }), places, ends })
}

/// The MAC addresses of the network's ports, by host.
fn places(txn: &Txn, network: Uuid) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (value, _) in txn.index_entries::<PortRow>(PortRow::BY_PLACE, &format!("{network}/"))? {
        if let Some((_, host, mac)) = PortRow::read_place(&value) {
            places.entry(host.to_owned()).or_default().insert(mac.to_owned());
        }
    }
    Ok(places)
}

/// Tells the ports of a host that it has their network's tunnel now, or no longer: it decides whether they work.
pub(crate) fn record(txn: &mut Txn, row: &OverlayRow, now: UnixMicros) -> Result<(), StoreError> {
    let key = OverlayRow::key_of(row.network, &row.host);
    for port in txn.find::<PortRow>("host", &key)? {
        let next = port::converge(&port, &dhcp::port_facts(txn, &port)?, now);
        if next != port {
            txn.put(&next)?;
        }
    }
    Ok(())
}

/// Notes where the tunnels of a host are reached, unless a later start of it has said so.
pub(crate) fn announced(txn: &mut Txn, said: &TunnelRow) -> Result<(), StoreError> {
    let known = txn.get::<TunnelRow>(&said.host)?;
    match known {
        Some(known) if known.incarnation > said.incarnation || known == *said => Ok(()),
        _ => txn.put(said),
    }
}
