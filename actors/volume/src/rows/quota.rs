//! How much a project may have.

use serde::{Deserialize, Serialize};
use updraft_runtime::store::Record;

/// No limit.
pub(crate) const UNLIMITED: i64 = -1;

/// Limits, in the real service's numbers; [`UNLIMITED`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) volumes: i64,
    pub(crate) gigabytes: i64,
    pub(crate) snapshots: i64,
    pub(crate) per_volume_gigabytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { volumes: 10, gigabytes: 1_000, snapshots: 10, per_volume_gigabytes: UNLIMITED }
    }
}

/// The limits that an administrator has set for a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaRow {
    pub(crate) project: String,
    pub(crate) limits: Limits,
}

impl Record for QuotaRow {
    const TABLE: &'static str = "volume/quota";

    fn key(&self) -> String {
        self.project.clone()
    }
}
