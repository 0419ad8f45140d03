//! What a node has to do with bodies now: which it waits for, and how many it takes and gives.
//!
//! Promises that a body reaches only the fetch that drew its label, and only from a node whose certificate says that it
//! may serve what was asked.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use updraft_transport::{
    NodeId, PeerIdentity,
    body::{Incoming, Label},
};

use super::{FETCHES_MAX, served};
use crate::{rpc::Contract, shares::Shares};

struct Waiting {
    contract: Contract,
    sender: oneshot::Sender<Incoming>,
}

/// See the module.
pub(crate) struct Bodies {
    expected: Mutex<BTreeMap<Label, Waiting>>,
    /// Room for bodies that this node takes.
    pub(super) fetches: Semaphore,
    /// Places for bodies that this node gives.
    pub(super) served: Shares<NodeId>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            expected: Mutex::default(),
            fetches: Semaphore::new(FETCHES_MAX),
            served: served::places(),
        }
    }
}

/// Forgets what is expected when nobody waits for it.
pub(super) struct Expectation<'a> {
    bodies: &'a Bodies,
    label: Label,
}

impl Drop for Expectation<'_> {
    fn drop(&mut self) {
        self.bodies.expected.lock().remove(&self.label);
    }
}

impl Bodies {
    /// Lets `sender` have the body of this label, until what is returned is dropped.
    pub(super) fn expect(
        &self,
        label: Label,
        contract: Contract,
        sender: oneshot::Sender<Incoming>,
    ) -> Expectation<'_> {
        self.expected.lock().insert(label, Waiting { contract, sender });
        Expectation { bodies: self, label }
    }

    /// Gives a body to who waits for it. Dropped otherwise, it tells its sender that nobody reads.
    pub(crate) fn arrived(&self, peer: &PeerIdentity, label: Label, body: Incoming) {
        let mut expected = self.expected.lock();
        let Some(waiting) = expected.remove(&label) else { return };
        if waiting.contract.may_be_served_by(&peer.roles) {
            // Who has just given up is as good as nobody.
            let _ = waiting.sender.send(body);
        } else {
            tracing::warn!(from = %peer.node, "a body of a node that may not serve it");
            expected.insert(label, waiting);
        }
    }
}
