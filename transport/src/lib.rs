//! Bytes between authenticated nodes.
//!
//! Owns node identity, the wire format of a frame and the links that carry frames: QUIC with mutual
//! TLS between processes, and an in-memory switch for simulations. Promises that a delivered frame
//! is whole, bounded and comes from the peer it names. Never promises delivery, never retries a
//! frame, and knows nothing of clouds.

pub mod ca;
pub mod certificate;
pub mod files;
pub mod host;
pub mod id;
pub mod join;
pub mod key;
pub mod link;
pub mod mem;
pub mod quic;
pub mod tls;
pub mod wire;

pub use id::{Incarnation, NodeId, PeerIdentity, Role};
pub use link::{Event, LinkError, Transport};
pub use wire::{Class, Frame, Header, Kind, WireError};
