//! What is known of one peer, and what waits for it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    meet::Inbound,
    queue::{Queue, Rejected},
    standing::Standing,
};
use crate::{
    id::NodeId,
    wire::{Class, Frame},
};

/// One peer. Its keeper alone opens and ends connections; everybody else leaves word here.
pub(super) struct Peer {
    id: NodeId,
    control: Queue,
    calls: Queue,
    bulk: Queue,
    desk: Mutex<Desk>,
    wake: Notify,
}

/// What is left for the keeper.
#[derive(Default)]
struct Desk {
    address: Option<SocketAddr>,
    /// The address has changed since the keeper last asked.
    moved: bool,
    /// A connection that the peer has opened.
    offer: Option<Inbound>,
    /// The connection that takes frames, if there is one; then the keeper need not be woken for them.
    standing: Option<Arc<Standing>>,
}

impl Peer {
    pub(super) fn new(id: NodeId) -> Self {
        Self {
            id,
            control: Queue::new(Class::Control),
            calls: Queue::new(Class::Calls),
            bulk: Queue::new(Class::Bulk),
            desk: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> &NodeId {
        &self.id
    }

    pub(super) fn queue(&self, class: Class) -> &Queue {
        match class {
            Class::Control => &self.control,
            Class::Calls => &self.calls,
            Class::Bulk => &self.bulk,
        }
    }

    pub(super) fn push(
        &self,
        class: Class,
        frame: Frame,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Rejected> {
        self.queue(class).push(frame, bytes, now)?;
        if self.desk.lock().standing.is_none() {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(super) fn has_frames(&self) -> bool {
        Class::ALL.iter().any(|class| !self.queue(*class).is_empty())
    }

    /// Drops what waits to be sent.
    pub(super) fn drop_frames(&self) {
        Class::ALL.iter().for_each(|class| self.queue(*class).clear());
    }

    /// Takes nothing more in, and lets the keeper see that the node is closing.
    pub(super) fn finish(&self) {
        for class in Class::ALL {
            self.queue(class).finish();
        }
        self.wake.notify_one();
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.desk.lock().address
    }

    pub(super) fn learn(&self, address: SocketAddr) {
        let mut desk = self.desk.lock();
        if desk.address != Some(address) {
            desk.address = Some(address);
            desk.moved = true;
            self.wake.notify_one();
        }
    }

    /// Notes where an accepted peer was seen, if nobody has said where it listens: the two are the same
    /// socket.
    pub(super) fn seen_at(&self, address: SocketAddr) {
        self.desk.lock().address.get_or_insert(address);
    }

    /// Whether the address has changed since the last time this was asked.
    pub(super) fn has_moved(&self) -> bool {
        std::mem::take(&mut self.desk.lock().moved)
    }

    /// Notes which connection stands now.
    pub(super) fn stand(&self, standing: Option<Arc<Standing>>) {
        self.desk.lock().standing = standing;
    }

    /// The connection that stands now.
    pub(super) fn standing(&self) -> Option<Arc<Standing>> {
        self.desk.lock().standing.clone()
    }

    /// Leaves a connection for the keeper; one that it has not looked at yet is given up.
    pub(super) fn offer(&self, inbound: Inbound) {
        let former = self.desk.lock().offer.replace(inbound);
        if let Some(former) = former {
            former.supersede();
        }
        self.wake.notify_one();
    }

    pub(super) fn take_offer(&self) -> Option<Inbound> {
        self.desk.lock().offer.take()
    }

    /// Waits for word. A word left before is not lost.
    pub(super) async fn word(&self) {
        self.wake.notified().await;
    }
}
