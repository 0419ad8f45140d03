//! What the host has, beside what is wanted of it.
//!
//! Pure: it only says what differs. What was applied and is no longer so is applied again; a thing that is
//! wanted by nobody is told of and left alone, unless a row says that this agent made it and shall remove it.

use std::collections::{BTreeMap, BTreeSet};

use updraft_protocol::network::{DhcpWant, FilterWant, OverlayWant, PortWant, RouterWant, Routing};
use uuid::Uuid;

use super::{rows::Row, want::Want};
use crate::driver::{FoundDhcp, FoundOverlay, FoundRouter, FoundTap, L2Inventory, names};

/// What a look at the host brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Ports that were not as applied, and are being applied again.
    pub lost_ports: BTreeSet<Uuid>,
    /// Networks whose DHCP server was not as applied, and is being applied again.
    pub lost_networks: BTreeSet<Uuid>,
    /// Security groups that were not as applied, and are being applied again.
    pub lost_filters: BTreeSet<Uuid>,
    /// Networks whose tunnel was not as applied, and is being applied again.
    pub lost_overlays: BTreeSet<Uuid>,
    /// Routers that were not as applied, and are being applied again.
    pub lost_routers: BTreeSet<Uuid>,
    /// Devices, namespaces and security groups that nobody wants and that are left alone.
    pub orphans: BTreeSet<String>,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Ports whose applied want the host no longer shows, with its generation.
    pub(super) lost_ports: BTreeMap<Uuid, u64>,
    /// Networks, likewise.
    pub(super) lost_networks: BTreeMap<Uuid, u64>,
    /// Security groups, likewise.
    pub(super) lost_filters: BTreeMap<Uuid, u64>,
    /// Networks' tunnels, likewise.
    pub(super) lost_overlays: BTreeMap<Uuid, u64>,
    /// Routers, likewise.
    pub(super) lost_routers: BTreeMap<Uuid, u64>,
    /// Bridges of this agent's on which nothing is and nothing shall be.
    pub(super) empty_bridges: BTreeSet<Uuid>,
    /// What nobody wants.
    pub(super) orphans: BTreeSet<String>,
}

/// The host and the rows.
pub(super) struct Compared<'a> {
    pub(super) life: Uuid,
    pub(super) devices: &'a L2Inventory,
    pub(super) namespaces: &'a BTreeMap<Uuid, FoundDhcp>,
    pub(super) found_routers: &'a BTreeMap<Uuid, FoundRouter>,
    pub(super) ports: &'a [Row<PortWant>],
    pub(super) networks: &'a [Row<DhcpWant>],
    pub(super) filters: &'a [Row<FilterWant>],
    pub(super) overlays: &'a [Row<OverlayWant>],
    pub(super) routers: &'a [Row<RouterWant>],
}

