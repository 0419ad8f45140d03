//! What now with a network's tunnel on a host?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use updraft_protocol::network::{OverlayWant, Tunnel};

use super::told;
pub use super::told::{Served, Tell};
use crate::rows::OverlayRow;

/// Most MAC addresses at other hosts that a host is told of for one network: what keeps row and message well
/// below their own limits.
pub const ADDRESSES_MAX: usize = 10_000;

/// A network, as far as tunnels are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its number, if its packets travel in tunnels.
    pub vni: Option<u32>,
    /// Largest packet.
    pub mtu: u32,
}

/// What the plan may know besides the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The network; `None` when it is gone.
    pub network: Option<Net>,
    /// The MAC addresses of the network's ports, by the host that shall have them.
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// Where these hosts are reached, as far as they have said.
    pub ends: BTreeMap<String, IpAddr>,
}

/// What should become of the row.
pub type Next = told::Next<OverlayRow>;

/// What now?
#[must_use]
pub fn plan(row: &OverlayRow, facts: &Facts) -> Next {
    let untold = (!row.is_served()).then_some(Tell { generation: row.want.generation });
    told::next(row, converge(row, facts), untold, facts.network.is_none())
}

/// The row with its want as it should be; itself when it is.
#[must_use]
pub fn converge(row: &OverlayRow, facts: &Facts) -> OverlayRow {
    let tunnel = wanted(&row.host, facts);
    if tunnel == row.want.tunnel {
        return row.clone();
    }
    let generation = row.want.generation + 1;
    let in_force = row.in_force && tunnel.is_some();
    let want = OverlayWant { network: row.network, generation, tunnel };
    OverlayRow { want, in_force, ..row.clone() }
}

fn wanted(host: &str, facts: &Facts) -> Option<Tunnel> {
    let Net { vni, mtu } = facts.network.clone()?;
    let (vni, local) = (vni?, *facts.ends.get(host)?);
    facts.places.contains_key(host).then(|| Tunnel { vni, mtu, local, peers: peers(local, facts) })
}

/// The ends at other hosts, in the order of their hosts as far as they fit; a tunnel is of one IP version.
fn peers(local: IpAddr, facts: &Facts) -> BTreeMap<IpAddr, BTreeSet<String>> {
    let (mut peers, mut left) = (BTreeMap::<IpAddr, BTreeSet<String>>::new(), ADDRESSES_MAX);
    for (host, macs) in &facts.places {
        let end = facts.ends.get(host).filter(|end| end.is_ipv4() == local.is_ipv4());
        let Some(end) = end.filter(|end| **end != local) else { continue };
        let known = peers.entry(*end).or_default();
        known.extend(macs.iter().take(left).cloned());
        left = left.saturating_sub(macs.len());
    }
    peers
}

/// Folds in what was learnt; what is older than what is known changes nothing.
pub fn learn(row: &mut OverlayRow, learned: &Served) -> bool {
    let Served { generation, present } = *learned;
    if !told::is_news(generation, row.served_generation, row.want.generation) {
        return false;
    }
    row.served_generation = generation;
    row.in_force = present && row.want.tunnel.is_some();
    true
}

#[cfg(test)]
mod tests;
