//! The task that brings commits to the disk, one group after the other.
//!
//! It owns the disk: when it ends, for whatever reason, the file is let go and everyone who waits is told. A disk that
//! is full or fails is an outage that ends when it works again: the store is then read anew, and what was not yet
//! durable is there whole or not at all, as after a crash. What the file holds being damaged is for good.

use std::sync::Arc;

use super::{
    core::{Core, Outage},
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
    /// None while the disk fails.
    disk: Option<Arc<Disk>>,
    opener: Opener,
    /// Why it ended, unless the store was closed.
    failure: Option<String>,
}

/// Why a group was not written.
enum Failure {
    OfTheDisk(Outage),
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
                    Err(Failure::OfTheDisk(outage)) => self.recover(outage).await?,
                },
                Work::Reopen(why) => self.recover(Outage::Failing(why)).await?,
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
    async fn recover(&mut self, outage: Outage) -> Result<(), String> {
        tracing::error!(why = %outage, "the store serves nothing until its disk works");
        self.disk = None;
        self.core.suspend(outage.clone());
        loop {
            self.core.env.sleep(RECOVERY_PAUSE).await;
            if self.core.is_closing() {
                return Err(outage.to_string());
            }
            let opener = Arc::clone(&self.opener);
            match self.core.env.blocking(move || reopen(&opener)).await {
                Ok(Ok(loaded)) => {
                    tracing::warn!("the store serves again");
                    self.core.resume(&loaded);
                    self.disk = Some(loaded.disk);
                    return Ok(());
                }
                Ok(Err(Failure::OfTheDisk(why))) => {
                    tracing::warn!(%why, "the store cannot serve yet");
                }
                Ok(Err(Failure::Fatal(why))) => return Err(why),
                Err(gone) => return Err(gone.to_string()),
            }
        }
    }
}

/// Opens the disk and tries it with a commit that changes nothing.
fn reopen(opener: &Opener) -> Result<Loaded, Failure> {
    let loaded = opener().map_err(|error| not_opened(&error))?;
    loaded.disk.write(&Group::empty(loaded.sequence)).map_err(|error| failure(&error))?;
    Ok(loaded)
}

fn not_opened(error: &OpenError) -> Failure {
    let why = error.to_string();
    match error {
        OpenError::Damaged { .. } | OpenError::Format { .. } => Failure::Fatal(why),
        OpenError::NoSpace { .. } => Failure::OfTheDisk(Outage::NoSpace(why.into())),
        OpenError::Locked { .. } | OpenError::Io { .. } | OpenError::Database { .. } => {
            Failure::OfTheDisk(Outage::Failing(why.into()))
        }
    }
}

fn failure(error: &DiskError) -> Failure {
    let why = error.remedy();
    if error.is_for_want_of_space() {
        Failure::OfTheDisk(Outage::NoSpace(why.into()))
    } else if error.is_of_the_disk() {
        Failure::OfTheDisk(Outage::Failing(why.into()))
    } else {
        Failure::Fatal(why)
    }
}