impl Compared<'_> {
    /// Everything that differs.
    pub(super) fn findings(&self) -> Findings {
        let wanted = self.wanted_networks();
        let (empty_bridges, mut orphans) = self.bridges(&wanted);
        orphans.extend(self.orphan_taps());
        orphans.extend(self.orphan_namespaces());
        orphans.extend(self.orphan_filters());
        orphans.extend(self.orphan_overlays());
        orphans.extend(self.orphan_routers());
        Findings {
            lost_ports: lost(self.ports, self.life, |want| self.port_is_as_wanted(want)),
            lost_networks: lost(self.networks, self.life, |want| self.dhcp_is_as_wanted(want)),
            lost_filters: lost(self.filters, self.life, |want| self.filter_is_as_wanted(want)),
            lost_overlays: lost(self.overlays, self.life, |want| self.overlay_is_as_wanted(want)),
            lost_routers: lost(self.routers, self.life, |want| self.router_is_as_wanted(want)),
            empty_bridges,
            orphans,
        }
    }

    fn wanted_networks(&self) -> BTreeSet<Uuid> {
        let ports = self.ports.iter().map(|row| &row.want).filter(|want| want.present());
        let networks = self.networks.iter().map(|row| &row.want).filter(|want| want.present());
        let overlays = self.overlays.iter().map(|row| &row.want).filter(|want| want.present());
        let networks = networks.map(|want| want.network).chain(overlays.map(|want| want.network));
        let routings = self.routers.iter().filter_map(|row| row.want.routing.as_ref());
        let stood_in = routings.flat_map(Routing::bridged).map(|leg| leg.network);
        ports.map(|want| want.network).chain(networks).chain(stood_in).collect()
    }

    fn port_is_as_wanted(&self, want: &PortWant) -> bool {
        let found = self.devices.taps.get(&names::tap(want.port));
        if !want.present {
            let owner = found.and_then(|tap| tap.port);
            return owner.is_none_or(|(port, _)| port != want.port);
        }
        let expected = FoundTap {
            port: Some((want.port, want.generation)),
            bridge: Some(names::bridge(want.network)),
            mtu: want.mtu,
            guarded: true,
        };
        found == Some(&expected)
    }

    fn dhcp_is_as_wanted(&self, want: &DhcpWant) -> bool {
        let found = self.namespaces.get(&want.network);
        if !want.present() {
            return !found.is_some_and(|found| found.mine);
        }
        let bridged = self.devices.bridges.contains_key(&names::bridge(want.network));
        bridged && found == Some(&FoundDhcp { mine: true, generation: Some(want.generation) })
    }

    fn filter_is_as_wanted(&self, want: &FilterWant) -> bool {
        let found = self.devices.filters.get(&want.group);
        if want.present { found == Some(&Some(want.generation)) } else { found.is_none() }
    }

    fn overlay_is_as_wanted(&self, want: &OverlayWant) -> bool {
        let found = self.devices.overlays.get(&names::overlay(want.network));
        let Some(tunnel) = &want.tunnel else {
            let owner = found.and_then(|found| found.network);
            return owner.is_none_or(|(network, _)| network != want.network);
        };
        let expected = FoundOverlay {
            network: Some((want.network, want.generation)),
            bridge: Some(names::bridge(want.network)),
            tunnel: Some(tunnel.clone()),
        };
        found == Some(&expected)
    }

    fn router_is_as_wanted(&self, want: &RouterWant) -> bool {
        let found = self.found_routers.get(&want.router);
        if !want.present() {
            return !found.is_some_and(|found| found.mine);
        }
        found == Some(&FoundRouter { mine: true, generation: Some(want.generation) })
    }

    fn bridges(&self, wanted: &BTreeSet<Uuid>) -> (BTreeSet<Uuid>, BTreeSet<String>) {
        let (mut empty, mut orphans) = (BTreeSet::new(), BTreeSet::new());
        for (name, bridge) in &self.devices.bridges {
            match bridge.network {
                Some(network) if wanted.contains(&network) => {}
                Some(network) if bridge.devices == 0 => {
                    empty.insert(network);
                }
                _ => {
                    orphans.insert(name.clone());
                }
            }
        }
        (empty, orphans)
    }

    fn orphan_taps(&self) -> impl Iterator<Item = String> {
        let known: BTreeSet<String> =
            self.ports.iter().map(|row| names::tap(row.want.port)).collect();
        let taps = self.devices.taps.keys();
        taps.filter(move |name| !known.contains(*name)).cloned()
    }

    fn orphan_overlays(&self) -> impl Iterator<Item = String> {
        let known: BTreeSet<String> =
            self.overlays.iter().map(|row| names::overlay(row.want.network)).collect();
        let overlays = self.devices.overlays.keys();
        overlays.filter(move |name| !known.contains(*name)).cloned()
    }

    fn orphan_routers(&self) -> impl Iterator<Item = String> {
        let known: BTreeSet<Uuid> = self.routers.iter().map(|row| row.want.router).collect();
        let routers = self.found_routers.keys();
        routers.filter(move |router| !known.contains(router)).map(|id| names::router(*id))
    }

    /// A group of which nothing was told may be one that a port has and that is under way.
    fn orphan_filters(&self) -> impl Iterator<Item = String> {
        let known: BTreeSet<Uuid> = self.filters.iter().map(|row| row.want.group).collect();
        let told = self.devices.filters.iter().filter(|(_, generation)| generation.is_some());
        let unknown = told.filter(move |(group, _)| !known.contains(*group));
        unknown.map(|(group, _)| format!("security group {group}"))
    }

    fn orphan_namespaces(&self) -> impl Iterator<Item = String> {
        let known: BTreeSet<Uuid> = self.networks.iter().map(|row| row.want.network).collect();
        let namespaces = self.namespaces.keys();
        namespaces.filter(move |network| !known.contains(network)).map(|id| names::namespace(*id))
    }
}

fn lost<W: Want>(
    rows: &[Row<W>],
    life: Uuid,
    is_as_wanted: impl Fn(&W) -> bool,
) -> BTreeMap<Uuid, u64> {
    rows.iter()
        .filter(|row| row.is_applied(life) && !is_as_wanted(&row.want))
        .map(|row| (row.want.id(), row.want.generation()))
        .collect()
}

#[cfg(test)]
mod tests;
