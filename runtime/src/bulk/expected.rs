//! What a node has to do with bodies now: which it waits for, and how many it takes and gives.
//!
//! Promises that a stream reaches only who waits for its label, and only from a node that may open it: for a fetch one
//! whose certificate says that it may serve what was asked.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use updraft_transport::{
    NodeId, PeerIdentity,
    body::{Incoming, Label},
};

use super::{FETCHES_MAX, served};
use crate::{rpc::Contract, shares::Shares};

/// Who may open a stream.
pub(crate) enum Opener {
    /// A node that may serve what was asked.
    Server(Contract),
    /// This node.
    Node(NodeId),
}

impl Opener {
    fn is(&self, peer: &PeerIdentity) -> bool {
        match self {
            Self::Server(contract) => contract.may_be_served_by(&peer.roles),
            Self::Node(node) => *node == peer.node,
        }
    }
}

struct Waiting {
    opener: Opener,
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
pub(crate) struct Expectation<'a> {
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
    pub(crate) fn expect(
        &self,
        label: Label,
        opener: Opener,
        sender: oneshot::Sender<Incoming>,
    ) -> Expectation<'_> {
        self.expected.lock().insert(label, Waiting { opener, sender });
        Expectation { bodies: self, label }
    }

    /// Gives a body to who waits for it. Dropped otherwise, it tells its sender that nobody reads.
    pub(crate) fn arrived(&self, peer: &PeerIdentity, label: Label, body: Incoming) {
        let mut expected = self.expected.lock();
        let Some(waiting) = expected.remove(&label) else { return };
        if waiting.opener.is(peer) {
            // Who has just given up is as good as nobody.
            let _ = waiting.sender.send(body);
        } else {
            tracing::warn!(from = %peer.node, "a stream of a node that may not open it");
            expected.insert(label, waiting);
        }
    }
}
