//! A connection at work: one reader and one writer for each class.

use std::{convert::Infallible, sync::Arc, time::Duration};

use quinn::{Connection, ConnectionError};
use tokio::sync::{Semaphore, mpsc};

use super::{
    bodies,
    meet::Opened,
    node::Node,
    peer::Peer,
    queue::Epoch,
    standing::Standing,
    words::{self, Close, REVOKED},
};
use crate::{
    counts::Refused,
    id::Incarnation,
    link::{Event, QueueLimit},
    wire::{Class, WireVersion},
};

mod reader;
mod writer;

use reader::Reader;
use writer::Writer;

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
        let Opened { connection, certified, incarnation, version, dialled, streams } = opened;
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
                version,
                epoch,
                stream: send,
                _task: task.clone(),
            };
            let reader = Reader {
                node: Arc::clone(node),
                peer: Arc::clone(peer),
                identity: certified.peer.clone(),
                connection: connection.clone(),
                standing: Arc::clone(&standing),
                class,
                version,
                epoch,
                stream: recv,
                events: events.clone(),
                room: Arc::new(Semaphore::new(QueueLimit::of(class).bytes)),
                _task: task.clone(),
            };
            node.host.spawn("quic write", Box::pin(writer.run()));
            node.host.spawn("quic read", Box::pin(reader.run()));
        }
        if version >= WireVersion::THREE {
            // Not one of the tasks: bodies end with the connection, and never keep it.
            let (identity, connection) = (certified.peer, connection.clone());
            let accepting = bodies::accept(
                Arc::clone(node),
                identity,
                connection,
                Arc::clone(&standing),
                events.clone(),
            );
            node.host.spawn("quic bodies", Box::pin(accepting));
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
                self.node.refused(Refused::Expired, why)
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
