//! What now with a port?

use std::{collections::BTreeSet, net::IpAddr};

use updraft_protocol::network::{AllowedPair, FixedIp, PortInfo, PortWant};
use updraft_runtime::{
    always,
    env::UnixMicros,
    planted::{Bug, is_planted},
    sometimes,
};
use uuid::Uuid;

use crate::rows::{AddressPair, Binding, Fixed, Lease, Nic, PortRow, PortStatus, owner};

/// What the plan of a port may know besides the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The network's largest packet; `None` when the network is gone.
    pub mtu: Option<u32>,
    /// The network's subnets whose addresses DHCP agents hand out.
    pub served: BTreeSet<Uuid>,
    /// The port's security groups that are in force on its host.
    pub in_force: BTreeSet<Uuid>,
    /// Whether its network spans hosts, and its own does not yet reach the others.
    pub cut_off: bool,
    /// Whether the host of the router that stands at it says that it does.
    pub routed: bool,
    /// Whether the host of a router may still have something of it.
    pub held: bool,
}

/// What the plan of a port may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Call the host's L2 agent: plug it, or unplug it.
    Plug {
        /// The host.
        host: String,
        /// Of the want.
        generation: u64,
    },
    /// Cast to the host's compute node: it works.
    TellNode {
        /// The host.
        host: String,
        /// Of the want.
        generation: u64,
    },
    /// Call the compute service: its floating addresses changed.
    TellCompute {
        /// How often they have.
        changes: u64,
    },
    /// Call the compute service: a client took the port away from this server.
    TellTaken(Nic),
}

/// What can be learnt about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The L2 agent serves a want.
    Plugged {
        /// The host.
        host: String,
        /// Of the want.
        generation: u64,
        /// The device, if it is plugged.
        device: Option<String>,
    },
    /// The compute node was told of a want.
    NodeTold(u64),
    /// The compute service was told of so many changes.
    ComputeTold(u64),
    /// The compute service knows that the port was taken away from this server.
    TakenTold(Nic),
}

/// What should become of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It becomes this.
    Write(Box<PortRow>),
    /// It is gone from every host, as it shall be, and the servers that had it know.
    Delete,
    /// This is to be done.
    Act(Vec<Effect>),
}

/// What now?
#[must_use]
pub fn plan(row: &PortRow, facts: &Facts, now: UnixMicros) -> Next {
    let next = converge(row, facts, now);
    if next != *row {
        return Next::Write(Box::new(next));
    }
    let is_free = row.bindings.is_empty() && row.taken_from.is_empty() && !facts.held;
    if !row.is_present() && is_free {
        return Next::Delete;
    }
    Next::Act(effects(row))
}

/// The row with its wants, bindings and status as they should be; itself when they are.
#[must_use]
pub fn converge(row: &PortRow, facts: &Facts, now: UnixMicros) -> PortRow {
    let mut next = row.clone();
    let target = target(row);
    if let Some((host, guest)) = &target {
        let want = wanted(row, host, *guest, facts);
        set_want(&mut next, host, want);
    }
    let others: Vec<String> = next
        .bindings
        .keys()
        .filter(|host| target.as_ref().is_none_or(|(there, _)| there != *host))
        .cloned()
        .collect();
    sometimes!(target.is_some() && !others.is_empty(), "a port moves, and a host still has it");
    for host in others {
        let Some(binding) = next.bindings.get(&host) else { continue };
        let want = PortWant { present: false, ..binding.want.clone() };
        set_want(&mut next, &host, want);
    }
    let hasty = is_planted(Bug::BindingForgotten);
    next.bindings.retain(|_, binding| !binding.is_gone() && (binding.want.present || !hasty));
    if next.nic.is_none() {
        next.floating_told = next.floating_changes;
    }
    let status = status(&next, facts);
    if status != next.status {
        next.status = status;
        next.standard.touch(now);
    }
    next
}

/// Where a port shall be plugged, and for which guest.
fn target(row: &PortRow) -> Option<(String, Uuid)> {
    let host = row.host.clone().filter(|_| row.is_present())?;
    let by_device = || {
        let guest = row.device_owner.starts_with(owner::COMPUTE_PREFIX);
        guest.then(|| Uuid::try_parse(&row.device_id).ok()).flatten()
    };
    Some((host, row.nic.as_ref().map(|nic| nic.server).or_else(by_device)?))
}

/// What is wanted on the host; its generation is set by [`set_want`].
fn wanted(row: &PortRow, host: &str, guest: Uuid, facts: &Facts) -> PortWant {
    let known = row.bindings.get(host).map(|binding| binding.want.mtu);
    PortWant {
        port: row.id,
        generation: 0,
        present: true,
        network: row.network,
        server: guest,
        mac_address: row.mac_address.clone(),
        addresses: row.fixed_ips.iter().map(|fixed| fixed.address).collect(),
        mtu: facts.mtu.or(known).unwrap_or_default(),
        secured: row.port_security_enabled,
        groups: groups(row).clone(),
        pairs: row.allowed_address_pairs.iter().filter_map(allowed).collect(),
    }
}

/// The groups that say what may pass; what is not checked needs none.
fn groups(row: &PortRow) -> &BTreeSet<Uuid> {
    static NONE: BTreeSet<Uuid> = BTreeSet::new();
    if row.port_security_enabled { &row.security_groups } else { &NONE }
}

fn allowed(pair: &AddressPair) -> Option<AllowedPair> {
    Some(AllowedPair { mac_address: pair.mac_address.clone(), net: pair.net()? })
}

