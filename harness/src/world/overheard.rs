//! A transport that tells of each frame that is handed to it.
//!
//! Nobody sees into what QUIC carries. So the frames of tiers 2 and 3 are recorded where they are handed to it, and where
//! it hands them up, by [`Host::heard`](updraft_transport::host::Host::heard); and only where everything is recorded.
//! Whether anybody listens changes nothing in what happens.

use std::{net::SocketAddr, sync::Arc};

use updraft_transport::{
    Class, Frame, LinkError, NodeId, PeerIdentity, Transport,
    body::{Label, Outgoing},
    counts::Counts,
};

use super::turn::Clock;
use crate::record::{End, Recorder};

/// The ears of a node of a world.
#[derive(Clone)]
pub(super) struct Ears {
    pub(super) node: NodeId,
    pub(super) clock: Clock,
    pub(super) recorder: Recorder,
}

impl Ears {
    /// A frame of a peer is handed up.
    pub(super) fn heard(&self, from: &NodeId, class: Class, frame: &Frame) {
        let at = self.clock.now();
        self.recorder.passed(at, (from, &self.node), class, frame, End::Receiver);
    }

    fn sent(&self, to: &NodeId, class: Class, frame: &Frame) {
        let ends = (&self.node, to);
        self.recorder.passed(self.clock.now(), ends, class, frame, End::Sender);
        if *to == self.node {
            // It never leaves the memory.
            self.heard(&self.node, class, frame);
        }
    }

    /// The transport, with somebody who listens if everything is to be recorded.
    pub(super) fn at(self, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        if self.recorder.keeps_everything() {
            Arc::new(Overheard { transport, ears: self })
        } else {
            transport
        }
    }
}

struct Overheard {
    transport: Arc<dyn Transport>,
    ears: Ears,
}

impl Transport for Overheard {
    fn local(&self) -> &PeerIdentity {
        self.transport.local()
    }

    fn learn(&self, peer: &NodeId, address: SocketAddr) {
        self.transport.learn(peer, address);
    }

    fn send(&self, peer: &NodeId, class: Class, frame: Frame) -> Result<(), LinkError> {
        self.transport.send(peer, class, frame.clone())?;
        self.ears.sent(peer, class, &frame);
        Ok(())
    }

    fn open_body(&self, peer: &NodeId, label: Label) -> Result<Outgoing, LinkError> {
        self.transport.open_body(peer, label)
    }

    fn counts(&self) -> Counts {
        self.transport.counts()
    }

    fn close(&self) {
        self.transport.close();
    }
}
