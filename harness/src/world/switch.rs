//! Tier 1: frames over the in-memory switch.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use updraft_transport::{Event, NodeId, Transport, mem::Switch};

use super::{
    Network,
    simulated::{Birth, Carrier, Unborn},
};

/// Nodes over the in-memory switch.
pub(super) struct OverSwitch(Switch);

impl OverSwitch {
    pub(super) fn new(network: Network) -> Self {
        let switch = Switch::new();
        switch.set_fate(network);
        Self(switch)
    }
}

impl Carrier for OverSwitch {
    fn attach(&self, birth: Birth) -> Result<(Arc<dyn Transport>, mpsc::Receiver<Event>), Unborn> {
        Ok(self.0.attach(birth.identity, birth.incarnation))
    }

    fn detach(&self, node: &NodeId) {
        self.0.detach(node);
    }

    fn advance(&self, now: Duration) {
        self.0.advance(now);
    }

    fn next_due(&self) -> Option<Duration> {
        self.0.next_due()
    }

    /// The switch finds nodes by their ids; an address is a form to be filled in.
    fn address_of(&self) -> Arc<dyn Fn(&NodeId) -> SocketAddr + Send + Sync> {
        Arc::new(|_| SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}
