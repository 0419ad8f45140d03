//! A large body on a stream of its own.
//!
//! Owns what such a stream looks like: a head, pieces of bounded size, and an end or the sender's word why there is
//! none. Promises that what is read is whole parts in the order in which they were sent, that a length is checked
//! before anything is allocated for it, and that a receiver which does not read stops its sender. Never says whether
//! the bytes are the right ones, and goes on nowhere after a break: that is for who asked for the body.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

mod digest;
mod part;
pub(crate) mod pipe;

pub use digest::Digest;
pub use part::{Assembler, BodyError, Head, PIECE_MAX_BYTES, Part, WORDS_MAX_BYTES};

/// Bodies that a peer should have on their way to a node at once: each may fill its own window of 4 MiB.
pub const BODIES_MAX: usize = 8;

/// Streams of bodies that a peer may have open: some more, because a stream is not free at once when its body has
/// ended, and QUIC tells the peer of free ones only when they are more than an eighth.
pub const BODY_STREAMS_MAX: u32 = 12;

/// Streams that a peer may have open for tunnels, which last: they must not be what bodies wait for.
pub const TUNNEL_STREAMS_MAX: u32 = 8;

/// Streams of both that a peer may have open.
pub const STREAMS_MAX: u32 = BODY_STREAMS_MAX + TUNNEL_STREAMS_MAX;

/// Bytes of a label.
pub const LABEL_BYTES: usize = 16;

/// What a body's stream is known by. Who wants the body draws it at random and tells it to whom it asks, so that nobody
/// else can send something in its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub [u8; LABEL_BYTES]);

/// It is a secret of two nodes.
impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Label")
    }
}

/// The bytes of a stream outwards. Dropped before [`finish`](Self::finish), the stream breaks.
#[async_trait]
pub(crate) trait Outlet: Send {
    /// Makes the stream known to its receiver, if it is not yet.
    async fn open(&mut self) -> Result<(), BodyError>;
    /// Sends both, one behind the other; waits while the receiver does not read.
    async fn write(&mut self, head: Bytes, rest: Bytes) -> Result<(), BodyError>;
    /// Ends the stream whole.
    async fn finish(&mut self) -> Result<(), BodyError>;
}

/// The bytes of a stream inwards. Dropped, it tells the sender that nobody reads.
#[async_trait]
pub(crate) trait Inlet: Send {
    /// Reads what is there, at least one byte; zero is the end. Loses nothing if it is dropped.
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, BodyError>;
}

/// A body on its way out.
pub struct Outgoing(Box<dyn Outlet>);

impl Outgoing {
    pub(crate) fn new(outlet: impl Outlet + 'static) -> Self {
        Self(Box::new(outlet))
    }

    /// Makes the stream known to its receiver though there is nothing to send yet. The first part does the same.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    pub async fn open(&mut self) -> Result<(), BodyError> {
        self.0.open().await
    }

    /// Sends a part; waits while the receiver does not read.
    ///
    /// # Errors
    ///
    /// The stream is broken, or the part is over a limit and was not sent.
    pub async fn send(&mut self, part: Part) -> Result<(), BodyError> {
        let (head, rest) = part.encode()?;
        self.0.write(head, rest).await
    }

    /// Ends the stream. Dropped before, the receiver sees a break.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    pub async fn finish(mut self) -> Result<(), BodyError> {
        self.0.finish().await
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

/// A body on its way in. Dropped, it tells the sender that nobody reads.
pub struct Incoming {
    inlet: Box<dyn Inlet>,
    assembler: Assembler,
    received_bytes: u64,
}

impl Incoming {
    pub(crate) fn new(inlet: impl Inlet + 'static) -> Self {
        Self { inlet: Box::new(inlet), assembler: Assembler::default(), received_bytes: 0 }
    }

    /// The next part; `None` once the stream has ended between two. Nothing is lost if this is dropped.
    ///
    /// # Errors
    ///
    /// The stream is broken, or carries what is no part.
    pub async fn next(&mut self) -> Result<Option<Part>, BodyError> {
        loop {
            let read = self.inlet.read(self.assembler.space()).await?;
            if read == 0 {
                return if self.assembler.is_between_parts() {
                    Ok(None)
                } else {
                    Err(BodyError::Broken("it ended within a part".to_owned()))
                };
            }
            self.received_bytes += read as u64;
            if let Some(part) = self.assembler.filled(read)? {
                return Ok(Some(part));
            }
        }
    }

    /// How many bytes have come, those of parts that are not whole among them: who watches it sees a slow sender apart
    /// from a silent one.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("received_bytes", &self.received_bytes).finish()
    }
}
