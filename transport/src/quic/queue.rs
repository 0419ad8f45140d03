//! What waits for one peer in one class.
//!
//! A queue outlives connections. Each connection takes frames from it under an epoch of its own, and
//! a frame is either taken by one connection or dropped: it is never taken twice.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    link::QueueLimit,
    planted::{Bug, is_planted},
    wire::{Class, Frame, Kind},
};

/// Frames taken at once: enough to amortise a wake-up and a write.
const BATCH_FRAMES: usize = 256;
/// Bytes after which a batch takes no further frame: one write's worth.
const BATCH_BYTES: usize = 256 * 1024;

/// One connection's right to take frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

struct Waiting {
    frame: Frame,
    bytes: usize,
    since: Instant,
}

#[derive(Default)]
struct Content {
    frames: VecDeque<Waiting>,
    bytes: usize,
    /// Frames so far that no connection took: nobody could send them, or in time.
    dropped: usize,
    epoch: u64,
    /// Nothing more comes in: the node is closing.
    finished: bool,
}

/// The queue.
pub(super) struct Queue {
    limit: QueueLimit,
    content: Mutex<Content>,
    /// Wakes the one writer that takes from it.
    ready: Notify,
}

/// What is in a queue, and how many frames it has dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stock {
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) dropped: usize,
}

/// Why a frame was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The queue is full.
    Full,
    /// The queue takes nothing more.
    Finished,
}

impl Queue {
    pub(super) fn new(class: Class) -> Self {
        Self { limit: QueueLimit::of(class), content: Mutex::default(), ready: Notify::new() }
    }

    pub(super) fn push(&self, frame: Frame, bytes: usize, now: Instant) -> Result<(), Rejected> {
        let mut content = self.content.lock();
        if content.finished {
            return Err(Rejected::Finished);
        }
        if !self.limit.admits(content.frames.len(), content.bytes, bytes) {
            let silent = is_planted(Bug::FullQueueDropsSilently);
            return if silent { Ok(()) } else { Err(Rejected::Full) };
        }
        content.bytes += bytes;
        content.frames.push_back(Waiting { frame, bytes, since: now });
        drop(content);
        self.ready.notify_one();
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content.lock().frames.is_empty()
    }

    /// Gives a new connection the right to take frames, and takes it from the one before.
    pub(super) fn begin(&self) -> Epoch {
        let mut content = self.content.lock();
        content.epoch += 1;
        let epoch = Epoch(content.epoch);
        drop(content);
        self.ready.notify_one();
        epoch
    }

    /// Takes the right away again; frames wait for the next connection.
    pub(super) fn end(&self, epoch: Epoch) {
        let mut content = self.content.lock();
        if content.epoch == epoch.0 {
            content.epoch += 1;
        }
        drop(content);
        self.ready.notify_one();
    }

    /// Drops what waits.
    pub(super) fn clear(&self) {
        let mut content = self.content.lock();
        content.bytes = 0;
        let frames = std::mem::take(&mut content.frames);
        content.dropped += frames.len();
    }

    /// How much waits and was dropped.
    pub(super) fn stock(&self) -> Stock {
        let content = self.content.lock();
        let (frames, bytes) = (content.frames.len(), content.bytes);
        Stock { frames, bytes, dropped: content.dropped }
    }

    /// Takes nothing more in; what waits may still be taken.
    pub(super) fn finish(&self) {
        self.content.lock().finished = true;
        self.ready.notify_one();
    }

    /// Moves the next frames to `batch`, waiting for the first. `false` means that there will be none
    /// for this epoch.
    pub(super) async fn take(
        &self,
        epoch: Epoch,
        batch: &mut Vec<Frame>,
        now: impl Fn() -> Instant,
    ) -> bool {
        loop {
            let notified = self.ready.notified();
            {
                let mut content = self.content.lock();
                if content.epoch != epoch.0 {
                    return false;
                }
                content.take(batch, &now);
                if !batch.is_empty() {
                    return true;
                }
                if content.finished {
                    return false;
                }
            }
            notified.await;
        }
    }
}

impl Content {
    fn take(&mut self, batch: &mut Vec<Frame>, now: impl Fn() -> Instant) {
        if self.frames.is_empty() {
            return;
        }
        let now = now();
        let mut taken_bytes = 0;
        while batch.len() < BATCH_FRAMES && taken_bytes < BATCH_BYTES {
            let Some(waiting) = self.frames.pop_front() else { break };
            self.bytes -= waiting.bytes;
            let waited = now.saturating_duration_since(waiting.since);
            if let Some(frame) = aged(waiting.frame, waited) {
                taken_bytes += waiting.bytes;
                batch.push(frame);
            } else {
                self.dropped += 1;
            }
        }
    }
}

/// The frame after it has waited: less patience is left, or none and the frame is not worth sending.
fn aged(mut frame: Frame, waited: Duration) -> Option<Frame> {
    let patience_ms = &mut frame.header.deadline_ms;
    if matches!(frame.header.kind, Kind::Call | Kind::Cast) && *patience_ms > 0 {
        let waited_ms = u32::try_from(waited.as_millis()).unwrap_or(u32::MAX);
        *patience_ms = patience_ms.checked_sub(waited_ms).filter(|left| *left > 0)?;
    }
    Some(frame)
}

#[cfg(test)]
mod tests;
