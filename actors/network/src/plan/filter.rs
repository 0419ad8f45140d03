//! What now with a security group on a host?

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use updraft_protocol::network::{FilterRule, FilterWant, Peer};
use uuid::Uuid;

use super::told;
pub use super::told::{Served, Tell};
use crate::rows::FilterRow;

/// Most rules of a group that hosts are told of: twenty times neutron's quota of a project.
pub const RULES_MAX: usize = 2_000;

/// Most addresses in all rules of a group that name other groups: what a host takes in a tenth of a second, and
/// what keeps row and message well below their own limits.
pub const NETS_MAX: usize = 10_000;

/// What a group lets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Whether replies pass by themselves.
    pub stateful: bool,
    /// Its rules, in any order.
    pub rules: Vec<FilterRule>,
    /// Who is in the groups that rules name as peers.
    pub peers: BTreeMap<Uuid, BTreeSet<IpNet>>,
}

/// What the plan may know besides the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The group; `None` when it is gone.
    pub group: Option<Group>,
    /// Whether the host has, or may still have, a port with the group.
    pub needed: bool,
}

/// What should become of the row.
pub type Next = told::Next<FilterRow>;

/// What now?
#[must_use]
pub fn plan(row: &FilterRow, facts: &Facts) -> Next {
    let untold = (!row.is_served()).then_some(Tell { generation: row.want.generation });
    told::next(row, converge(row, facts), untold, facts.group.is_none())
}

/// The row with its want as it should be; itself when it is.
#[must_use]
pub fn converge(row: &FilterRow, facts: &Facts) -> FilterRow {
    let mut want = wanted(row.group, row.want.generation, facts);
    if want == row.want {
        return row.clone();
    }
    want.generation += 1;
    FilterRow { want, ..row.clone() }
}

fn wanted(group: Uuid, generation: u64, facts: &Facts) -> FilterWant {
    let Some(found) = facts.group.as_ref().filter(|_| facts.needed) else {
        return FilterWant::absent(group, generation);
    };
    // The order of rules means nothing, so that none may make a new generation.
    let rules: BTreeSet<FilterRule> = found.rules.iter().cloned().collect();
    let rules: Vec<FilterRule> = rules.into_iter().take(RULES_MAX).collect();
    let peers = affordable(&rules, &found.peers);
    FilterWant { group, generation, present: true, stateful: found.stateful, rules, peers }
}

/// The peers that fit, in the order of their ids; whoever does not is let pass nothing.
fn affordable(
    rules: &[FilterRule],
    peers: &BTreeMap<Uuid, BTreeSet<IpNet>>,
) -> BTreeMap<Uuid, BTreeSet<IpNet>> {
    let (mut spent, mut affordable) = (0, BTreeMap::new());
    for (peer, nets) in peers {
        let naming = rules.iter().filter(|rule| rule.peer == Peer::Group(*peer)).count();
        let cost = naming * nets.len();
        if spent + cost <= NETS_MAX {
            spent += cost;
            affordable.insert(*peer, nets.clone());
        }
    }
    affordable
}

/// Folds in what was learnt; what is older than what is known changes nothing.
pub fn learn(row: &mut FilterRow, learned: &Served) -> bool {
    let Served { generation, present } = *learned;
    if !told::is_news(generation, row.served_generation, row.want.generation) {
        return false;
    }
    row.served_generation = generation;
    row.in_force = present;
    true
}

#[cfg(test)]
mod tests;
