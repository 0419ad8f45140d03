//! Bytes between authenticated nodes.
//!
//! Owns node identity, the wire format of frames and bodies and the links that carry both: QUIC with mutual
//! TLS between processes, and an in-memory switch for simulations. Promises that a delivered frame
//! is whole, bounded and comes from the peer it names. Never promises delivery, never retries a
//! frame, and knows nothing of clouds.
//!
//! Two implementations of [`Transport`] are told apart by nobody who uses them: [`quic::Quic`], whose
//! socket, timers, entropy and clock are given to it, and [`mem::Switch`], whose time is the caller's.
//!
//! ```
//! use std::time::Duration;
//! use updraft_transport::{
//!     Class, Event, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, mem::Switch,
//! };
//!
//! let switch = Switch::new();
//! let (one, two) = (NodeId::new("one")?, NodeId::new("two")?);
//! let (link, _) = switch.attach(PeerIdentity::new(one, &["compute"]), Incarnation(1));
//! let (_, mut events) = switch.attach(PeerIdentity::new(two.clone(), &[]), Incarnation(1));
//!
//! let header = Header {
//!     kind: Kind::Cast,
//!     method: "greeter/greet".into(),
//!     id: 1,
//!     incarnation: Incarnation(1),
//!     deadline_ms: 1000,
//!     trace_id: [0; 16],
//!     span_id: [0; 8],
//!     trace_flags: 0,
//!     context: Default::default(),
//! };
//! link.send(&two, Class::Calls, Frame { header, body: "hello".into() })?;
//! switch.advance(Duration::from_millis(1));
//!
//! assert!(matches!(events.try_recv()?, Event::Up { .. }));
//! let Event::Frame { peer, frame } = events.try_recv()? else { panic!("no frame came") };
//! assert!(peer.has_role("compute"));
//! assert_eq!(frame.body, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod body;
pub mod ca;
pub mod certificate;
pub mod counts;
pub mod files;
pub mod host;
pub mod id;
pub mod join;
pub mod key;
pub mod link;
pub mod marks;
pub mod mem;
pub mod planted;
pub mod quic;
pub mod tls;
pub mod wire;

pub use counts::{ClassCounts, Counts, Refused};
pub use id::{Incarnation, NodeId, PeerIdentity, Role};
pub use link::{Event, LinkError, Transport};
pub use wire::{Class, Frame, Header, Kind, WireError};
