//! A connection at work: one reader and one writer for each class.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    meet::Opened,
    node::Node,
    peer::Peer,
    queue::Epoch,
    standing::Standing,
    words::{self, Close, REVOKED},
};
use crate::{
    id::{Incarnation, PeerIdentity},
    link::{Event, QueueLimit},
    wire::{Class, Decoder, Frame, WireError, encode, encode_head},
};

/// Bodies from this size are written from where they lie instead of being copied into the batch.
const COPY_MAX_BYTES: usize = 16 * 1024;
/// What a batch buffer may keep between batches.
const BUFFER_KEEP_BYTES: usize = 64 * 1024;
/// Chunks of a stream taken in one go.
const CHUNKS: usize = 32;
/// Bodies from this size count against what this node holds for a peer; smaller ones are bounded by the
/// number of events.
const COUNTED_BODY_BYTES: usize = 4 * 1024;
/// How often the wall clock is asked whether the peer's certificate is still valid: it may be set at any
/// time, and a timer would not notice.
const EXPIRY_CHECK: Duration = Duration::from_secs(600);
/// How long the peer's close may lag behind the end of its streams.
const CLOSE_LAG: Duration = Duration::from_secs(1);

/// One connection and the tasks that serve it.
pub(super) struct Session {
    node: Arc<Node>,
    peer: Arc<Peer>,
    connection: Connection,
    standing: Arc<Standing>,
    incarnation: Incarnation,
    until_unix_secs: u64,
    dialled: bool,
    epochs: Vec<(Class, Epoch)>,
    /// Ends when the last task has.
    tasks: mpsc::Receiver<Infallible>,
}

