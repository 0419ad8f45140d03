//! Streams that carry one body each.
//!
//! Whoever sends a body opens a stream in one direction: the byte that says what it is, the label, then the parts.
//! QUIC's flow control stops it when nobody reads, and its bytes go out after those of all other streams.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use super::{meet::PROMPT_MAX, node::Node, standing::Standing, words::Close};
use crate::{
    body::{BodyError, Incoming, Inlet, LABEL_BYTES, Label, Outgoing, Outlet, STREAMS_MAX, pipe},
    counts::Refused,
    id::{NodeId, PeerIdentity},
    link::{Event, LinkError},
    wire::{Class, WireVersion},
};

/// The byte that opens the stream of a body, behind those of the classes.
const BODY_TAG: u8 = 3;
/// Bytes in front of the first part.
const OPENING_BYTES: usize = 1 + LABEL_BYTES;
/// Behind all classes.
const PRIORITY: i32 = -1;
/// What a receiver hears when the sender gives a body up.
const GIVEN_UP: VarInt = VarInt::from_u32(1);

/// Opens the stream of a body on a connection that stands.
pub(super) fn open(
    node: &Arc<Node>,
    standing: &Standing,
    peer: &NodeId,
    label: Label,
) -> Result<Outgoing, LinkError> {
    let version = standing.version();
    if version < WireVersion::THREE {
        return Err(LinkError::NoBodies { peer: peer.clone(), version });
    }
    let (node, connection) = (Arc::clone(node), standing.connection().clone());
    Ok(Outgoing::new(QuicOutlet { node, connection, label, stream: None }))
}

/// The two ends of a body that a node sends itself.
pub(super) fn to_itself() -> (Outgoing, Incoming) {
    let (outlet, inlet) = pipe::pair();
    (Outgoing::new(outlet), Incoming::new(inlet))
}

struct QuicOutlet {
    node: Arc<Node>,
    connection: Connection,
    label: Label,
    /// `None` until something is sent, and once it has ended.
    stream: Option<SendStream>,
}

impl QuicOutlet {
    /// The stream; waits while as many as the peer allows are open.
    async fn stream(&mut self) -> Result<&mut SendStream, BodyError> {
        let opened = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let mut stream = self.connection.open_uni().await.map_err(|e| broken(&e))?;
                // It fails only on a stream that is closed already.
                let _ = stream.set_priority(PRIORITY);
                let opening = [&[BODY_TAG], &self.label.0[..]].concat();
                stream.write_all(&opening).await.map_err(|error| broken(&error))?;
                stream
            }
        };
        Ok(self.stream.insert(opened))
    }
}

fn broken(error: &dyn std::fmt::Display) -> BodyError {
    BodyError::Broken(error.to_string())
}

#[async_trait]
impl Outlet for QuicOutlet {
    async fn open(&mut self) -> Result<(), BodyError> {
        self.stream().await.map(drop)
    }

    async fn write(&mut self, head: Bytes, rest: Bytes) -> Result<(), BodyError> {
        let bytes = head.len() + rest.len();
        let stream = self.stream().await?;
        stream.write_all_chunks(&mut [head, rest]).await.map_err(|error| broken(&error))?;
        self.node.tally.sent(Class::Bulk, 1, bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BodyError> {
        self.stream().await?.finish().map_err(|error| broken(&error))?;
        // What is finished is not given up.
        self.stream = None;
        Ok(())
    }
}

impl Drop for QuicOutlet {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.stream {
            // It fails only on a stream that is closed already.
            let _ = stream.reset(GIVEN_UP);
        }
    }
}

struct QuicInlet {
    node: Arc<Node>,
    standing: Arc<Standing>,
    stream: RecvStream,
}

#[async_trait]
impl Inlet for QuicInlet {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, BodyError> {
        let read = self.stream.read(into).await.map_err(|error| match error {
            ReadError::Reset(_) => broken(&"its sender has given it up"),
            error => broken(&error),
        })?;
        if self.standing.is_struck() {
            return Err(broken(&"the certificate of its sender was revoked"));
        }
        let read = read.unwrap_or_default();
        self.node.tally.received_of_body(read);
        Ok(read)
    }
}

/// Takes the bodies that the peer of a connection sends, until that ends.
pub(super) async fn accept(
    node: Arc<Node>,
    peer: PeerIdentity,
    connection: Connection,
    standing: Arc<Standing>,
    events: mpsc::Sender<Event>,
) {
    // Before this, nobody could open one: the peer was not accepted yet, or does not know of them.
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX));
    while let Ok(stream) = connection.accept_uni().await {
        let opened = Opened {
            node: Arc::clone(&node),
            peer: peer.clone(),
            connection: connection.clone(),
            standing: Arc::clone(&standing),
            events: events.clone(),
        };
        node.host.spawn("quic body", Box::pin(opened.hand_up(stream)));
    }
}

/// A stream that the peer has opened. There are never more than QUIC lets it open.
struct Opened {
    node: Arc<Node>,
    peer: PeerIdentity,
    connection: Connection,
    standing: Arc<Standing>,
    events: mpsc::Sender<Event>,
}

impl Opened {
    /// Reads the label, and hands the rest up.
    async fn hand_up(self, mut stream: RecvStream) {
        let mut opening = [0; OPENING_BYTES];
        let read = self.node.clock.within(PROMPT_MAX, stream.read_exact(&mut opening)).await;
        let Some(Ok(())) = read else { return };
        let [tag, label @ ..] = opening;
        if tag != BODY_TAG {
            let why = format!("it opened a stream of kind {tag} for a body");
            self.connection.close(Close::Broken.code(), why.as_bytes());
            self.node.refused(Refused::BadOpening, why);
            return;
        }
        let Self { node, peer, standing, events, .. } = self;
        let inlet = QuicInlet { node, standing: Arc::clone(&standing), stream };
        let Ok(place) = events.reserve().await else { return };
        if !standing.is_struck() {
            place.send(Event::Body { peer, label: Label(label), body: Incoming::new(inlet) });
        }
    }
}
