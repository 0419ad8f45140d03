//! A host that is to be empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::AuthContext;
use updraft_runtime::{env::UnixMicros, rpc::TraceContext, store::Record};
use uuid::Uuid;

/// A host that is to be empty, until an operator says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainRow {
    /// The host.
    pub host: String,
    /// Since when.
    pub since: UnixMicros,
    /// Who asked for it last: servers move in that name. Dropped once the host is empty, so that no token outlives its use.
    pub auth: Option<AuthContext>,
    /// The request that last asked for it.
    pub trace: TraceContext,
    /// How many servers have begun to move.
    pub begun: u64,
    /// Servers that could not move when that was last tried, and those that have begun to: whichever of them is there again
    /// is left alone.
    pub stuck: BTreeMap<Uuid, Stuck>,
    /// When nothing was left on it.
    pub emptied: Option<UnixMicros>,
}

/// Why a server cannot move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// In words.
    pub why: String,
    /// When it is tried again; `None` once an operator asks again.
    pub again: Option<UnixMicros>,
}

impl Record for DrainRow {
    const TABLE: &'static str = "compute/drain";
    fn key(&self) -> String {
        self.host.clone()
    }
}
