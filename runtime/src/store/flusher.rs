//! The task that brings commits to the disk, one group after the other.
//!
//! It owns the disk: when it ends, for whatever reason, the file is let go and everyone who waits is told.

use std::sync::Arc;

use super::{
    core::Core,
    disk::{Disk, DiskError},
    group::{Group, Work},
};

/// Writes groups until the store is closed and all is written, or writing fails.
pub(super) async fn run(core: Arc<Core>, disk: Arc<Disk>) {
    // Dropped in the opposite order: the file is free before anyone learns that the store has ended.
    let mut farewell =
        Farewell { core: Arc::clone(&core), why: "its writer has stopped".to_owned() };
    let disk = disk;
    while let Some(work) = core.next_work() {
        match work {
            Work::Idle => core.woken(None).await,
            Work::In(delay) => core.woken(Some(delay)).await,
            Work::Flush(group) => match flush(&core, &disk, Arc::clone(&group)).await {
                Ok(()) => core.flushed(&group),
                Err(why) => {
                    tracing::error!(%why, "the store stops: a commit did not reach the disk");
                    farewell.why = why;
                    return;
                }
            },
        }
    }
    farewell.why = "it is closed".to_owned();
}

async fn flush(core: &Core, disk: &Arc<Disk>, group: Arc<Group>) -> Result<(), String> {
    let disk = Arc::clone(disk);
    let written = core.env.blocking(move || disk.write(&group)).await;
    written.map_err(|gone| gone.to_string())?.map_err(|error: DiskError| error.remedy())
}

struct Farewell {
    core: Arc<Core>,
    why: String,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.core.end(&self.why);
    }
}
