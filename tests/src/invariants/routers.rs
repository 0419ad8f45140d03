//! Routers and floating IPs.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use updraft_protocol::network::Routing;
use uuid::Uuid;

use crate::census::{Census, Router};

/// What hosts have of routers.
fn found(census: &Census) -> impl Iterator<Item = (&str, Uuid, &Routing)> {
    census.machines.iter().flat_map(|(host, machine)| {
        machine.routers.iter().map(move |(id, routing)| (host.as_str(), *id, routing))
    })
}

pub(super) fn one_host(census: &Census) -> Vec<String> {
    let mut hosts: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for (host, router, _) in found(census) {
        hosts.entry(router).or_default().push(host);
    }
    hosts.retain(|_, hosts| hosts.len() > 1);
    let words = |(router, hosts): (Uuid, Vec<&str>)| {
        format!("router {router} is on {}", hosts.join(" and on "))
    };
    hosts.into_iter().map(words).collect()
}

/// Floating addresses, and those by which routers themselves are seen.
pub(super) fn one_answer(census: &Census) -> Vec<String> {
    let mut answer: BTreeMap<(Uuid, IpAddr), Vec<String>> = BTreeMap::new();
    for (host, router, routing) in found(census) {
        let Some(outlet) = &routing.outlet else { continue };
        let own = outlet.leg.addresses.iter().map(IpNet::addr);
        let floating = routing.floating.iter().map(|floating| IpAddr::from(floating.address));
        for address in own.chain(floating) {
            let who = answer.entry((outlet.leg.network, address)).or_default();
            who.push(format!("router {router} on {host}"));
        }
    }
    answer.retain(|_, who| who.len() > 1);
    let words = |((_, address), who): ((_, IpAddr), Vec<String>)| {
        format!("{address} is answered for by {}", who.join(" and by "))
    };
    answer.into_iter().map(words).collect()
}

pub(super) fn as_rows(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, id, _) in found(census) {
        let is_its =
            |router: &Router| router.host.as_deref() == Some(host) && router.admin_state_up;
        if !census.routers.get(&id).is_some_and(is_its) {
            broken.push(format!("host {host} has leaked router {id}"));
        }
    }
    for (id, router) in &census.routers {
        if router.goal != "Present" {
            broken.push(format!("router {id} is to be deleted and still there"));
        }
    }
    broken.extend(leading(census));
    broken
}

/// Floating IPs that lead where no row says, and those that do not lead where theirs says.
fn leading(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, id, routing) in found(census) {
        for it in &routing.floating {
            let (address, fixed) = (IpAddr::from(it.address), Some(IpAddr::from(it.fixed)));
            let mut rows = census.floating.values();
            if !rows
                .any(|row| row.router == Some(id) && row.address == address && row.fixed == fixed)
            {
                broken.push(format!("router {id} on {host} leads {address} where no row says"));
            }
        }
    }
    for (id, row) in &census.floating {
        let Some(router) = row.router else { continue };
        let up = census.routers.get(&router).is_some_and(|router| router.admin_state_up);
        let leads = |routing: &Routing| {
            let mut floating = routing.floating.iter();
            floating.any(|it| {
                IpAddr::from(it.address) == row.address && Some(it.fixed.into()) == row.fixed
            })
        };
        let is_led = found(census).any(|(_, found, routing)| found == router && leads(routing));
        if up && !is_led {
            broken.push(format!("floating IP {id} does not lead to {:?}", row.fixed));
        }
    }
    broken
}
