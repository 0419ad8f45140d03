//! A compute host: what it has, and what is claimed of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_protocol::{compute::FlavorSpec, hypervisor::HostReport};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// A host. Its claims are written in the transaction that writes the placement they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRow {
    /// Its node's id.
    pub name: String,
    /// Its id as a hypervisor.
    pub id: Uuid,
    /// Its id as a service.
    pub service_id: Uuid,
    /// What it has, by its own word.
    pub report: HostReport,
    /// Why its hypervisor cannot be used, if it cannot.
    pub unavailable: Option<String>,
    /// It cannot be used yet: its node has only just started.
    #[serde(default)]
    pub starting: bool,
    /// Why an operator took it out, if one did.
    pub disabled: Option<String>,
    /// An operator said that it is down: its power was cut, or it can reach nothing that a guest needs.
    #[serde(default)]
    pub forced_down: bool,
    /// Its availability zone.
    pub zone: String,
    /// When it last reported.
    pub reported: UnixMicros,
    /// What is claimed of it, by server.
    pub claims: BTreeMap<Uuid, Claim>,
}

impl Record for HostRow {
    const TABLE: &'static str = "compute/host";
    fn key(&self) -> String {
        self.name.clone()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::unique("id", &self.id.to_string())]
    }
}

/// What a server takes of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
}

impl Claim {
    /// What a flavor takes.
    #[must_use]
    pub fn of(flavor: &FlavorSpec) -> Self {
        Self {
            vcpus: flavor.vcpus.into(),
            ram_mib: flavor.ram_mib,
            disk_gib: flavor.disk_gib + flavor.ephemeral_gib + flavor.swap_mib.div_ceil(1024),
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            vcpus: self.vcpus.max(other.vcpus),
            ram_mib: self.ram_mib.max(other.ram_mib),
            disk_gib: self.disk_gib.max(other.disk_gib),
        }
    }

    /// The sum of each.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            vcpus: self.vcpus + other.vcpus,
            ram_mib: self.ram_mib + other.ram_mib,
            disk_gib: self.disk_gib + other.disk_gib,
        }
    }
}

impl HostRow {
    /// Why nothing new is placed here, though its node may live: by an operator's word, or in the manner in which
    /// nova takes a host out by itself.
    #[must_use]
    pub fn out_of_use(&self) -> Option<String> {
        let unavailable = || self.unavailable.as_ref().map(|reason| format!("AUTO: {reason}"));
        self.disabled.clone().or_else(unavailable)
    }

    /// Whether it says nothing that `old` did not, but that it lives.
    #[must_use]
    pub fn only_lives_on(&self, old: &Self) -> bool {
        Self { reported: old.reported, ..self.clone() } == *old
    }

    /// What is claimed in all, without the claim of `except`.
    #[must_use]
    pub fn used(&self, except: Option<Uuid>) -> Claim {
        self.claims
            .iter()
            .filter(|(server, _)| Some(**server) != except)
            .fold(Claim::default(), |sum, (_, claim)| sum.plus(*claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_host_lives_is_no_news_and_all_else_is() {
        let old = HostRow {
            name: "host-1".to_owned(),
            id: Uuid::nil(),
            service_id: Uuid::nil(),
            report: HostReport::default(),
            unavailable: Some("no libvirt".to_owned()),
            starting: false,
            disabled: None,
            forced_down: false,
            zone: "nova".to_owned(),
            reported: UnixMicros(1),
            claims: BTreeMap::new(),
        };
        let later = HostRow { reported: UnixMicros(2), ..old.clone() };
        assert!(later.only_lives_on(&old));
        let mended = HostRow { unavailable: None, ..later.clone() };
        let larger = HostReport { vcpus: 4, ..HostReport::default() };
        let larger = HostRow { report: larger, ..later };
        for news in [mended, larger] {
            assert!(!news.only_lives_on(&old), "{news:?}");
        }
    }
}