/// Wants this on a host, in a new generation if it differs from what was wanted there.
fn set_want(row: &mut PortRow, host: &str, mut want: PortWant) {
    if let Some(binding) = row.bindings.get(host) {
        want.generation = binding.want.generation;
        if want == binding.want {
            return;
        }
    }
    row.generation += 1;
    let known = row.bindings.get(host).map(|binding| binding.want.generation);
    always!(
        known < Some(row.generation),
        "what is newly wanted of a port has a new generation",
        "{known:?} was wanted on {host}, and now {}",
        row.generation
    );
    want.generation = row.generation;
    match row.bindings.get_mut(host) {
        Some(binding) => {
            // What is wanted there again is not left there.
            binding.down &= !want.present;
            binding.want = want;
        }
        None => {
            let binding = Binding {
                want,
                served_generation: 0,
                device: None,
                leases: BTreeSet::new(),
                down: false,
            };
            row.bindings.insert(host.to_owned(), binding);
        }
    }
}

fn status(row: &PortRow, facts: &Facts) -> PortStatus {
    if row.is_leg() {
        return match &row.host {
            Some(_) if row.admin_state_up && facts.routed && !facts.cut_off => PortStatus::Active,
            Some(_) if row.admin_state_up => PortStatus::Build,
            _ => PortStatus::Down,
        };
    }
    if row.is_infrastructure() {
        return row.status;
    }
    match target(row) {
        Some(_) if row.admin_state_up && is_up(row, facts) => PortStatus::Active,
        Some(_) if row.admin_state_up => PortStatus::Build,
        _ => PortStatus::Down,
    }
}

/// Whether the host's agents have said that the port works as it is now wanted.
#[must_use]
pub fn is_up(row: &PortRow, facts: &Facts) -> bool {
    sometimes!(
        row.current().is_some_and(|binding| {
            binding.is_served() && !leases(row, facts).is_subset(&binding.leases)
        }),
        "a port is plugged before DHCP knows of it"
    );
    row.current().is_some_and(|binding| {
        binding.is_served()
            && binding.device.is_some()
            && (leases(row, facts).is_subset(&binding.leases) || is_planted(Bug::PortUpBeforeLease))
            && groups(row).is_subset(&facts.in_force)
            && !facts.cut_off
    })
}

/// The port as a compute node needs it. `floating` says which floating address leads to one of its own.
#[must_use]
pub fn info_of(
    row: &PortRow,
    facts: &Facts,
    network_name: &str,
    mtu: u32,
    floating: impl Fn(IpAddr) -> Option<IpAddr>,
) -> PortInfo {
    let binding = row.current().filter(|binding| binding.is_served());
    let fixed = |fixed: &Fixed| FixedIp {
        subnet: fixed.subnet,
        address: fixed.address,
        floating: floating(fixed.address),
    };
    PortInfo {
        port: row.id,
        network: row.network,
        network_name: network_name.to_owned(),
        mac_address: row.mac_address.clone(),
        fixed_ips: row.fixed_ips.iter().map(fixed).collect(),
        mtu,
        device: binding.and_then(|binding| binding.device.clone()),
        up: is_up(row, facts),
    }
}

/// The addresses that a DHCP agent is to hand out to the port.
#[must_use]
pub fn leases(row: &PortRow, facts: &Facts) -> BTreeSet<Lease> {
    let lease =
        |address: IpAddr| Lease { port: row.id, address, mac_address: row.mac_address.clone() };
    row.fixed_ips
        .iter()
        .filter(|fixed| facts.served.contains(&fixed.subnet))
        .map(|fixed| lease(fixed.address))
        .collect()
}

fn effects(row: &PortRow) -> Vec<Effect> {
    let waited_for =
        |(host, binding): &(&String, &Binding)| row.host.as_ref() != Some(*host) && !binding.down;
    let alone = row.bindings.iter().all(|entry| !waited_for(&entry));
    let mut effects: Vec<Effect> = row
        .bindings
        .iter()
        .filter(|(_, binding)| !binding.is_served() && (alone || !binding.want.present))
        .map(|(host, binding)| Effect::Plug {
            host: host.clone(),
            generation: binding.want.generation,
        })
        .collect();
    if let (PortStatus::Active, Some(host), Some(binding)) = (row.status, &row.host, row.current())
        && row.nic.is_some()
        && row.told_generation < binding.want.generation
    {
        let generation = binding.want.generation;
        effects.push(Effect::TellNode { host: host.clone(), generation });
    }
    if row.floating_told < row.floating_changes {
        effects.push(Effect::TellCompute { changes: row.floating_changes });
    }
    effects.extend(row.taken_from.iter().cloned().map(Effect::TellTaken));
    effects
}

/// Folds in what was learnt; what belongs to another generation changes nothing.
pub fn learn(row: &mut PortRow, learned: Learned) -> bool {
    match learned {
        Learned::Plugged { host, generation, device } => {
            let Some(binding) = row.bindings.get_mut(&host) else { return false };
            if binding.want.generation != generation || binding.is_served() {
                return false;
            }
            binding.served_generation = generation;
            binding.device = device;
            true
        }
        Learned::NodeTold(generation) => raise(&mut row.told_generation, generation),
        Learned::ComputeTold(changes) => raise(&mut row.floating_told, changes),
        Learned::TakenTold(nic) => {
            let before = row.taken_from.len();
            row.taken_from.retain(|known| *known != nic);
            row.taken_from.len() != before
        }
    }
}

/// The port as it waits no longer for a host that it is to leave; `None` if the host is still to have it.
#[must_use]
pub fn left(row: &PortRow, host: &str) -> Option<PortRow> {
    let mut next = row.clone();
    if let Some(binding) = next.bindings.get_mut(host) {
        if binding.want.present {
            return None;
        }
        binding.down = true;
    }
    Some(next)
}

fn raise(known: &mut u64, to: u64) -> bool {
    let raised = to > *known;
    *known = to.max(*known);
    raised
}

#[cfg(test)]
mod tests;
