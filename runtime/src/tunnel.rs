//! Tunnels: bytes both ways between two nodes, for as long as both want, such as a guest's screen.
//!
//! Owns how a tunnel is asked for, made of two streams, and ended. Who has something to talk to offers it as the answer
//! to a message ([`Handlers::tunnel`](crate::rpc::Handlers::tunnel)), with the roles, the context and the contract that
//! any message has. Who wants it [opens](crate::rpc::Client::open) one. Promises that bytes come in order and none is
//! missing until the tunnel ends, that a reader who does not read slows the writer and costs no memory, that either
//! end hears of the other's, and that tunnels wait where calls would be delayed. Never goes on after a break: what was
//! said then is lost, and who wants to talk on opens another one.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use updraft_runtime::{
//!     message, protocol,
//!     rpc::{Cx, Rpc, Service},
//!     tunnel::OpenError,
//! };
//!
//! /// Says again what it hears.
//! pub struct Parrot;
//! protocol!(Parrot = "parrot");
//!
//! /// "I want to talk."
//! #[derive(Serialize, Deserialize)]
//! pub struct Talk;
//! message!(tunnel Talk = Parrot / "talk", from ["visitor"], to ["parrot"]);
//!
//! fn service(rpc: &Rpc) -> Service {
//!     let parrot = Service::of::<Parrot>().tunnel(rpc, |_ctx, Talk| async move {
//!         let (beak, ear) = tokio::io::duplex(64);
//!         // Somebody moves bytes from the one to the other.
//!         drop(ear);
//!         Ok(beak)
//!     });
//!     parrot.into()
//! }
//!
//! async fn greet(rpc: &Rpc, cx: &Cx) -> Result<(), OpenError> {
//!     let mut tunnel = rpc.client::<Parrot>().open(Talk, cx).await?;
//!     let _ = tunnel.writer.send("hello".into()).await;
//!     let _ = tunnel.reader.next().await;
//!     Ok(())
//! }
//! ```

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_transport::{
    NodeId,
    body::{
        BodyError, Incoming, LABEL_BYTES, Outgoing, PIECE_MAX_BYTES, Part, TUNNEL_STREAMS_MAX,
        WORDS_MAX_BYTES,
    },
};

use crate::{
    Env,
    rpc::{BelongsTo, Call, CallError, Contract, Fault, FaultKind, Message, MessageBody},
    shares::{Full, Place, Shares},
};

mod open;
mod relay;
mod serve;

pub use relay::relay;

/// Tunnels that a node has at once, whoever opened them. Each holds a piece each way, and what QUIC has not heard to
/// have arrived, some 4 MiB on a fast link that is not read.
pub const TUNNELS_MAX: usize = 64;

/// Those of them that are with one peer: as many as there are streams for.
pub const TUNNELS_PER_PEER_MAX: usize = TUNNEL_STREAMS_MAX as usize;

/// How long the streams of a tunnel may take to come once it is granted.
pub const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// How long the other end may read nothing of what is sent before the tunnel is given up.
pub const STALL: Duration = Duration::from_secs(60);

/// A message that asks for a tunnel; made by [`message!`](crate::message).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not ask for a tunnel",
    label = "only what asks for a tunnel is answered with one",
    note = "declare it with `message!(tunnel {Self} = ...)`"
)]
pub trait Request: Message + BelongsTo<Self::Protocol> {}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Who was asked did not say yes.
    #[error(transparent)]
    Call(#[from] CallError),
    /// This node has as many tunnels as it may.
    #[error("{0}")]
    Full(String),
    /// It was granted, and then a stream did not stand.
    #[error("the tunnel does not stand: {0}")]
    Broken(String),
}

/// How a tunnel ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// The other end said why.
    #[error("{0}")]
    Ended(String),
    /// It broke off.
    #[error("the tunnel broke off: {0}")]
    Broken(String),
}

/// One end of a tunnel. It ends when both of its halves are dropped, and breaks when one is.
#[derive(Debug)]
pub struct Tunnel {
    /// What comes from the other end.
    pub reader: Reader,
    /// What goes there.
    pub writer: Writer,
}

/// The half of a tunnel that is read.
#[derive(Debug)]
pub struct Reader {
    incoming: Incoming,
    _place: Place<NodeId>,
}

