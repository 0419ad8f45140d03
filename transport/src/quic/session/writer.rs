//! Puts what waits for a peer in one class on its stream.

use std::{convert::Infallible, sync::Arc};

use quinn::SendStream;
use tokio::sync::mpsc;

use crate::{
    quic::{node::Node, peer::Peer, queue::Epoch},
    wire::{Class, Frame, WireVersion, encode, encode_head},
};

/// Bodies from this size are written from where they lie instead of being copied into the batch.
const COPY_MAX_BYTES: usize = 16 * 1024;
/// What a batch buffer may keep between batches.
const BUFFER_KEEP_BYTES: usize = 64 * 1024;

/// One class of one connection, outwards.
pub(super) struct Writer {
    pub(super) node: Arc<Node>,
    pub(super) peer: Arc<Peer>,
    pub(super) class: Class,
    /// What the connection speaks.
    pub(super) version: WireVersion,
    pub(super) epoch: Epoch,
    pub(super) stream: SendStream,
    pub(super) _task: mpsc::Sender<Infallible>,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        let mut buffer = Vec::new();
        let peer = Arc::clone(&self.peer);
        let clock = self.node.clock.clone();
        while peer.queue(self.class).take(self.epoch, &mut batch, || clock.now()).await {
            let (frames, mut sent) = (batch.len(), 0);
            let written = self.write(&mut batch, &mut buffer, &mut sent).await;
            self.node.tally.dropped(self.class, frames - sent);
            if written.is_err() {
                // The connection is gone, and who waits for its end says so.
                return;
            }
            buffer.shrink_to(BUFFER_KEEP_BYTES);
        }
        // It fails only on a stream that is closed already.
        let _ = self.stream.finish();
    }

    /// Writes a batch, and counts in `sent` what QUIC has taken whole.
    async fn write(
        &mut self,
        batch: &mut Vec<Frame>,
        buffer: &mut Vec<u8>,
        sent: &mut usize,
    ) -> Result<(), quinn::WriteError> {
        let mut buffered = 0;
        for frame in batch.drain(..) {
            let in_place = frame.body.len() >= COPY_MAX_BYTES;
            let encoded = if in_place {
                encode_head(&frame, self.class, self.version, buffer)
            } else {
                encode(&frame, self.class, self.version, buffer)
            };
            if let Err(error) = encoded {
                // Checked when it was queued; dropping one frame is better than losing the rest.
                tracing::error!(peer = %self.peer.id(), %error, "a queued frame cannot be encoded");
                continue;
            }
            buffered += 1;
            if in_place {
                self.flush(buffer, frame.body, buffered).await?;
                *sent += std::mem::take(&mut buffered);
            }
        }
        self.flush(buffer, bytes::Bytes::new(), buffered).await?;
        *sent += buffered;
        Ok(())
    }

    /// Writes what is buffered, so many frames, the last of which ends with this body.
    async fn flush(
        &mut self,
        buffer: &mut Vec<u8>,
        body: bytes::Bytes,
        frames: usize,
    ) -> Result<(), quinn::WriteError> {
        let bytes = buffer.len() + body.len();
        self.stream.write_all(buffer).await?;
        buffer.clear();
        if !body.is_empty() {
            self.stream.write_chunk(body).await?;
        }
        self.node.tally.sent(self.class, frames, bytes);
        Ok(())
    }
}
