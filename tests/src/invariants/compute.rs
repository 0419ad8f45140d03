//! Servers, guests, claims and quota.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::census::{Census, Claim, Flavor, Guest, Server, Usage};

pub(super) fn one_guest(census: &Census) -> Vec<String> {
    let mut hosts: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for (host, machine) in &census.machines {
        // What went off with its host's power and does not run may be another's already: it is to be cleared away.
        let counts = |guest: &Guest| guest.running || !machine.has_lost_power;
        for (id, _) in machine.guests.iter().filter(|(_, guest)| counts(guest)) {
            hosts.entry(*id).or_default().push(host);
        }
    }
    let several = hosts.into_iter().filter(|(_, hosts)| hosts.len() > 1);
    several.map(|(id, hosts)| format!("server {id} has guests on {}", hosts.join(", "))).collect()
}

fn claim_of(flavor: &Flavor) -> Claim {
    Claim { vcpus: flavor.vcpus, ram_mib: flavor.ram_mib, disk_gib: flavor.disk_gib }
}

/// While a resize may be reverted the larger of both sizes is kept; of one that moves each host keeps its own.
fn expected_claim(server: &Server, host: &str) -> Claim {
    let new = claim_of(&server.flavor);
    let Some(resize) = &server.resize else { return new };
    let old = claim_of(&resize.old_flavor);
    if server.migration.is_some() {
        let turns_back = resize.phase == "Reverting";
        return if server.is_parked_on(host) == turns_back { new } else { old };
    }
    Claim {
        vcpus: new.vcpus.max(old.vcpus),
        ram_mib: new.ram_mib.max(old.ram_mib),
        disk_gib: new.disk_gib.max(old.disk_gib),
    }
}

pub(super) fn claims(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    let has =
        |server: &Server, host: &str| server.host() == Some(host) || server.is_parked_on(host);
    for (name, host) in &census.hosts {
        for (id, claim) in &host.claims {
            match census.servers.get(id).filter(|server| has(server, name)) {
                None => broken.push(format!("host {name} has a leaked claim of server {id}")),
                Some(server) if expected_claim(server, name) != *claim => {
                    broken.push(format!("host {name} has {claim:?} claimed for server {id}"));
                }
                Some(_) => {}
            }
        }
    }
    for (id, server) in &census.servers {
        let parked = census.hosts.keys().filter(|host| server.is_parked_on(host));
        for name in server.host().into_iter().chain(parked.map(String::as_str)) {
            if !census.hosts.get(name).is_some_and(|host| host.claims.contains_key(id)) {
                broken.push(format!("server {id} is on host {name} without a claim"));
            }
        }
    }
    broken
}

/// Of memory and disk; processors are shared by as many as the operator says.
pub(super) fn room(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, host) in &census.hosts {
        let claims = host.claims.values();
        let (ram_mib, disk_gib) =
            claims.fold((0, 0), |(ram, disk), claim| (ram + claim.ram_mib, disk + claim.disk_gib));
        let has = (host.report.memory_mib, host.report.disk_gib);
        if ram_mib > has.0 || disk_gib > has.1 {
            let claimed = (ram_mib, disk_gib);
            broken.push(format!("{claimed:?} MiB and GiB are claimed of host {name}, of {has:?}"));
        }
    }
    broken
}

pub(super) fn quota(census: &Census) -> Vec<String> {
    let mut expected: BTreeMap<&str, Usage> = BTreeMap::new();
    for server in census.servers.values() {
        let usage = expected.entry(&server.project_id).or_insert_with(|| Usage {
            project_id: server.project_id.clone(),
            instances: 0,
            cores: 0,
            ram_mib: 0,
        });
        usage.instances += 1;
        usage.cores += server.flavor.vcpus;
        usage.ram_mib += server.flavor.ram_mib;
    }
    let counted: BTreeMap<&str, Usage> =
        census.usages.iter().map(|usage| (usage.project_id.as_str(), usage.clone())).collect();
    let projects: Vec<&str> = expected.keys().chain(counted.keys()).copied().collect();
    let differs = |project: &&str| expected.get(project) != counted.get(project);
    let mut projects: Vec<&str> = projects.into_iter().filter(differs).collect();
    projects.dedup();
    let words = |project: &str| {
        format!(
            "project {project} is counted as {:?}, and has {:?}",
            counted.get(project),
            expected.get(project)
        )
    };
    projects.into_iter().map(words).collect()
}

pub(super) fn outcome(census: &Census) -> Vec<String> {
    census.servers.iter().filter_map(|(id, server)| unsettled(*id, server)).collect()
}

fn unsettled(id: Uuid, server: &Server) -> Option<String> {
    let fault = server.fault.as_ref().is_some_and(|fault| !fault.message.is_empty());
    let words = match server.state.as_str() {
        _ if !server.is_wanted() => "is to be deleted and still there".to_owned(),
        "building" => "is still being built".to_owned(),
        "error" if !fault => "is in error without a reason".to_owned(),
        _ if server.action.is_some() => format!("is {} and {:?}", server.state, server.action),
        _ => {
            let phase = server.resize.as_ref().map(|resize| resize.phase.as_str());
            let phase = phase.filter(|phase| *phase != "Verify")?;
            format!("is still {phase}")
        }
    };
    Some(format!("server {id} {words}"))
}

pub(super) fn guests(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        for id in machine.guests.keys() {
            let there = census.servers.get(id).is_some_and(|s| s.host() == Some(host));
            if !there {
                broken.push(format!("host {host} has a guest of server {id}, which is not there"));
            }
        }
    }
    for (id, server) in census.servers.iter().filter(|(_, server)| server.is_built()) {
        let machine = server.host().and_then(|host| census.machines.get(host));
        let guest = machine.and_then(|machine| machine.guests.get(id));
        let said = format!("server {id} is {}", server.state);
        match guest {
            None => broken.push(format!("{said} and has no guest")),
            Some(guest) if server.state == "active" && !guest.running => {
                broken.push(format!("{said} and its guest does not run"));
            }
            Some(guest) if server.state == "stopped" && guest.running => {
                broken.push(format!("{said} and its guest runs"));
            }
            Some(_) => {}
        }
    }
    broken
}

fn foreign<'a>(
    census: &Census,
    host: &str,
    known: impl IntoIterator<Item = &'a Uuid>,
    what: &str,
) -> Vec<String> {
    let has = |server: &Server| server.host() == Some(host) || server.is_parked_on(host);
    let here = |id: &&Uuid| census.servers.get(*id).is_some_and(has);
    let foreign = known.into_iter().filter(|id| !here(id));
    foreign.map(|id| format!("host {host} has {what} of server {id}, which is not there")).collect()
}

pub(super) fn disks(census: &Census) -> Vec<String> {
    let machines = census.machines.iter();
    let foreign = machines.flat_map(|(host, found)| foreign(census, host, &found.disks, "files"));
    foreign.chain(lost_disks(census)).collect()
}

/// What may yet be reverted has its disk where it was.
fn lost_disks(census: &Census) -> Vec<String> {
    let lost = census.machines.iter().flat_map(|(host, found)| {
        let parked = census.servers.iter().filter(|(_, server)| server.is_parked_on(host));
        let lost =
            parked.filter(|(id, server)| server.image.is_some() && !found.disks.contains(id));
        lost.map(move |(id, _)| format!("host {host} has lost the disk of server {id}"))
    });
    lost.collect()
}

pub(super) fn remembered(census: &Census) -> Vec<String> {
    let machines = census.machines.iter();
    machines.flat_map(|(host, found)| foreign(census, host, &found.remembered, "a row")).collect()
}
