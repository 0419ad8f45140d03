//! The seam between what sends frames and what carries them.

use std::net::SocketAddr;

use crate::{
    body::{Incoming, Label, Outgoing},
    counts::Counts,
    id::{Incarnation, NodeId, PeerIdentity},
    wire::{Class, Frame, WireError, WireVersion},
};

/// Events that wait for the node at most. A node that falls further behind is sent nothing more until
/// it catches up, and its peers' queues fill.
pub const EVENTS_MAX: usize = 4096;

/// What may wait for one peer in one class before [`LinkError::Busy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimit {
    /// Frames.
    pub frames: usize,
    /// Bytes of the frames together.
    pub bytes: usize,
}

impl QueueLimit {
    /// The limit of a class: about a second's work for a busy peer, never more than memory can bear
    /// with every peer of a large cloud at its limit.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        match class {
            Class::Control => Self { frames: 1024, bytes: 1024 * 1024 },
            Class::Calls => Self { frames: 4096, bytes: 16 * 1024 * 1024 },
            Class::Bulk => Self { frames: 64, bytes: 32 * 1024 * 1024 },
        }
    }

    /// Whether one more frame may wait beside what waits already.
    #[must_use]
    pub const fn admits(self, waiting_frames: usize, waiting_bytes: usize, bytes: usize) -> bool {
        waiting_frames < self.frames && waiting_bytes + bytes <= self.bytes
    }
}

/// Carries frames to peers. Implemented by QUIC and by the in-memory switch.
///
/// An implementation keeps one connection per peer, dials by itself when there is something to send,
/// and bounds everything that waits. It hands what arrives to the channel given at its start. A node
/// may send to itself; that does not pass the network.
///
/// Within one connection, between [`Event::Up`] and [`Event::Down`], QUIC delivers the frames of a class
/// in order, each once and none missing, except calls and casts whose deadline has passed before they
/// could be written. While a call or cast waits, its deadline shrinks.
pub trait Transport: Send + Sync + 'static {
    /// This node, as its certificate names it.
    fn local(&self) -> &PeerIdentity;

    /// Tells where a peer listens. A changed address replaces the old one.
    fn learn(&self, peer: &NodeId, address: SocketAddr);

    /// Queues a frame. `Ok` means queued, not delivered; `Err` means that it certainly was not sent.
    fn send(&self, peer: &NodeId, class: Class, frame: Frame) -> Result<(), LinkError>;

    /// Opens a stream of its own to a connected peer, for one large body; the peer hears of it by [`Event::Body`]. It
    /// waits where others would be delayed, and ends with its connection.
    ///
    /// # Errors
    ///
    /// The peer is not connected, or knows nothing of bodies, as does a transport that does not say otherwise.
    fn open_body(&self, peer: &NodeId, _label: Label) -> Result<Outgoing, LinkError> {
        Err(LinkError::NotConnected(peer.clone()))
    }

    /// What it has done so far, and what there is now; nothing where nobody counts.
    fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Sends what is queued, refuses what comes, and ends.
    fn close(&self);
}

/// What a transport hands up.
#[derive(Debug)]
pub enum Event {
    /// A whole frame from an authenticated peer.
    Frame {
        /// Its sender.
        peer: PeerIdentity,
        /// The frame.
        frame: Frame,
    },
    /// An authenticated peer has opened a stream for a body. Whoever drops it refuses it.
    Body {
        /// Its sender.
        peer: PeerIdentity,
        /// What the body is known by.
        label: Label,
        /// The body.
        body: Incoming,
    },
    /// A connection to the peer stands; its incarnation is what its hello said.
    Up {
        /// The peer.
        peer: PeerIdentity,
        /// How often it has started.
        incarnation: Incarnation,
    },
    /// The connection to the peer is gone, or could not be made; frames under way may or may not have
    /// arrived, and what was queued is dropped. What is sent after this event belongs to the next
    /// connection.
    Down {
        /// The peer.
        peer: NodeId,
        /// Why, in words.
        reason: String,
    },
}

/// Why a frame was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No address is known for the peer.
    #[error("no address is known for node {0}")]
    NoRoute(NodeId),
    /// The queue to the peer is full.
    #[error("the queue to node {0} is full")]
    Busy(NodeId),
    /// The frame is larger than its class allows.
    #[error("a frame of {bytes} bytes is over the limit of {limit_bytes} for its class")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The class's limit.
        limit_bytes: usize,
    },
    /// The header of the frame cannot be sent: its method or context is too long.
    #[error("the frame's header cannot be sent")]
    BadHeader(#[source] WireError),
    /// No connection with the peer stands now.
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// The peer is of a release that has no streams for bodies.
    #[error("node {peer} speaks wire version {}, which has no streams for large bodies; upgrade it", .version.0)]
    NoBodies {
        /// The peer.
        peer: NodeId,
        /// What the connection with it speaks.
        version: WireVersion,
    },
    /// This node is shutting down.
    #[error("this node is going away")]
    Closing,
}

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::FrameTooLarge { bytes, limit_bytes, .. } => {
                Self::TooLarge { bytes, limit_bytes }
            }
            other => Self::BadHeader(other),
        }
    }
}
