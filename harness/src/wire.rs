//! The datagrams that are under way in a world.
//!
//! Owns what is between the sockets of a world's nodes and when it arrives: after the latency of a link, which each
//! datagram draws for itself, so that datagrams may overtake one another. Who listens has a queue of a bounded length, and
//! what comes to a full one is lost. Nothing moves until [`Wire::advance`]. What is lost on the way, doubled, late or
//! damaged is decided before it comes here.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{quic::Line, world::Network};

/// Datagrams that wait at a socket: more than one burst of QUIC.
const QUEUE_DATAGRAMS: usize = 8_192;

/// The wire of a world; cheap to clone, and the clones are the same.
#[derive(Clone)]
pub(crate) struct Wire {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    now: Duration,
    network: Network,
    /// By when they arrive, and then by when they were sent.
    under_way: BTreeMap<(Duration, u64), Packet>,
    sent: u64,
    sockets: BTreeMap<SocketAddr, Arc<Mutex<Inbox>>>,
}

struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Packet>,
    reader: Option<Waker>,
}

impl Wire {
    pub(crate) fn new(network: Network) -> Self {
        let (under_way, sockets) = (BTreeMap::new(), BTreeMap::new());
        let shared = Shared { now: Duration::ZERO, network, under_way, sent: 0, sockets };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// A socket at this address; one that was there hears nothing more.
    pub(crate) fn bind(&self, address: SocketAddr) -> Socket {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        self.shared.lock().sockets.insert(address, Arc::clone(&inbox));
        Socket { wire: self.clone(), address, inbox }
    }

    /// Nobody listens there any more, and who did says no more.
    pub(crate) fn unbind(&self, address: SocketAddr) {
        self.shared.lock().sockets.remove(&address);
    }

    /// Moves time on; what is due by then arrives.
    pub(crate) fn advance(&self, now: Duration) {
        let mut shared = self.shared.lock();
        shared.now = now;
        while let Some(due) = shared.under_way.first_entry().filter(|due| due.key().0 <= now) {
            let packet = due.remove();
            if let Some(inbox) = shared.sockets.get(&packet.to) {
                inbox.lock().push(packet);
            }
        }
    }

    /// When the next datagram arrives.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.shared.lock().under_way.first_key_value().map(|((due, _), _)| *due)
    }
}

impl Inbox {
    fn push(&mut self, packet: Packet) {
        if self.arrived.len() < QUEUE_DATAGRAMS {
            self.arrived.push_back(packet);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A socket of one life of a node.
pub(crate) struct Socket {
    wire: Wire,
    address: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
}

impl Line for Socket {
    fn now(&self) -> Duration {
        self.wire.shared.lock().now
    }

    fn emit(&self, to: SocketAddr, bytes: Vec<u8>, held: Duration) {
        let mut shared = self.wire.shared.lock();
        let is_bound = shared.sockets.get(&self.address);
        if !is_bound.is_some_and(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
            // Of a life that has ended: dropped connections say good-bye, and a crash does not.
            return;
        }
        let due = shared.now.saturating_add(held).saturating_add(shared.network.latency());
        shared.sent += 1;
        let key = (due, shared.sent);
        shared.under_way.insert(key, Packet { from: self.address, to, bytes });
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let packet = self.inbox.lock().arrived.pop_front();
        let Packet { from, bytes, .. } = packet.ok_or(io::ErrorKind::WouldBlock)?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        Ok((len, from))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inbox = self.inbox.lock();
        if inbox.arrived.is_empty() {
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}
