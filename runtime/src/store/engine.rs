//! Which engine is behind a store: the one place that knows there are several.
//!
//! All of them hand out the same snapshots and take the same proposals; everything above is written once.

use std::{sync::Arc, time::Duration};

use super::{
    copy::Copy,
    core::{Core, Proposal, Snapshot},
    error::StoreError,
    limits::{TRANSACT_BACKOFF, TRANSACT_BACKOFF_MAX},
    log::LogEntry,
    reads::ReadSet,
    watch::Registry,
};
#[cfg(feature = "postgres")]
use super::{limits, postgres::Hub};
use crate::Env;

/// Where commits are decided and kept.
pub(super) enum Engine {
    /// In this process, in memory alone or on a disk of its own.
    Local(Arc<Core>),
    /// In a database that other processes share.
    #[cfg(feature = "postgres")]
    Shared(Arc<Hub>),
}

impl Engine {
    pub(super) fn env(&self) -> &Env {
        match self {
            Self::Local(core) => &core.env,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => &hub.env,
        }
    }

    pub(super) fn watches(&self) -> &Arc<Registry> {
        match self {
            Self::Local(core) => &core.watches,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => &hub.watches,
        }
    }

    /// The first and the longest pause of a transaction that conflicts and is run again.
    pub(super) fn backoff(&self) -> (Duration, Duration) {
        match self {
            Self::Local(_) => (TRANSACT_BACKOFF, TRANSACT_BACKOFF_MAX),
            #[cfg(feature = "postgres")]
            Self::Shared(_) => {
                (limits::SHARED_TRANSACT_BACKOFF, limits::SHARED_TRANSACT_BACKOFF_MAX)
            }
        }
    }

    /// All that is committed now, by whomever.
    #[cfg_attr(not(feature = "postgres"), allow(clippy::unused_async))]
    pub(super) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        match self {
            Self::Local(core) => core.snapshot(),
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.snapshot().await,
        }
    }

    /// Waits until everything that was read from a snapshot is durable.
    pub(super) async fn settle(
        &self,
        snapshot: &Snapshot,
        reads: &ReadSet,
    ) -> Result<(), StoreError> {
        match self {
            Self::Local(core) => core.settle(snapshot, reads).await,
            // What a database lets others see is durable.
            #[cfg(feature = "postgres")]
            Self::Shared(_) => Ok(()),
        }
    }

    /// Commits a change if all it has read is still so.
    pub(super) async fn commit(&self, proposal: Proposal) -> Result<u64, StoreError> {
        match self {
            Self::Local(core) => core.commit(proposal).await,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.commit(proposal).await,
        }
    }

    pub(super) async fn log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        match self {
            Self::Local(core) => core.log_read(log, after, limit).await,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.log_read(log, after, limit).await,
        }
    }

    pub(super) async fn trim_log(&self, log: &str, up_to: u64) -> Result<(), StoreError> {
        match self {
            Self::Local(core) => core.trim_log(log, up_to).await,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.trim_log(log, up_to).await,
        }
    }

    /// Everything that is durable now.
    pub(super) async fn copy(&self) -> Result<Copy, StoreError> {
        match self {
            Self::Local(core) => core.copy().await,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.copy().await,
        }
    }

    /// Refuses new work; what waits is still committed.
    pub(super) fn start_closing(&self) {
        match self {
            Self::Local(core) => core.start_closing(),
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.start_closing(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Local(core) => core.close().await,
            #[cfg(feature = "postgres")]
            Self::Shared(hub) => hub.close().await,
        }
    }
}
