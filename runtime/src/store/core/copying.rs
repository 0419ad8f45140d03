//! Handing out everything that a store of one process holds.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Core, lost};
use crate::store::{
    copy::{self, Copy, Piece, Pieces},
    disk::Disk,
    error::StoreError,
};

impl Core {
    /// Everything that is durable now.
    pub(in crate::store) async fn copy(self: &Arc<Self>) -> Result<Copy, StoreError> {
        let (pieces, receiver) = copy::channel();
        let Some(disk) = self.disk()? else {
            return Ok(Copy { sequence: self.copy_memory(pieces)?, pieces: receiver });
        };
        let (began, sequence) = oneshot::channel();
        let core = Arc::clone(self);
        self.env.spawn("store-copy", async move {
            let failed = pieces.clone();
            let read = move || {
                let taken = |piece| pieces.blocking_send(Ok(piece)).is_ok();
                disk.copy(|sequence| began.send(sequence).unwrap_or_default(), taken)
            };
            if let Ok(Err(error)) = core.env.blocking(read).await {
                core.distrust(&error);
                let why = format!("copying it: {error}");
                let _ = failed.send(Err(StoreError::Unavailable(why))).await;
            }
        });
        Ok(Copy { sequence: sequence.await.map_err(|_| lost())?, pieces: receiver })
    }

    /// The disk, if this store has one.
    fn disk(&self) -> Result<Option<Arc<Disk>>, StoreError> {
        let state = self.serving()?;
        if self.flusher.is_none() {
            return Ok(None);
        }
        state.disk.upgrade().map(Some).ok_or_else(lost)
    }

    /// Hands over what is in memory alone; returns the last commit.
    fn copy_memory(&self, pieces: Pieces) -> Result<u64, StoreError> {
        let (rows, entries, sequence) = {
            let state = self.serving()?;
            (state.rows.clone(), state.logs.all(), state.sequence)
        };
        self.env.spawn("store-copy", async move {
            let rows = rows.into_iter().map(|(key, entry)| Piece::Row { key, entry });
            let logs = entries.into_iter().map(|(log, entry)| Piece::Log { log, entry });
            for piece in rows.chain(logs) {
                if pieces.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        });
        Ok(sequence)
    }
}
