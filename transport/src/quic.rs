//! Frames over QUIC with mutual TLS.
//!
//! Owns one endpoint, and for each peer one connection with one long-lived stream for each class and, for as long as it
//! takes, one for each large body. A peer is dialled when there is something to send; whichever side dials, one connection stays. What
//! waits for a peer is bounded, and waits at most until the next attempt to reach it has failed.
//! Socket, timers, entropy and clock come from outside, so the same code runs on a machine and in a
//! simulation. Never promises delivery: a frame that was queued when the connection went down is
//! dropped, and [`Event::Down`] says so.

use std::{collections::BTreeSet, fmt, io, net::SocketAddr, sync::Arc};

use quinn::{AsyncUdpSocket, Runtime};
use tokio::sync::mpsc;

use crate::{
    body::{Label, Outgoing},
    counts::Counts,
    host::Host,
    id::{Incarnation, NodeId, PeerIdentity},
    join::Admission,
    key::PublicKey,
    link::{Event, LinkError, Transport},
    tls::{Credentials, TlsError},
    wire::{Class, Frame, WireVersions, encoded_bytes},
};

mod accept;
mod backoff;
mod bodies;
mod clock;
mod config;
mod join;
mod keeper;
mod meet;
mod node;
mod peer;
mod queue;
mod refusals;
mod session;
mod standing;
pub mod udp;
mod words;

pub use config::IDLE_TIMEOUT;
pub use join::{JoinError, JoinRequest, Joined, join};
use node::{Node, REVOKED_MAX};
pub use words::is_disowned;

/// What a link over QUIC is made from.
pub struct QuicConfig {
    /// What this node presents, and whom it believes.
    pub credentials: Credentials,
    /// How often this node has started, this time included.
    pub incarnation: Incarnation,
    /// The wire versions it speaks; [`WireVersions::SUPPORTED`] unless a test wants otherwise.
    pub versions: WireVersions,
    /// What carries its datagrams.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Whose timers QUIC uses.
    pub runtime: Arc<dyn Runtime>,
    /// Tasks, entropy and the wall clock.
    pub host: Arc<dyn Host>,
    /// Decides about machines that want to join; `None` on nodes that give no certificates.
    pub admission: Option<Arc<dyn Admission>>,
    /// Whether larger datagrams than the smallest are tried. They save work on real networks; a
    /// simulation spends half of its datagrams on trying.
    pub mtu_discovery: bool,
}

impl fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConfig")
            .field("credentials", &self.credentials)
            .field("incarnation", &self.incarnation)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Why a link could not start.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// The credentials cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket cannot be used.
    #[error("the UDP socket cannot be used")]
    Socket(#[source] io::Error),
    /// New credentials name another node than the running one.
    #[error("the new certificate names node {0}")]
    OtherNode(NodeId),
    /// More keys are to be revoked than a link remembers.
    #[error("{0} keys are to be revoked, and {REVOKED_MAX} are allowed")]
    TooManyRevoked(usize),
}

/// The link. It runs until [`Transport::close`].
pub struct Quic {
    node: Arc<Node>,
}

impl Quic {
    /// Starts listening. Call it on the runtime that shall carry the network.
    pub fn start(config: QuicConfig) -> Result<(Arc<Self>, mpsc::Receiver<Event>), QuicError> {
        let (node, events) = Node::start(config)?;
        Ok((Arc::new(Self { node }), events))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.node.local_addr()
    }

    /// Replaces the certificate before it expires. Connections that stand are kept.
    pub fn renew(&self, credentials: &Credentials) -> Result<(), QuicError> {
        self.node.renew(credentials)
    }

    /// Tells whose certificates are no longer believed, by their keys; replaces what was told before.
    ///
    /// A connection with such a peer is closed before this returns: nothing more of it is handed up beside
    /// what waits among the events, and [`Event::Down`] says why. No further connection with it comes to
    /// stand, whoever dials, and both sides are told. Who is left out is let in again.
    ///
    /// # Errors
    ///
    /// [`QuicError::TooManyRevoked`] above 65,536 keys; what was told before then still holds.
    pub fn revoke(&self, keys: &BTreeSet<PublicKey>) -> Result<(), QuicError> {
        self.node.revoke(keys)
    }

    /// What the link has done and refused so far, and what stands and waits now. It costs a look at the
    /// queues of each peer: read it each second if you like, not for each frame.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.node.counts()
    }
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic").field("local", self.local()).finish_non_exhaustive()
    }
}

impl Transport for Quic {
    fn local(&self) -> &PeerIdentity {
        self.node.local()
    }

    fn learn(&self, peer: &NodeId, address: SocketAddr) {
        self.node.learn(peer, address);
    }

    fn send(&self, peer: &NodeId, class: Class, frame: Frame) -> Result<(), LinkError> {
        let bytes = encoded_bytes(&frame, class)?;
        self.node.send(peer, class, frame, bytes)
    }

    fn open_body(&self, peer: &NodeId, label: Label) -> Result<Outgoing, LinkError> {
        self.node.open_body(peer, label)
    }

    fn counts(&self) -> Counts {
        Self::counts(self)
    }

    fn close(&self) {
        self.node.close();
    }
}
