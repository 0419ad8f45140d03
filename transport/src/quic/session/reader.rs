//! Turns what a peer sends in one class into events.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use quinn::{Connection, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    counts::Refused,
    id::PeerIdentity,
    link::Event,
    quic::{node::Node, peer::Peer, queue::Epoch, standing::Standing, words::Close},
    wire::{Class, Decoder, Frame, WireError, WireVersion},
};

/// Chunks of a stream taken in one go.
const CHUNKS: usize = 32;
/// Bodies from this size count against what this node holds for a peer; smaller ones are bounded by the
/// number of events.
const COUNTED_BODY_BYTES: usize = 4 * 1024;

/// One class of one connection, inwards.
pub(super) struct Reader {
    pub(super) node: Arc<Node>,
    pub(super) peer: Arc<Peer>,
    pub(super) identity: PeerIdentity,
    pub(super) connection: Connection,
    pub(super) standing: Arc<Standing>,
    pub(super) class: Class,
    /// What the connection speaks.
    pub(super) version: WireVersion,
    pub(super) epoch: Epoch,
    pub(super) stream: RecvStream,
    pub(super) events: mpsc::Sender<Event>,
    /// Bytes of bodies that the node may still hold for this peer and class.
    pub(super) room: Arc<Semaphore>,
    pub(super) _task: mpsc::Sender<Infallible>,
}

/// Why a reader stops before its stream ends.
enum Stop {
    /// The peer sent what is no frame.
    Broken(WireError),
    /// Nobody wants frames any more.
    Unwanted,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let mut decoder = Decoder::new(self.class, self.version);
        let mut chunks = [const { Bytes::new() }; CHUNKS];
        while let Ok(Some(count)) = self.stream.read_chunks(&mut chunks).await {
            for chunk in &mut chunks[..count] {
                decoder.feed(std::mem::take(chunk));
                if let Err(stop) = self.hand_up(&mut decoder).await {
                    self.stop(&stop);
                    return;
                }
            }
        }
        // The peer has finished its stream, so this side finishes its own.
        self.peer.queue(self.class).end(self.epoch);
    }

    async fn hand_up(&self, decoder: &mut Decoder) -> Result<(), Stop> {
        while let Some(mut frame) = self.next_frame(decoder)? {
            if frame.body.len() >= COUNTED_BODY_BYTES {
                frame.body = self.counted(frame.body).await?;
            }
            let place = self.events.reserve().await.map_err(|_| Stop::Unwanted)?;
            if self.standing.is_struck() {
                return Err(Stop::Unwanted);
            }
            self.node.host.heard(&self.identity.node, self.class, &frame);
            place.send(Event::Frame { peer: self.identity.clone(), frame });
        }
        Ok(())
    }

    fn next_frame(&self, decoder: &mut Decoder) -> Result<Option<Frame>, Stop> {
        let held_bytes = decoder.held_bytes();
        let frame = decoder.next_frame().map_err(Stop::Broken)?;
        if frame.is_some() {
            self.node.tally.received(self.class, held_bytes - decoder.held_bytes());
        }
        Ok(frame)
    }

    /// The body, counted as held until its last handle is dropped; waits until there is room.
    async fn counted(&self, body: Bytes) -> Result<Bytes, Stop> {
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        tokio::select! {
            biased;
            permit = room.acquire_many_owned(bytes) => match permit {
                Ok(permit) => Ok(Bytes::from_owner(Held { body, _permit: permit })),
                Err(_) => Err(Stop::Unwanted),
            },
            _ = self.connection.closed() => Err(Stop::Unwanted),
        }
    }

    fn stop(&self, stop: &Stop) {
        let (close, why) = match stop {
            Stop::Broken(error) => (Close::Broken, self.refused(error)),
            Stop::Unwanted => (Close::GoingAway, "nobody takes frames here any more".to_owned()),
        };
        self.connection.close(close.code(), why.as_bytes());
    }

    fn refused(&self, error: &WireError) -> String {
        let reason = match error {
            WireError::FrameTooLarge { .. } => Refused::OverLimit,
            _ => Refused::BrokenFrame,
        };
        self.node.refused(reason, error.to_string())
    }
}

/// A body and the room it takes.
struct Held {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
