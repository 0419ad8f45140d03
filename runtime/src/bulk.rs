//! Large bodies: gigabytes from one node to another, by name, on streams of their own.
//!
//! Owns how a body is asked for, sent, checked and taken up again. Who has a body offers it as the answer to a message
//! ([`Handlers::body`](crate::rpc::Handlers::body)), with the roles, the context and the contract that any message has.
//! Who wants it [fetches](crate::rpc::Client::fetch) it into a [`Sink`]. Promises that what a sink is told to keep is the
//! body that was offered, by its digest; that after a lost connection, or a restart of either side, the fetch goes on
//! where it was, from whichever server of the topic has the same body; that a slow receiver slows its sender and costs
//! neither memory; and that bodies wait where calls would be delayed. Never gives up while bytes come, and never waits
//! for long for none.
//!
//! ```
//! use bytes::Bytes;
//! use serde::{Deserialize, Serialize};
//! use updraft_runtime::{
//!     bulk::{Algorithm, FetchError, Memory, MemorySink},
//!     message, protocol,
//!     rpc::{Cx, Rpc, Service},
//! };
//!
//! /// Keeps what is over.
//! pub struct Keeper;
//! protocol!(Keeper = "keeper");
//!
//! /// "Give me the archive of this year."
//! #[derive(Serialize, Deserialize)]
//! pub struct Archive(u32);
//! message!(body Archive = Keeper / "archive", from ["reader"], to ["keeper"]);
//!
//! fn service(rpc: &Rpc) -> Service {
//!     let keeper = Service::of::<Keeper>().body(rpc, |_ctx, Archive(year)| async move {
//!         let bytes = Bytes::from(format!("all of {year}"));
//!         Ok(Memory::new(bytes, Algorithm::Sha256))
//!     });
//!     keeper.into()
//! }
//!
//! async fn read(rpc: &Rpc, cx: &Cx) -> Result<Vec<u8>, FetchError> {
//!     let mut archive = MemorySink::at_most(1 << 20);
//!     rpc.client::<Keeper>().fetch(Archive(2026), cx).into(&mut archive).await?;
//!     Ok(archive.into_bytes())
//! }
//! ```

mod error;
mod expected;
mod fetch;
mod file;
mod hasher;
mod memory;
mod serve;
mod served;
mod taking;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use error::{Digests, FetchError, SinkError};
pub use fetch::{BODY_MAX_BYTES, FETCHES_MAX, Fetch, PATIENCE, Progress, STALL};
pub use file::{FileSink, FileSource};
pub use hasher::{Algorithm, Hasher};
pub use memory::{Memory, MemorySink};
pub use serve::SERVED_STALL;
pub use served::{SERVED_MAX, SERVED_PER_PEER_MAX};
pub use updraft_transport::body::{Digest, PIECE_MAX_BYTES};

pub(crate) use expected::{Bodies, Opener};

use crate::rpc::{BelongsTo, Call, Contract, Fault, Message, MessageBody};

/// The code of a fault that says that the body is another one by now.
const CHANGED: &str = "BodyChanged";

/// The code of a fault that says that the body is shorter than what is asked for.
const OUT_OF_RANGE: &str = "OutOfRange";

/// A message that asks for a body; made by [`message!`](crate::message).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not ask for a body",
    label = "only what asks for a body is answered with one",
    note = "declare it with `message!(body {Self} = ...)`"
)]
pub trait Request: Message + BelongsTo<Self::Protocol> {}

/// A body to send. It does not change: other bytes are another body, with another digest.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// How long it is.
    fn size_bytes(&self) -> u64;

    /// The digest of all of it.
    fn digest(&self) -> Digest;

    /// Reads from an offset within it: at least one byte and at most so many. A fault ends this sending of it, and its
    /// words go to who fetches.
    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault>;
}

/// Where a body goes.
#[async_trait]
pub trait Sink: Send {
    /// How many bytes of the body, from its start, it has kept from earlier. What was kept of another body is noticed
    /// by the digest, and [discarded](Self::discard).
    async fn kept_bytes(&mut self) -> Result<u64, SinkError>;

    /// Reads what it has kept: at least one byte and at most so many.
    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError>;

    /// Takes the next bytes, behind what it has.
    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError>;

    /// All has come and is right: it may be used from now on.
    async fn finish(&mut self) -> Result<(), SinkError>;

    /// What it has is of no use, or has no room: it has nothing, and what that took is free.
    async fn discard(&mut self) -> Result<(), SinkError>;
}

/// What a fetch asks of a server, beside the message.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// What the stream shall be known by.
    label: [u8; updraft_transport::body::LABEL_BYTES],
    /// From where on.
    from_bytes: u64,
    /// The body that is meant; `None` is whichever there is.
    digest: Option<Digest>,
}

/// A message that asks for a body, with what else is asked.
pub(crate) struct Wanted<M: Request> {
    message: M,
    ask: Ask,
}

/// The same, as it travels.
#[derive(Serialize, Deserialize)]
struct Travelling {
    message: Bytes,
    ask: Ask,
}

// `do_not_recommend`: who has forgotten a line of a message of their own is not told of this one.

#[diagnostic::do_not_recommend]
impl<M: Request> MessageBody for Wanted<M> {
    fn to_bytes(&self) -> Result<Bytes, postcard::Error> {
        Travelling { message: self.message.to_bytes()?, ask: self.ask.clone() }.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let Travelling { message, ask } = Travelling::from_bytes(bytes)?;
        Ok(Self { message: M::from_bytes(&message)?, ask })
    }
}

#[diagnostic::do_not_recommend]
impl<M: Request> Message for Wanted<M> {
    type Protocol = M::Protocol;
    const METHOD: &'static str = M::METHOD;
    const CONTRACT: Contract = M::CONTRACT;
}

#[diagnostic::do_not_recommend]
impl<M: Request + BelongsTo<P>, P> BelongsTo<P> for Wanted<M> {}

/// The answer says that the body is on its way, by a stream of its own.
#[diagnostic::do_not_recommend]
impl<M: Request> Call for Wanted<M> {
    type Reply = ();
}
