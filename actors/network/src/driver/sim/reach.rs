//! Where a frame that a guest sends comes out, on simulated hosts between which the physical network carries all.
//!
//! Speaks of forwarding alone; whether security groups let a packet pass is said by `SimHost::may_open`.

use std::collections::BTreeSet;

use updraft_protocol::network::{Leg, Routing, Tunnel};
use uuid::Uuid;

use super::{SimState, SimTap};
use crate::driver::{TapSpec, names};

/// What a frame is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Everybody, as a question by ARP.
    Broadcast,
    /// One MAC address; lower-case, colons.
    Unicast(&'a str),
}

/// The ports whose guests, or routers, hear a frame that the guest of this port sends, on whichever of the hosts. A frame leaves the
/// host to all peers, or to the one that has the MAC address; at its end it goes to taps and never onward.
#[must_use]
pub fn reached(hosts: &[&SimState], from: Uuid, frame: Frame<'_>) -> BTreeSet<Uuid> {
    let name = names::tap(from);
    let sends = |host: &&&SimState| host.taps.get(&name).is_some_and(|tap| is_plugged(host, tap));
    let Some(here) = hosts.iter().find(sends) else { return BTreeSet::new() };
    let Some(spec) = here.taps.get(&name).and_then(|tap| tap.spec.as_ref()) else {
        return BTreeSet::new();
    };
    let mut heard = heard_on(here, spec.network, frame);
    if let Some(tunnel) = tunnel(here, spec.network) {
        for there in hosts.iter().filter(|host| !std::ptr::eq(**host, *here)) {
            if self::tunnel(there, spec.network).is_some_and(|end| carries(tunnel, end, frame)) {
                heard.extend(heard_on(there, spec.network, frame));
            }
        }
    }
    heard.remove(&from);
    heard
}

/// Whether what enters a tunnel at one host comes out of another's.
#[must_use]
pub fn carries(from: &Tunnel, to: &Tunnel, frame: Frame<'_>) -> bool {
    let macs = from.peers.get(&to.local).filter(|_| from.vni == to.vni);
    macs.is_some_and(|macs| match frame {
        Frame::Broadcast => true,
        Frame::Unicast(mac) => macs.contains(mac),
    })
}

/// The network's tunnel on a host, if it is on the network's bridge.
#[must_use]
pub fn tunnel(host: &SimState, network: Uuid) -> Option<&Tunnel> {
    let overlay = host.overlays.get(&names::overlay(network))?;
    let on_bridge = overlay.bridge.as_deref() == Some(&*names::bridge(network));
    overlay.want.as_ref().filter(|_| on_bridge)?.tunnel.as_ref()
}

fn heard_on(host: &SimState, network: Uuid, frame: Frame<'_>) -> BTreeSet<Uuid> {
    let plugged = host.taps.values().filter(|tap| is_plugged(host, tap));
    let specs = plugged.filter_map(|tap| tap.spec.as_ref());
    let hears = |spec: &&TapSpec| match frame {
        Frame::Broadcast => true,
        Frame::Unicast(mac) => spec.mac_address == mac,
    };
    let here = specs.filter(|spec| spec.network == network);
    let ports = here.filter(hears).map(|spec| spec.port);
    let routings = host.routers.values().filter_map(|router| router.want.routing.as_ref());
    let legs = routings.flat_map(Routing::bridged).filter(|leg| leg.network == network);
    let hears = |leg: &&Leg| match frame {
        Frame::Broadcast => true,
        Frame::Unicast(mac) => leg.mac_address == mac,
    };
    ports.chain(legs.filter(hears).map(|leg| leg.port)).collect()
}

/// Whether the tap is on its network's bridge.
fn is_plugged(host: &SimState, tap: &SimTap) -> bool {
    let Some(spec) = &tap.spec else { return false };
    let bridge = names::bridge(spec.network);
    tap.bridge.as_deref() == Some(&*bridge) && host.bridges.contains_key(&bridge)
}
