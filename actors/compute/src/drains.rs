//! Hosts that are emptied: a host that is put in maintenance has nothing new placed on it, and its servers move away, a few
//! at a time.
//!
//! A row of its own for each such host, so that it goes on wherever a control node ends. What becomes of each server is that
//! server's own affair: it moves as when an administrator asks for that, and nobody is asked to confirm. One whose host is
//! down by an operator's word is made anew elsewhere. One that cannot move is told with the reason, and tried again now and
//! then.

mod asked;
mod beginning;
mod row;

use std::time::Duration;

use updraft_protocol::compute::Goal;
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    rpc::TraceContext,
    store::{Store, StoreError, Txn},
    transport::NodeId,
};
use uuid::Uuid;

pub use self::{
    asked::{Left, Progress},
    row::{DrainRow, Stuck},
};
use crate::{
    hosts,
    rows::{HostRow, MigrationPhase, ServerRow, VmState},
    scheduler::Judge,
};

/// How many servers of a host are on their way at once: each is a guest that is stopped, and a disk that is read there. One
/// that is made anew counts no longer once its host is known to run nothing of it.
pub const AT_ONCE: usize = 2;

/// How often it is looked whether servers that were on their way are gone.
const LOOK: Duration = Duration::from_secs(2);

/// How long a server is left alone that could not move.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is said of a server that was on its way and is there again: a guest that is stopped time and again serves nobody.
const CAME_BACK: &str =
    "it could not move, as its actions say; it is tried again when the host is drained again";

/// Hosts to be emptied, on a control node.
#[derive(Clone)]
pub(crate) struct Drains {
    pub(crate) store: Store,
    pub(crate) judge: Judge,
}

/// What the plan of a host that is emptied may know besides its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it has.
    pub servers: Vec<Here>,
    /// Whether it is heard, or an operator has said that it is down.
    pub is_certain: bool,
}

/// A server that a host has something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What may be done about that.
    pub state: State,
}

/// What may be done about a server on a host that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be moved.
    Movable,
    /// It is on its way.
    Moving,
    /// Something else must end first.
    Waits(&'static str),
}

/// What the plan of a host that is emptied may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have this server move away.
    Move(Uuid),
}

/// What can be learnt about a host that is emptied.
#[derive(Clone, Debug)]
pub enum Learned {
    /// This server is on its way.
    Begun(Uuid),
    /// This server cannot move now.
    Stuck(Uuid, String),
}

impl Kind for Drains {
    type Row = DrainRow;
    type Facts = Facts;
    type Effect = Effect;
    type Learned = Learned;

    fn facts(&self, txn: &Txn, row: &DrainRow) -> Result<Facts, StoreError> {
        facts(&self.judge, txn, &row.host)
    }

    fn plan(row: &DrainRow, facts: &Facts, now: UnixMicros) -> Plan<Self> {
        plan(row, facts, now)
    }

    fn learn(row: &mut DrainRow, learned: Learned, now: UnixMicros) -> bool {
        learn(row, learned, now)
    }

    fn trace(row: &DrainRow) -> TraceContext {
        row.trace
    }

    fn perform(&self, row: DrainRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let drains = self.clone();
        Box::pin(async move {
            let Effect::Move(server) = effect;
            drains.begin(&row, server).await
        })
    }
}

/// What a host has, and whether it can be emptied.
pub(crate) fn facts(judge: &Judge, txn: &Txn, host: &str) -> Result<Facts, StoreError> {
    let servers = hosts::on(txn, host)?.iter().map(|row| here(row, host)).collect();
    let forced_down = txn.get::<HostRow>(host)?.is_some_and(|row| row.forced_down);
    let is_heard = NodeId::new(host).is_ok_and(|node| judge.directory().is_live(&node));
    Ok(Facts { servers, is_certain: is_heard || forced_down })
}

fn here(row: &ServerRow, host: &str) -> Here {
    let placed = row.placement.as_ref().filter(|placed| placed.host == host);
    let leaves = placed.is_some_and(|placed| placed.goal == Goal::Absent);
    let phase = row.migration.as_ref().map(|migration| migration.phase);
    let state = match (row.state, phase) {
        _ if row.goal == Goal::Absent => State::Waits("it is being deleted"),
        (_, Some(MigrationPhase::Moved)) => {
            State::Waits("it has moved, and waits for its user to confirm or revert")
        }
        (_, Some(_)) => State::Moving,
        _ if leaves => State::Moving,
        _ if row.action.is_some() => State::Waits("something else is being done with it"),
        (VmState::Resized, None) => {
            State::Waits("it was resized, and waits for its user to confirm or revert")
        }
        (VmState::Building, None) => State::Waits("it is being built"),
        (VmState::Error, None) => State::Waits("it is in error"),
        (VmState::Active | VmState::Stopped, None) => State::Movable,
    };
    Here { id: row.id, name: row.name.clone(), state }
}

/// What now?
#[must_use]
pub(crate) fn plan(row: &DrainRow, facts: &Facts, now: UnixMicros) -> Plan<Drains> {
    if facts.servers.is_empty() {
        if row.emptied.is_some() {
            return Plan::settled();
        }
        return Plan::write(emptied(row, now));
    }
    if row.emptied.is_some() {
        return Plan::write(DrainRow { emptied: None, ..row.clone() });
    }
    if !facts.is_certain {
        let what = "the host to be heard, or an operator's word that it is down";
        return Plan::wait(what).wake_at(now.plus(LOOK));
    }
    let moving = facts.servers.iter().filter(|here| here.state == State::Moving).count();
    let rests = |here: &&Here| {
        row.stuck.get(&here.id).is_none_or(|stuck| stuck.again.is_some_and(|at| now >= at))
    };
    let movable = facts.servers.iter().filter(|here| here.state == State::Movable).filter(rests);
    let effects: Vec<Effect> =
        movable.take(AT_ONCE.saturating_sub(moving)).map(|here| Effect::Move(here.id)).collect();
    let plan =
        if effects.is_empty() { Plan::wait("its servers to move") } else { Plan::act(effects) };
    plan.wake_at(now.plus(LOOK))
}

fn emptied(row: &DrainRow, now: UnixMicros) -> DrainRow {
    DrainRow { emptied: Some(now), stuck: [].into(), auth: None, ..row.clone() }
}

/// Folds in what was learnt.
pub(crate) fn learn(row: &mut DrainRow, learned: Learned, now: UnixMicros) -> bool {
    match learned {
        Learned::Begun(server) => {
            row.stuck.insert(server, Stuck { why: CAME_BACK.to_owned(), again: None });
            row.begun += 1;
        }
        Learned::Stuck(server, why) => {
            row.stuck.insert(server, Stuck { why, again: Some(now.plus(TRY_AGAIN_AFTER)) });
        }
    }
    true
}

#[cfg(test)]
mod tests;
