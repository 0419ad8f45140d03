//! The bytes of a stream through memory: what a node sends itself, and what a simulated network carries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{BodyError, Inlet, Outlet, PIECE_MAX_BYTES};

/// What may wait between the two ends, in bytes: a few pieces, with their prefixes.
const WINDOW_BYTES: usize = 4 * PIECE_MAX_BYTES;

/// What passes.
pub(crate) enum Item {
    /// Bytes, and the room that they take until they are read.
    Bytes(Bytes, OwnedSemaphorePermit),
    /// All has passed.
    End,
}

/// The room of one stream, closed when it breaks.
pub(crate) type Room = Arc<Semaphore>;

/// Room for one stream.
pub(crate) fn room() -> Room {
    Arc::new(Semaphore::new(WINDOW_BYTES))
}

/// Bytes with the room that they take; waits for it.
pub(crate) async fn admit(room: &Room, bytes: Bytes) -> Result<Item, BodyError> {
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let permit = Arc::clone(room).acquire_many_owned(count).await;
    permit.map(|permit| Item::Bytes(bytes, permit)).map_err(|_| broken())
}

/// What both ends hear of a break.
pub(crate) fn broken() -> BodyError {
    BodyError::Broken("the other side is gone".to_owned())
}

/// The two ends of a stream within one process.
pub(crate) fn pair() -> (DirectOutlet, PipeInlet) {
    let (items, receiver) = mpsc::unbounded_channel();
    let room = room();
    (DirectOutlet { items, room: Arc::clone(&room) }, PipeInlet::new(receiver, room))
}

/// Where what passes comes out.
pub(crate) struct PipeInlet {
    items: mpsc::UnboundedReceiver<Item>,
    room: Room,
    current: Option<(Bytes, OwnedSemaphorePermit)>,
    ended: bool,
}

impl PipeInlet {
    pub(crate) fn new(items: mpsc::UnboundedReceiver<Item>, room: Room) -> Self {
        Self { items, room, current: None, ended: false }
    }
}

impl Drop for PipeInlet {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[async_trait]
impl Inlet for PipeInlet {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, BodyError> {
        while self.current.is_none() {
            if self.ended {
                return Ok(0);
            }
            match self.items.recv().await {
                Some(Item::Bytes(bytes, permit)) => {
                    self.current = (!bytes.is_empty()).then_some((bytes, permit));
                }
                Some(Item::End) => self.ended = true,
                None => return Err(broken()),
            }
        }
        let Some((bytes, _)) = &mut self.current else { return Ok(0) };
        let count = bytes.len().min(into.len());
        bytes.copy_to_slice(&mut into[..count]);
        if bytes.is_empty() {
            self.current = None;
        }
        Ok(count)
    }
}

/// Where what passes goes in, without a network in between.
pub(crate) struct DirectOutlet {
    items: mpsc::UnboundedSender<Item>,
    room: Room,
}

#[async_trait]
impl Outlet for DirectOutlet {
    /// Both ends are there from the start.
    async fn open(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    async fn write(&mut self, head: Bytes, rest: Bytes) -> Result<(), BodyError> {
        for bytes in [head, rest] {
            let item = admit(&self.room, bytes).await?;
            self.items.send(item).map_err(|_| broken())?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BodyError> {
        self.items.send(Item::End).map_err(|_| broken())
    }
}
