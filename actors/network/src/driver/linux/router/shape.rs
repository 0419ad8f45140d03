//! What the kernel shall have of a router. Pure: from what is wanted and what there is to what is to be done.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use updraft_protocol::network::{Leg, Routing};

use super::super::ip::{Link, Route};
use crate::driver::names;

/// A router's cable to a bridge: one end is inside, the other on the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cable {
    pub(super) inner: String,
    pub(super) outer: String,
    pub(super) bridge: String,
    pub(super) mac: String,
    pub(super) mtu: u32,
    pub(super) addresses: BTreeSet<IpNet>,
}

impl Cable {
    fn of(leg: &Leg, inner: String, bridge: String) -> Self {
        Self {
            inner,
            outer: names::leg_outer(leg.port),
            bridge,
            mac: leg.mac_address.clone(),
            mtu: leg.mtu,
            addresses: leg.addresses.iter().copied().collect(),
        }
    }

    /// Whether its end inside is as it shall be.
    pub(super) fn is_as_made_inside(&self, link: &Link) -> bool {
        let is_it = link.address.as_ref() == Some(&self.mac) && link.mtu == self.mtu;
        is_it && link.is_up() && link.given() == self.addresses
    }

    /// Whether its end on the bridge is.
    pub(super) fn is_as_made_outside(&self, link: &Link, alias: &str) -> bool {
        link.ifalias.as_deref() == Some(alias)
            && link.master.as_ref() == Some(&self.bridge)
            && link.mtu == self.mtu
            && link.is_up()
    }

    /// What makes the end on the bridge so.
    pub(super) fn outside(&self, alias: &str) -> String {
        let Self { outer, bridge, mtu, .. } = self;
        format!("link set dev {outer} alias {alias} mtu {mtu} addrgenmode none master {bridge} up")
    }

    /// What makes the end inside so; nothing if it is. Neighbours are told where the addresses are.
    pub(super) fn inside(&self, have: Option<&Link>) -> Vec<String> {
        if have.is_some_and(|link| self.is_as_made_inside(link)) {
            return Vec::new();
        }
        let Self { inner, mac, mtu, .. } = self;
        let has = have.map(Link::given).unwrap_or_default();
        let surplus = has.difference(&self.addresses);
        let mut lines: Vec<String> =
            surplus.map(|net| format!("address delete {net} dev {inner}")).collect();
        for net in self.addresses.difference(&has) {
            let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
            lines.push(format!("address add {net} dev {inner}{nodad}"));
        }
        lines.push(format!("link set dev {inner} mtu {mtu} up"));
        // A device of which the MAC address is set tells its neighbours all its addresses, though it be the same.
        lines.push(format!("link set dev {inner} address {mac}"));
        lines
    }
}

/// All that the kernel shall have, but for the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) cables: Vec<Cable>,
    pub(super) routes: BTreeSet<Route>,
}

impl Shape {
    /// Of a router; an error names the physical network that the host has no bridge for.
    pub(super) fn of(
        routing: &Routing,
        physical_networks: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let inner =
            |leg: &Leg| Cable::of(leg, names::leg_inner(leg.port), names::bridge(leg.network));
        let mut cables: Vec<Cable> = routing.legs.iter().map(inner).collect();
        if let Some(outlet) = &routing.outlet {
            let bridge = match &outlet.physical_network {
                Some(name) => physical_networks.get(name).ok_or_else(|| name.clone())?.clone(),
                None => names::bridge(outlet.leg.network),
            };
            let mut cable = Cable::of(&outlet.leg, names::outlet_inner(outlet.leg.port), bridge);
            let floating = routing.floating.iter().map(|floating| floating.address);
            cable.addresses.extend(floating.map(|address| IpNet::from(IpAddr::from(address))));
            cables.push(cable);
        }
        Ok(Self { cables, routes: routes(routing) })
    }

    /// What makes these the routes: what goes comes first, since a new one may take its place.
    pub(super) fn routing(&self, have: &BTreeSet<Route>) -> Vec<String> {
        let surplus =
            have.difference(&self.routes).map(|route| format!("route delete {}", words(route)));
        let missing = self.routes.difference(have);
        let missing = missing.map(|route| format!("route add {} proto static", words(route)));
        surplus.chain(missing).collect()
    }
}

fn words(Route { to, via, dev }: &Route) -> String {
    let via = via.map(|hop| format!(" via {hop}")).unwrap_or_default();
    let dev = dev.as_ref().map(|dev| format!(" dev {dev}")).unwrap_or_default();
    format!("{to}{via}{dev}")
}

fn routes(routing: &Routing) -> BTreeSet<Route> {
    let everything = |hop: &IpAddr| match hop {
        IpAddr::V4(_) => IpNet::from(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::from(Ipv6Net::default()),
    };
    let hops = routing.outlet.iter().flat_map(|outlet| &outlet.hops);
    let out = hops.map(|hop| Route { to: everything(hop), via: Some(*hop), dev: None });
    let mut routes: BTreeMap<IpNet, Route> = out.map(|route| (route.to, route)).collect();
    // A user's own default route stands before that of the external network.
    for (to, via) in &routing.routes {
        routes.insert(to.trunc(), Route { to: to.trunc(), via: Some(*via), dev: None });
    }
    routes.into_values().collect()
}