/// The half of a tunnel that is written.
#[derive(Debug)]
pub struct Writer {
    env: Env,
    outgoing: Outgoing,
}

impl Reader {
    /// The next bytes, at least one; `None` once the other end has said all. Nothing is lost if this is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TunnelError> {
        match self.incoming.next().await {
            Ok(Some(Part::Piece(bytes))) => Ok(Some(bytes)),
            Ok(Some(Part::End)) => Ok(None),
            Ok(Some(Part::Failed(words))) => Err(TunnelError::Ended(words)),
            Ok(Some(Part::Head(_))) => {
                Err(TunnelError::Broken("it carries the head of a body".to_owned()))
            }
            Ok(None) => Err(TunnelError::Broken("the other end is gone".to_owned())),
            Err(error) => Err(broken(&error)),
        }
    }
}

impl Writer {
    /// Sends bytes; waits while the other end does not read, up to [`STALL`]. Dropped meanwhile, it may have sent a part.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), TunnelError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_MAX_BYTES));
            self.put(Part::Piece(piece)).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be said.
    pub async fn finish(mut self) -> Result<(), TunnelError> {
        self.put(Part::End).await?;
        self.outgoing.finish().await.map_err(|error| broken(&error))
    }

    /// Says why nothing more will be said.
    pub async fn fail(mut self, mut words: String) -> Result<(), TunnelError> {
        let mut fits = (0..=words.len().min(WORDS_MAX_BYTES)).rev();
        words.truncate(fits.find(|end| words.is_char_boundary(*end)).unwrap_or(0));
        self.put(Part::Failed(words)).await?;
        self.outgoing.finish().await.map_err(|error| broken(&error))
    }

    async fn put(&mut self, part: Part) -> Result<(), TunnelError> {
        match self.env.timeout(STALL, self.outgoing.send(part)).await {
            Some(sent) => sent.map_err(|error| broken(&error)),
            None => Err(TunnelError::Broken("the other end reads nothing".to_owned())),
        }
    }
}

fn broken(error: &BodyError) -> TunnelError {
    TunnelError::Broken(error.to_string())
}

/// Places for the tunnels of a node.
pub(crate) fn places() -> Shares<NodeId> {
    Shares::new(TUNNELS_MAX, TUNNELS_PER_PEER_MAX)
}

/// What is said where there is no place.
fn full(full: Full, peer: &NodeId) -> String {
    match full {
        Full::All => format!("{TUNNELS_MAX} tunnels are open already; close one"),
        Full::Share => format!("{TUNNELS_PER_PEER_MAX} tunnels with {peer} are open already"),
    }
}

fn busy(reason: Full, peer: &NodeId) -> Fault {
    Fault::new(FaultKind::Unavailable, "Busy", full(reason, peer))
}

/// What the two streams shall be known by.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Labels {
    /// The one from who asks.
    forth: [u8; LABEL_BYTES],
    /// The one to who asks.
    back: [u8; LABEL_BYTES],
}

/// A message that asks for a tunnel, with its labels.
pub(crate) struct Asked<M: Request> {
    message: M,
    labels: Labels,
}

/// The same, as it travels.
#[derive(Serialize, Deserialize)]
struct Travelling {
    message: Bytes,
    labels: Labels,
}

#[diagnostic::do_not_recommend]
impl<M: Request> MessageBody for Asked<M> {
    fn to_bytes(&self) -> Result<Bytes, postcard::Error> {
        Travelling { message: self.message.to_bytes()?, labels: self.labels.clone() }.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let Travelling { message, labels } = Travelling::from_bytes(bytes)?;
        Ok(Self { message: M::from_bytes(&message)?, labels })
    }
}

#[diagnostic::do_not_recommend]
impl<M: Request> Message for Asked<M> {
    type Protocol = M::Protocol;
    const METHOD: &'static str = M::METHOD;
    const CONTRACT: Contract = M::CONTRACT;
}

#[diagnostic::do_not_recommend]
impl<M: Request + BelongsTo<P>, P> BelongsTo<P> for Asked<M> {}

/// The answer says that the other end listens.
#[diagnostic::do_not_recommend]
impl<M: Request> Call for Asked<M> {
    type Reply = ();
}
