//! The task that brings commits to the disk, one group after the other.
//!
//! It owns the disk: when it ends, for whatever reason, the file is let go and everyone who waits is told. A full
//! disk is an outage that ends when there is space again: the store is then read anew, and what was not yet
//! durable is gone, as after a crash. Any other failure is for good, since after a failed sync nobody can say
//! what the disk holds.

use std::sync::Arc;

use super::{
    core::Core,
    disk::{Disk, DiskError, Loaded},
    error::OpenError,
    group::{Group, Work},
    limits::RECOVERY_PAUSE,
};

/// Opens the same store again and again.
pub(super) type Opener = Arc<dyn Fn() -> Result<Loaded, OpenError> + Send + Sync>;

/// Writes groups until the store is closed and all is written, or writing fails.
pub(super) struct Flusher {
    core: Arc<Core>,
    /// None while the disk is full.
    disk: Option<Arc<Disk>>,
    opener: Opener,
    /// Why it ended, unless the store was closed.
    failure: Option<String>,
}

/// Why a group was not written.
enum Failure {
    NoSpace(String),
    Fatal(String),
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // The file is free before anyone learns that the store has ended.
        self.disk = None;
        self.core.end(self.failure.as_deref());
    }
}

impl Flusher {
    pub(super) fn new(core: Arc<Core>, disk: Arc<Disk>, opener: Opener) -> Self {
        let failure = Some("its writer has stopped".to_owned());
        Self { core, disk: Some(disk), opener, failure }
    }

    /// Works until the store has ended.
    pub(super) async fn run(mut self) {
        self.failure = self.work().await.err();
        if let Some(why) = &self.failure {
            tracing::error!(%why, "the store stops: a commit did not reach the disk");
        }
    }

    async fn work(&mut self) -> Result<(), String> {
        while let Some(work) = self.core.next_work() {
            match work {
                Work::Idle => self.core.woken(None).await,
                Work::In(delay) => self.core.woken(Some(delay)).await,
                Work::Flush(group) => match self.flush(Arc::clone(&group)).await {
                    Ok(()) => self.core.flushed(&group),
                    Err(Failure::Fatal(why)) => return Err(why),
                    Err(Failure::NoSpace(why)) => self.recover(why).await?,
                },
            }
        }
        Ok(())
    }

    async fn flush(&self, group: Arc<Group>) -> Result<(), Failure> {
        let stopped = || Failure::Fatal("its writer has stopped".to_owned());
        let disk = self.disk.clone().ok_or_else(stopped)?;
        let written = self.core.env.blocking(move || disk.write(&group)).await;
        written.map_err(|_| stopped())?.map_err(|error| failure(&error))
    }

    /// Waits until the disk takes writes again, and serves what it holds.
    async fn recover(&mut self, why: String) -> Result<(), String> {
        tracing::error!(%why, "the store serves nothing until there is space");
        self.disk = None;
        self.core.suspend(&why);
        loop {
            self.core.env.sleep(RECOVERY_PAUSE).await;
            if self.core.is_closing() {
                return Err(why);
            }
            let opener = Arc::clone(&self.opener);
            match self.core.env.blocking(move || reopen(&opener)).await {
                Ok(Ok(loaded)) => {
                    tracing::warn!("the store serves again");
                    self.core.resume(&loaded);
                    self.disk = Some(loaded.disk);
                    return Ok(());
                }
                Ok(Err(error)) => tracing::warn!(%error, "the store cannot serve yet"),
                Err(gone) => return Err(gone.to_string()),
            }
        }
    }
}

/// Opens the disk and tries it with a commit that changes nothing.
fn reopen(opener: &Opener) -> Result<Loaded, String> {
    let loaded = opener().map_err(|error| error.to_string())?;
    loaded.disk.write(&Group::empty(loaded.sequence)).map_err(|error| error.remedy())?;
    Ok(loaded)
}

fn failure(error: &DiskError) -> Failure {
    if error.is_for_want_of_space() {
        Failure::NoSpace(error.remedy())
    } else {
        Failure::Fatal(error.remedy())
    }
}