impl Session {
    /// Takes the peer's queues and starts to serve them.
    pub(super) fn start(
        node: &Arc<Node>,
        peer: &Arc<Peer>,
        events: &mpsc::Sender<Event>,
        standing: Arc<Standing>,
        opened: Opened,
    ) -> Self {
        let Opened { connection, certified, incarnation, dialled, streams } = opened;
        let until_unix_secs = certified.until_unix_secs;
        let (task, tasks) = mpsc::channel(1);
        let mut epochs = Vec::new();
        for (class, (send, recv)) in streams {
            let epoch = peer.queue(class).begin();
            epochs.push((class, epoch));
            let writer = Writer {
                node: Arc::clone(node),
                peer: Arc::clone(peer),
                class,
                epoch,
                stream: send,
                _task: task.clone(),
            };
            let reader = Reader {
                peer: Arc::clone(peer),
                identity: certified.peer.clone(),
                connection: connection.clone(),
                standing: Arc::clone(&standing),
                class,
                epoch,
                stream: recv,
                events: events.clone(),
                room: Arc::new(Semaphore::new(QueueLimit::of(class).bytes)),
                _task: task.clone(),
            };
            node.host.spawn("quic write", Box::pin(writer.run()));
            node.host.spawn("quic read", Box::pin(reader.run()));
        }
        let (node, peer) = (Arc::clone(node), Arc::clone(peer));
        Self {
            node,
            peer,
            connection,
            standing,
            incarnation,
            until_unix_secs,
            dialled,
            epochs,
            tasks,
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether this side has dialled.
    pub(super) fn dialled(&self) -> bool {
        self.dialled
    }

    /// Waits until the connection has ended; says why. May be called again if it was cancelled.
    pub(super) async fn over(&mut self) -> String {
        tokio::select! {
            biased;
            error = self.connection.closed() => self.why(&error),
            _ = self.tasks.recv() => self.both_are_done().await,
            () = expired(&self.node, self.until_unix_secs) => {
                let why = "its certificate has expired";
                self.connection.close(Close::Refused.code(), why.as_bytes());
                why.to_owned()
            }
        }
    }

    fn why(&self, error: &ConnectionError) -> String {
        if self.standing.is_struck() { REVOKED.to_owned() } else { words::of(error) }
    }

    /// Both sides have sent everything and read everything. Who is closing closes.
    async fn both_are_done(&self) -> String {
        if !self.node.is_closing() {
            let closed = self.node.clock.within(CLOSE_LAG, self.connection.closed()).await;
            if let Some(error) = closed {
                return self.why(&error);
            }
        }
        self.connection.close(Close::GoingAway.code(), b"this node is going away");
        "both sides have finished".to_owned()
    }

    /// Gives the connection up for another one.
    pub(super) fn supersede(&self) {
        self.connection.close(Close::Superseded.code(), b"the other connection is kept");
    }

    /// Waits until what arrived before the end has been handed up.
    pub(super) async fn wind_up(mut self) {
        for (class, epoch) in &self.epochs {
            self.peer.queue(*class).end(*epoch);
        }
        let _: Option<Infallible> = self.tasks.recv().await;
    }
}

/// Waits until this second of the wall clock.
async fn expired(node: &Node, until_unix_secs: u64) {
    loop {
        let left_secs = until_unix_secs.saturating_sub(node.host.unix_secs());
        if left_secs == 0 {
            return;
        }
        node.clock.sleep(Duration::from_secs(left_secs).min(EXPIRY_CHECK)).await;
    }
}

struct Writer {
    node: Arc<Node>,
    peer: Arc<Peer>,
    class: Class,
    epoch: Epoch,
    stream: SendStream,
    _task: mpsc::Sender<Infallible>,
}

impl Writer {
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut buffer = Vec::new();
        let peer = Arc::clone(&self.peer);
        let clock = self.node.clock.clone();
        while peer.queue(self.class).take(self.epoch, &mut batch, || clock.now()).await {
            if self.write(&mut batch, &mut buffer).await.is_err() {
                // The connection is gone, and who waits for its end says so.
                return;
            }
            buffer.clear();
            buffer.shrink_to(BUFFER_KEEP_BYTES);
        }
        // It fails only on a stream that is closed already.
        let _ = self.stream.finish();
    }

    async fn write(
        &mut self,
        batch: &mut Vec<Frame>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), quinn::WriteError> {
        for frame in batch.drain(..) {
            let in_place = frame.body.len() >= COPY_MAX_BYTES;
            let encoded = if in_place {
                encode_head(&frame, self.class, buffer)
            } else {
                encode(&frame, self.class, buffer)
            };
            if let Err(error) = encoded {
                // Checked when it was queued; dropping one frame is better than losing the rest.
                tracing::error!(peer = %self.peer.id(), %error, "a queued frame cannot be encoded");
            } else if in_place {
                self.stream.write_all(buffer).await?;
                buffer.clear();
                self.stream.write_chunk(frame.body).await?;
            }
        }
        self.stream.write_all(buffer).await
    }
}

struct Reader {
    peer: Arc<Peer>,
    identity: PeerIdentity,
    connection: Connection,
    standing: Arc<Standing>,
    class: Class,
    epoch: Epoch,
    stream: RecvStream,
    events: mpsc::Sender<Event>,
    /// Bytes of bodies that the node may still hold for this peer and class.
    room: Arc<Semaphore>,
    _task: mpsc::Sender<Infallible>,
}

/// Why a reader stops before its stream ends.
enum Stop {
    /// The peer sent what is no frame.
    Broken(WireError),
    /// Nobody wants frames any more.
    Unwanted,
}

impl Reader {
    async fn run(mut self) {
        let mut decoder = Decoder::new(self.class);
        let mut chunks = [const { Bytes::new() }; CHUNKS];
        while let Ok(Some(count)) = self.stream.read_chunks(&mut chunks).await {
            for chunk in &mut chunks[..count] {
                decoder.feed(&std::mem::take(chunk));
            }
            if let Err(stop) = self.hand_up(&mut decoder).await {
                self.stop(&stop);
                return;
            }
        }
        // The peer has finished its stream, so this side finishes its own.
        self.peer.queue(self.class).end(self.epoch);
    }

    async fn hand_up(&self, decoder: &mut Decoder) -> Result<(), Stop> {
        while let Some(mut frame) = decoder.next_frame().map_err(Stop::Broken)? {
            if frame.body.len() >= COUNTED_BODY_BYTES {
                frame.body = self.counted(frame.body).await?;
            }
            let event = Event::Frame { peer: self.identity.clone(), frame };
            let place = self.events.reserve().await.map_err(|_| Stop::Unwanted)?;
            if self.standing.is_struck() {
                return Err(Stop::Unwanted);
            }
            place.send(event);
        }
        Ok(())
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
            Stop::Broken(error) => (Close::Broken, error.to_string()),
            Stop::Unwanted => (Close::GoingAway, "nobody takes frames here any more".to_owned()),
        };
        self.connection.close(close.code(), why.as_bytes());
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
