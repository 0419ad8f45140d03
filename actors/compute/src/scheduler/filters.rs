//! Which hosts can take a server, and why the others cannot.

use super::{GroupPolicy, HostState, Request};
use crate::conductor::ZONE;

/// Why a host cannot take a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The host.
    pub host: String,
    /// The filter's name.
    pub filter: &'static str,
    /// With which figures.
    pub reason: String,
}

impl Refusal {
    /// Of a host that is no longer known.
    pub(super) fn gone(host: &str) -> Self {
        let reason = "the host is no longer known".to_owned();
        Self { host: host.to_owned(), filter: ComputeFilter.name(), reason }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.host, self.filter, self.reason)
    }
}

/// Says whether a host can take a server.
pub trait Filter: Send + Sync + 'static {
    /// Its name, as a fault shows it.
    fn name(&self) -> &'static str;

    /// `Err` gives the reason with its figures.
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String>;
}

/// The filters used when nobody says otherwise, cheapest and most telling first.
#[must_use]
pub fn default_filters() -> Vec<Box<dyn Filter>> {
    vec![
        Box::new(ComputeFilter),
        Box::new(RetryFilter),
        Box::new(MigrationFilter),
        Box::new(EvacuationFilter),
        Box::new(AvailabilityZoneFilter),
        Box::new(VolumeHostFilter),
        Box::new(ServerGroupFilter),
        Box::new(VcpuFilter),
        Box::new(RamFilter),
        Box::new(DiskFilter),
    ]
}

/// The host lives, is enabled and has a hypervisor that answers.
struct ComputeFilter;

impl Filter for ComputeFilter {
    fn name(&self) -> &'static str {
        "ComputeFilter"
    }
    fn check(&self, host: &HostState, _request: &Request) -> Result<(), String> {
        if let Some(reason) = &host.row.disabled {
            return Err(format!("the host is disabled: {reason}"));
        }
        if host.row.forced_down {
            return Err("an operator said that the host is down".to_owned());
        }
        if !host.live {
            return Err("the host has not been heard for 3 s".to_owned());
        }
        match &host.row.unavailable {
            Some(reason) => Err(format!("its hypervisor is not available: {reason}")),
            None => Ok(()),
        }
    }
}

/// The host has not failed with this server before.
struct RetryFilter;

impl Filter for RetryFilter {
    fn name(&self) -> &'static str {
        "RetryFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let tried = request.server.tried.iter().find(|(name, _)| *name == host.row.name);
        tried.map_or(Ok(()), |(_, reason)| Err(format!("it was tried and failed: {reason}")))
    }
}

/// The host is not the one that the server moves away from, and is the one that was named.
struct MigrationFilter;

impl Filter for MigrationFilter {
    fn name(&self) -> &'static str {
        "MigrationFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let name = &host.row.name;
        let Some(migration) = &request.server.migration else { return Ok(()) };
        match &migration.to {
            _ if migration.from == *name => Err("the server moves away from it".to_owned()),
            Some(to) if to != name => Err(format!("host {to} was asked for")),
            _ => Ok(()),
        }
    }
}

/// The host is not the one that the server is taken from, is the one that was named, and has nothing left of it.
struct EvacuationFilter;

impl Filter for EvacuationFilter {
    fn name(&self) -> &'static str {
        "EvacuationFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let name = &host.row.name;
        if request.left_on.contains(name) {
            return Err("it has yet to clear away what it had of the server".to_owned());
        }
        let Some(evacuation) = &request.server.evacuation else { return Ok(()) };
        match &evacuation.to {
            _ if evacuation.from == *name => Err("the server is taken from it".to_owned()),
            Some(to) if to != name => Err(format!("host {to} was asked for")),
            _ => Ok(()),
        }
    }
}

/// The host is in the zone asked for.
struct AvailabilityZoneFilter;

impl Filter for AvailabilityZoneFilter {
    fn name(&self) -> &'static str {
        "AvailabilityZoneFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        match &request.server.availability_zone {
            Some(zone) if *zone != host.row.zone => {
                Err(format!("zone {zone} was asked for, the host is in {}", host.row.zone))
            }
            _ => Ok(()),
        }
    }
}

/// The host is in the default zone, if none was asked for: what the driver of zones asks besides.
pub(super) struct ZoneFilter;

impl Filter for ZoneFilter {
    fn name(&self) -> &'static str {
        "ZoneFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        if request.server.availability_zone.is_some() || host.row.zone == ZONE {
            return Ok(());
        }
        Err(format!("no zone was asked for, which means {ZONE}, the host is in {}", host.row.zone))
    }
}

/// The host has the server's volumes.
struct VolumeHostFilter;

impl Filter for VolumeHostFilter {
    fn name(&self) -> &'static str {
        "VolumeHostFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        match &request.server.volume_host {
            Some(needed) if *needed != host.row.name => {
                Err(format!("the server's volume is on host {needed}"))
            }
            _ => Ok(()),
        }
    }
}

/// The server group's policy holds.
struct ServerGroupFilter;

impl Filter for ServerGroupFilter {
    fn name(&self) -> &'static str {
        "ServerGroupFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let has_member = request.group_hosts.contains(&host.row.name);
        match request.policy {
            Some(GroupPolicy::AntiAffinity) if has_member => {
                Err("it has a server of the same anti-affinity group".to_owned())
            }
            Some(GroupPolicy::Affinity) if !request.group_hosts.is_empty() && !has_member => {
                Err("the servers of the affinity group are on another host".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Checks one amount.
fn fits(what: &str, needed: u64, used: u64, total: u64) -> Result<(), String> {
    let free = total.saturating_sub(used);
    if needed <= free {
        return Ok(());
    }
    Err(format!("needs {needed} {what}, {free} free of {total} ({used} claimed)"))
}

/// Enough virtual processors are free.
struct VcpuFilter;

impl Filter for VcpuFilter {
    fn name(&self) -> &'static str {
        "VcpuFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let needed = request.server.claim().vcpus;
        fits("VCPUs", needed, host.used.vcpus, host.total.vcpus)
    }
}

/// Enough memory is free.
struct RamFilter;

impl Filter for RamFilter {
    fn name(&self) -> &'static str {
        "RamFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let needed = request.server.claim().ram_mib;
        fits("MiB of memory", needed, host.used.ram_mib, host.total.ram_mib)
    }
}

/// Enough disk is free.
struct DiskFilter;

impl Filter for DiskFilter {
    fn name(&self) -> &'static str {
        "DiskFilter"
    }
    fn check(&self, host: &HostState, request: &Request) -> Result<(), String> {
        let needed = request.server.claim().disk_gib;
        fits("GiB of disk", needed, host.used.disk_gib, host.total.disk_gib)
    }
}
