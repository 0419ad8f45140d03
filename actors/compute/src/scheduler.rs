//! Chooses a host for a server.
//!
//! Owns the ranking: filters say which hosts can take it and why the others cannot, a driver ranks those
//! that can. Promises that what was chosen fits at the moment of the commit, group policy included, since
//! the claim is written in the transaction that checks it. The next best hosts stay with the placement as
//! alternates. Users add filters and weighers as traits.

mod actor;
mod driver;
mod fault;
mod filters;
mod judge;
mod weighers;

pub use actor::Scheduler;
pub use driver::{Driver, DriverKind};
pub(crate) use fault::reasons;
pub use filters::{Filter, Refusal, default_filters};
pub use judge::Judge;
pub use weighers::{RamWeigher, VcpuWeigher, Weigher, default_weighers};

use std::{collections::BTreeSet, sync::Arc};

use updraft_runtime::store::{StoreError, Txn};

use crate::{
    groups::GroupRow,
    rows::{Claim, HostRow, LeftRow, ServerRow},
};

/// How many hosts are looked at: all of a cell.
const HOSTS_MAX: usize = 10_000;

/// How much more than it has a host may promise.
#[derive(Clone, Copy, Debug)]
pub struct Ratios {
    /// Virtual processors for each real one; nova's default.
    pub vcpus: f64,
    /// Of memory.
    pub ram: f64,
    /// Of disk.
    pub disk: f64,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { vcpus: 4.0, ram: 1.0, disk: 1.0 }
    }
}

/// A host as a filter sees it.
#[derive(Clone, Debug)]
pub struct HostState {
    /// What is stored of it.
    pub row: Arc<HostRow>,
    /// Whether its node has been heard lately.
    pub live: bool,
    /// What is claimed, without the server in question.
    pub used: Claim,
    /// What it may promise in all.
    pub total: Claim,
}

impl HostState {
    /// A host as a server would find it.
    #[must_use]
    pub fn new(
        row: impl Into<Arc<HostRow>>,
        live: bool,
        ratios: Ratios,
        server: &ServerRow,
    ) -> Self {
        let row = row.into();
        let scale = |amount: u64, ratio: f64| scaled(amount, ratio);
        let total = Claim {
            vcpus: scale(row.report.vcpus.into(), ratios.vcpus),
            ram_mib: scale(row.report.memory_mib, ratios.ram),
            disk_gib: scale(row.report.disk_gib, ratios.disk),
        };
        Self { used: row.used(Some(server.id)), row, live, total }
    }

    /// Whether it may soon be there though it is not yet.
    pub(super) fn is_starting(&self) -> bool {
        self.live && self.row.starting && self.row.disabled.is_none()
    }
}

/// `amount * ratio`, rounded down; host sizes are far below what a float holds exactly.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sizes and ratios are small and positive"
)]
fn scaled(amount: u64, ratio: f64) -> u64 {
    (amount as f64 * ratio).max(0.0) as u64
}

/// A server that looks for a host, with what its group says.
#[derive(Clone, Debug)]
pub struct Request {
    /// The server.
    pub server: ServerRow,
    /// Its group's policy.
    pub policy: Option<GroupPolicy>,
    /// The hosts of the group's other members.
    pub group_hosts: BTreeSet<String>,
    /// The hosts that have yet to clear away what they had of it.
    pub left_on: BTreeSet<String>,
}

impl Request {
    /// The server with what the store says of its group.
    pub fn of(txn: &Txn, server: ServerRow) -> Result<Self, StoreError> {
        let left = txn.find::<LeftRow>(LeftRow::BY_SERVER, &server.id.to_string())?;
        let left_on = left.into_iter().map(|left| left.host).collect();
        let mut request = Self { server, policy: None, group_hosts: BTreeSet::new(), left_on };
        if let Some(group) = request.server.group {
            let key = group.to_string();
            request.policy = txn.get::<GroupRow>(&key)?.map(|group| group.policy);
            let members = txn.find::<ServerRow>("group", &key)?;
            let hosts = members
                .into_iter()
                .filter(|member| member.id != request.server.id)
                .filter_map(|member| member.placement.map(|placement| placement.host));
            request.group_hosts.extend(hosts);
        }
        Ok(request)
    }
}

/// What a server group asks of its members' hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum GroupPolicy {
    /// One host for all.
    #[serde(rename = "affinity")]
    Affinity,
    /// A host for each.
    #[serde(rename = "anti-affinity")]
    AntiAffinity,
    /// One host if it can be.
    #[serde(rename = "soft-affinity")]
    SoftAffinity,
    /// A host for each if it can be.
    #[serde(rename = "soft-anti-affinity")]
    SoftAntiAffinity,
}
