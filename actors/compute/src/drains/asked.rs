//! What an operator asks of hosts to be emptied, and is told of them.

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::AuthContext;
use updraft_runtime::{
    env::UnixMicros,
    rpc::TraceContext,
    store::{StoreError, Txn},
};
use uuid::Uuid;

use super::{DrainRow, Facts, State, facts};
use crate::{Compute, rows::HostRow};

/// Why a host that is emptied is disabled, if an operator had not said why before.
const REASON: &str = "drained";

/// How far a host is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The host.
    pub host: String,
    /// Since when it is to be empty.
    pub since: UnixMicros,
    /// How many servers have begun to leave it.
    pub begun: u64,
    /// Whether nothing is left on it.
    pub is_empty: bool,
    /// Whether it is heard, or an operator has said that it is down: else nothing can be done.
    pub is_certain: bool,
    /// What is left on it.
    pub left: Vec<Left>,
}

/// A server that is still on a host that is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is on its way.
    pub is_moving: bool,
    /// What it waits for, if it is not.
    pub waits: Option<String>,
}

impl Progress {
    fn of(row: &DrainRow, facts: &Facts) -> Self {
        let left = facts.servers.iter().map(|here| Left {
            id: here.id,
            name: here.name.clone(),
            is_moving: here.state == State::Moving,
            waits: match here.state {
                State::Waits(what) => Some(what.to_owned()),
                State::Movable => row.stuck.get(&here.id).map(|stuck| stuck.why.clone()),
                State::Moving => None,
            },
        });
        Self {
            host: row.host.clone(),
            since: row.since,
            begun: row.begun,
            is_empty: facts.servers.is_empty(),
            is_certain: facts.is_certain,
            left: left.collect(),
        }
    }
}

impl Compute {
    /// Has a host be emptied: nothing new is placed there, and its servers leave it. With `down` it is an operator's word
    /// that the host is down. Asked again it tries at once what could not be moved, in the name of who asks. `None` if there
    /// is no such host.
    pub async fn drain(
        &self,
        host: &str,
        down: bool,
        auth: &AuthContext,
        trace: TraceContext,
    ) -> Result<Option<Progress>, StoreError> {
        let now = self.context.env.wall();
        let drain = |txn: &mut Txn| {
            let Some(mut row) = txn.get::<HostRow>(host)? else { return Ok(None) };
            let before = row.clone();
            row.disabled.get_or_insert_with(|| REASON.to_owned());
            row.forced_down |= down;
            if row != before {
                txn.put(&row)?;
            }
            let known = txn.get::<DrainRow>(host)?;
            let row = DrainRow {
                host: host.to_owned(),
                since: known.as_ref().map_or(now, |known| known.since),
                auth: Some(auth.clone()),
                trace,
                begun: known.map_or(0, |known| known.begun),
                stuck: [].into(),
                emptied: None,
            };
            txn.put(&row)?;
            Ok(Some(Progress::of(&row, &facts(&self.judge, txn, host)?)))
        };
        self.context.store.transact(drain).await
    }

    /// How far a host is emptied; `None` if it is not to be.
    pub async fn draining(&self, host: &str) -> Result<Option<Progress>, StoreError> {
        let read = |txn: &Txn| {
            let Some(row) = txn.get::<DrainRow>(host)? else { return Ok(None) };
            Ok(Some(Progress::of(&row, &facts(&self.judge, txn, host)?)))
        };
        self.context.store.read(read).await
    }

    /// A host may have servers again, unless an operator had disabled it for another reason; what is on its way goes on.
    /// Whether it was to be emptied.
    pub async fn undrain(&self, host: &str) -> Result<bool, StoreError> {
        let undrain = |txn: &mut Txn| {
            let was = txn.delete::<DrainRow>(host)?.is_some();
            if let Some(mut row) = txn.get::<HostRow>(host)?
                && row.disabled.as_deref() == Some(REASON)
            {
                row.disabled = None;
                txn.put(&row)?;
            }
            Ok(was)
        };
        self.context.store.transact(undrain).await
    }
}
