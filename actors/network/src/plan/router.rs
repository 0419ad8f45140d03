//! What now with a router?

use std::collections::{BTreeMap, BTreeSet};

use updraft_protocol::network::{RouterWant, Routing};
use updraft_runtime::{always, sometimes};

use crate::rows::{Placement, RouterRow};

/// A host with an agent, as far as routers are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Whether an operator lets it have routers.
    pub enabled: bool,
    /// Whether it was heard lately.
    pub alive: bool,
    /// How many routers it has.
    pub routers: usize,
    /// The physical networks that it has a way to.
    pub physical_networks: BTreeSet<String>,
}

impl Host {
    /// Whether it may have a router that does this, and has the way out that it needs.
    #[must_use]
    pub fn fits(&self, routing: &Routing) -> bool {
        let physical = routing.outlet.as_ref().and_then(|outlet| outlet.physical_network.as_ref());
        self.enabled && physical.is_none_or(|name| self.physical_networks.contains(name))
    }
}

/// What the plan may know besides the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the router is to do, if anything.
    pub routing: Option<Routing>,
    /// The hosts that there are; `None` where that is not known, and no host is chosen or left.
    pub hosts: Option<BTreeMap<String, Host>>,
}

/// What the plan may ask for: call the host's L2 agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// The host.
    pub host: String,
    /// Of the want.
    pub generation: u64,
}

/// What can be learnt of a router on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The host serves a want.
    Served {
        /// The host.
        host: String,
        /// Of the want.
        generation: u64,
    },
    /// It does not.
    Refused {
        /// The host.
        host: String,
        /// Of the want.
        generation: u64,
        /// Why, for a person.
        reason: String,
    },
}

/// What should become of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It becomes this.
    Write(Box<RouterRow>),
    /// It is gone from every host, as it shall be.
    Delete,
    /// This is to be done.
    Act(Vec<Tell>),
    /// There is something to be done, and no host for it.
    Homeless,
}

/// What now?
#[must_use]
pub fn plan(row: &RouterRow, facts: &Facts) -> Next {
    let next = converge(row, facts);
    if next != *row {
        return Next::Write(Box::new(next));
    }
    if !row.is_present() && row.placements.is_empty() {
        return Next::Delete;
    }
    if row.host.is_none() && facts.routing.is_some() {
        return Next::Homeless;
    }
    let untold = row.placements.iter().filter(|(_, placement)| !placement.is_served());
    let told = untold.filter_map(|(host, _)| Some((host, row.told_of(host)?)));
    Next::Act(told.map(|(host, want)| tell(host, want)).collect())
}

fn tell(host: &str, want: &RouterWant) -> Tell {
    Tell { host: host.to_owned(), generation: want.generation }
}

/// The row with its host and its wants as they should be; itself when they are.
#[must_use]
pub fn converge(row: &RouterRow, facts: &Facts) -> RouterRow {
    let mut next = row.clone();
    if let Some(hosts) = &facts.hosts {
        next.host = place(row, facts.routing.as_ref(), hosts);
        leave_behind(&mut next, hosts);
    }
    if let Some((host, routing)) = next.host.clone().zip(facts.routing.clone()) {
        set_want(&mut next, &host, Some(routing));
    } else if let Some(host) = next.host.clone().filter(|host| row.placements.contains_key(host)) {
        set_want(&mut next, &host, None);
    }
    let others = next.placements.keys().filter(|host| next.host.as_ref() != Some(host));
    let others: Vec<String> = others.cloned().collect();
    sometimes!(
        next.host.is_some() && !others.is_empty(),
        "a router moves, and another host still has it"
    );
    for host in others {
        set_want(&mut next, &host, None);
    }
    next.placements.retain(|_, placement| !placement.is_over());
    next
}

/// The host that shall have the router. It stays where it is as long as it can, also while that host is silent: only its
/// operator can say that the host is gone.
fn place(
    row: &RouterRow,
    routing: Option<&Routing>,
    hosts: &BTreeMap<String, Host>,
) -> Option<String> {
    let here = row.host.as_ref().filter(|host| hosts.contains_key(*host));
    let Some(routing) = routing else { return here.cloned() };
    if here.and_then(|host| hosts.get(host)).is_some_and(|host| host.fits(routing)) {
        return here.cloned();
    }
    let able = hosts.iter().filter(|(_, host)| host.alive && host.fits(routing));
    let best = able.min_by_key(|(name, host)| (host.routers, *name)).map(|(name, _)| name);
    best.or(here).cloned()
}

/// A host that is silent and whose agent an operator has deleted is gone by the operator's word.
fn leave_behind(row: &mut RouterRow, hosts: &BTreeMap<String, Host>) {
    for (host, placement) in &mut row.placements {
        placement.gone = !hosts.contains_key(host);
    }
}

/// Wants this on a host, in a new generation if it differs from what was wanted there.
fn set_want(row: &mut RouterRow, host: &str, routing: Option<Routing>) {
    let known = row.placements.get(host);
    if known.map(|placement| &placement.want.routing) == Some(&routing) {
        return;
    }
    row.generation += 1;
    always!(
        known.map(|placement| placement.want.generation) < Some(row.generation),
        "what is newly wanted of a router has a new generation",
        "{} on {host}",
        row.generation
    );
    let ports = routing.as_ref().map(Routing::ports).unwrap_or_default();
    let want = RouterWant { router: row.id, generation: row.generation, routing };
    let placement =
        row.placements.entry(host.to_owned()).or_insert_with(|| Placement::new(want.clone()));
    placement.want = want;
    placement.fault = None;
    placement.holds.extend(ports);
}

/// Folds in what was learnt; what belongs to another generation changes nothing.
pub fn learn(row: &mut RouterRow, learned: Learned) -> bool {
    let (host, generation) = match &learned {
        Learned::Served { host, generation } | Learned::Refused { host, generation, .. } => {
            (host, *generation)
        }
    };
    let Some(placement) = row.placements.get_mut(host) else { return false };
    if placement.want.generation != generation || placement.is_served() {
        return false;
    }
    match learned {
        Learned::Served { .. } => {
            placement.served_generation = generation;
            placement.served = placement.want.routing.clone();
            placement.holds = placement.served.as_ref().map(Routing::ports).unwrap_or_default();
            placement.fault = None;
            true
        }
        Learned::Refused { reason, .. } => {
            let is_news = placement.fault.as_ref() != Some(&reason);
            placement.fault = Some(reason);
            is_news
        }
    }
}

#[cfg(test)]
mod tests;
