//! The calls of a node that wait for an outcome.
//!
//! Owns who was asked for what. Promises that a call hears only from the node that was asked, and only if that
//! node's certificate says that it may serve the call: ids are counted, so anybody can guess one.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use updraft_transport::{NodeId, PeerIdentity};

use super::{Contract, outcome::Outcome};

/// What a waiting call hears.
pub(super) enum Answer {
    /// An outcome.
    Outcome(Outcome),
    /// The connection went down; the frame or its answer may be lost.
    Lost(String),
}

/// A call that waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its method.
    pub method: &'static str,
    /// Its number among this node's messages.
    pub id: u64,
    /// The request that it belongs to; zeros if it is of none.
    pub trace_id: [u8; 16],
    /// When it was sent last, on [`Env::now`](crate::Env::now).
    pub since: Duration,
    /// When its caller stops waiting, on the same clock.
    pub expires: Duration,
}

struct Waiting {
    peer: NodeId,
    wait: Wait,
    contract: Contract,
    sender: oneshot::Sender<Answer>,
    /// Whether a reply of another node was logged: one line tells it, more would only fill the log.
    warned: bool,
}

impl Waiting {
    fn may_be_answered_by(&self, node: &PeerIdentity) -> bool {
        self.peer == node.node && self.contract.may_be_served_by(&node.roles)
    }

    /// Leaves out a reply: a late answer to an earlier attempt, or a lie.
    fn ignore(&mut self, from: &NodeId) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(asked = %self.peer, %from, "a reply of a node that may not answer");
        }
    }
}

#[derive(Default)]
struct Calls {
    by_id: BTreeMap<u64, Waiting>,
    /// How many wait for each node; nobody who is waited for by none is among them.
    at: BTreeMap<NodeId, usize>,
}

impl Calls {
    fn add(&mut self, id: u64, call: Waiting) {
        *self.at.entry(call.peer.clone()).or_default() += 1;
        self.by_id.insert(id, call);
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let call = self.by_id.remove(&id)?;
        if let Entry::Occupied(mut at) = self.at.entry(call.peer.clone()) {
            *at.get_mut() -= 1;
            if *at.get() == 0 {
                at.remove();
            }
        }
        Some(call)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Pending(Mutex<Calls>);

/// Forgets a pending call when its caller stops waiting.
pub(super) struct Expectation<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Expectation<'_> {
    fn drop(&mut self) {
        self.pending.0.lock().remove(self.id);
    }
}

impl Pending {
    /// Lets `sender` hear what the peer answers to this call, until what is returned is dropped.
    pub(super) fn expect(
        &self,
        wait: Wait,
        peer: &NodeId,
        contract: Contract,
        sender: oneshot::Sender<Answer>,
    ) -> Expectation<'_> {
        let call = Waiting { peer: peer.clone(), wait, contract, sender, warned: false };
        self.0.lock().add(wait.id, call);
        Expectation { pending: self, id: wait.id }
    }

    /// The calls that wait, each with whom it waits for.
    pub(super) fn waits(&self) -> Vec<(NodeId, Wait)> {
        self.0.lock().by_id.values().map(|call| (call.peer.clone(), call.wait)).collect()
    }

    /// How many calls wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().by_id.len()
    }

    /// How many calls wait for this node's answer.
    pub(super) fn at(&self, node: &NodeId) -> usize {
        self.0.lock().at.get(node).copied().unwrap_or_default()
    }

    /// Hands a reply to the call that waits for it.
    pub(super) fn answer(&self, id: u64, from: &PeerIdentity, answer: Answer) {
        let mut calls = self.0.lock();
        let Some(call) = calls.by_id.get_mut(&id) else { return };
        if !call.may_be_answered_by(from) {
            return call.ignore(&from.node);
        }
        if let Some(call) = calls.remove(id) {
            // A caller that has just given up is as good as none.
            let _ = call.sender.send(answer);
        }
    }

    /// Tells every call that waits for this peer that its connection is gone.
    pub(super) fn lost(&self, peer: &NodeId, reason: &str) {
        let mut calls = self.0.lock();
        let waits = calls.by_id.iter().filter(|(_, call)| call.peer == *peer);
        let ids: Vec<u64> = waits.map(|(id, _)| *id).collect();
        for call in ids.into_iter().filter_map(|id| calls.remove(id)) {
            // As above.
            let _ = call.sender.send(Answer::Lost(reason.to_owned()));
        }
    }
}
