//! Notifications: what subscribers are told of changes, from an outbox that is written with the change.
//!
//! A row says itself what is to be told of it: [`Record::notices`] is asked whenever one
//! is written or deleted, and the answer goes into its service's outbox in the same transaction. So a notice is there
//! if and only if the change is, whoever made it. A [`Feed`] reads the outbox in the order of the commits, which is the
//! order of each object's changes; a [`Cursor`] remembers how far a subscriber has come, over its own restarts. Each
//! notice is handed out at least once: one that was handled, but not yet acknowledged, comes again.
//!
//! Nobody waits for subscribers. An outbox keeps the newest notices within [`Kept`]; a subscriber that was away for
//! longer is told that it has [missed](Page::missed) some, and looks at the rows themselves.
//!
//! On the node that has the store, [`service`] offers its feeds to others, and each outbox is
//! [kept tidy](Feed::keep_tidy). Offered by nodes with the role `control`, they are read by those with `control` or
//! `subscriber`:
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use updraft_runtime::{
//! #     notify::{Cursor, Notice, Notices, Published, Pull},
//! #     rpc::{Cx, Rpc},
//! #     store::{Record, Store, StoreError, Txn},
//! # };
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Lamp { name: String, on: bool }
//!
//! impl Record for Lamp {
//!     const TABLE: &'static str = "house/lamp";
//!     fn key(&self) -> String { self.name.clone() }
//!     fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
//!         let Some(lamp) = new else { return Vec::new() };
//!         if old.is_some_and(|old| old.on == lamp.on) { return Vec::new() }
//!         vec![Notice {
//!             event: "lamp.switched".into(),
//!             object: lamp.name.clone(),
//!             project: None,
//!             publisher: "house".into(),
//!             payload: serde_json::json!({ "on": lamp.on }),
//!         }]
//!     }
//! }
//!
//! /// Follows the house's notices into the store of this node: each is handled exactly once.
//! async fn follow(store: &Store, rpc: &Rpc, cx: &Cx) -> Result<(), Box<dyn std::error::Error>> {
//!     let house = rpc.client::<Notices>();
//!     let mut cursor = Cursor::load(store, "lamps", 0).await?;
//!     loop {
//!         let pull = Pull { service: "house".into(), after: cursor.after, wait_ms: 5_000 };
//!         let page = house.call(&pull, cx).await?.page()?;
//!         let handled = |txn: &mut Txn| -> Result<Cursor, StoreError> {
//!             page.notices.iter().try_for_each(|notice| handle(txn, notice))?;
//!             cursor.handled(txn, page.next)
//!         };
//!         cursor = store.transact(handled).await?;
//!     }
//! }
//! # fn handle(_: &mut Txn, _: &Published) -> Result<(), StoreError> { Ok(()) }
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    env::UnixMicros,
    store::{Record, Store, StoreError, Txn},
};

mod janitor;
mod remote;

pub use remote::{Notices, Pull, TOPIC, service};

/// What an outbox keeps for subscribers that come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// At least so many of the newest notices, if they are not too old, and at most [`PAGE_MAX`] more.
    pub notices: usize,
    /// None that is older, but for the last page, which is kept until it is full.
    pub within: Duration,
}

impl Default for Kept {
    /// Some thousand servers' lives, and some ten megabytes; a week of a quiet cloud.
    fn default() -> Self {
        Self { notices: 20_000, within: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// Notices in a page at most.
pub const PAGE_MAX: usize = 1_000;

/// How long a subscriber waits before it looks again, whatever it was told: hints may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a change tells, before it is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What happened, such as `instance.create.end`.
    pub event: String,
    /// To what, by its id.
    pub object: String,
    /// Whose it is; nobody's are the operator's.
    pub project: Option<String>,
    /// Who says so, such as `nova-compute:rack-7`.
    pub publisher: String,
    /// What there is to say about it.
    pub payload: Value,
}

/// A notice in its outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Where it stands: grows with each commit, not dense.
    #[serde(skip)]
    pub sequence: u64,
    /// What happened.
    pub event: String,
    /// To what, by its id.
    pub object: String,
    /// Whose it is.
    pub project: Option<String>,
    /// Who says so.
    pub publisher: String,
    /// When, on the clock of the node that wrote it.
    pub at: UnixMicros,
    /// What there is to say about it.
    pub payload: Value,
}

impl Published {
    pub(crate) fn new(notice: Notice, at: UnixMicros) -> Self {
        let Notice { event, object, project, publisher, payload } = notice;
        Self { sequence: 0, event, object, project, publisher, at, payload }
    }
}

/// The next notices of an outbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In the order of their commits.
    pub notices: Vec<Published>,
    /// How far this page goes: what to read behind next.
    pub next: u64,
    /// Notices between what was asked for and the first of these are gone.
    pub missed: bool,
}

/// The name of a service's outbox.
#[must_use]
pub fn outbox(service: &str) -> String {
    format!("{service}/notices")
}

/// How far an outbox was forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Floor {
    outbox: String,
    up_to: u64,
}

/// The notices of one service.
#[derive(Clone)]
pub struct Feed {
    store: Store,
    service: String,
}

impl Feed {
    /// The feed of the service whose tables begin with this name and a slash.
    #[must_use]
    pub fn new(store: &Store, service: &str) -> Self {
        Self { store: store.clone(), service: service.to_owned() }
    }

    /// The end of the outbox now: for a subscriber that wants only what is to come.
    pub async fn end(&self) -> Result<u64, StoreError> {
        self.store.begin().await?.commit().await
    }

    /// Up to `limit` notices behind `after`; an empty page says that there are none yet.
    pub async fn read(&self, after: u64, limit: usize) -> Result<Page, StoreError> {
        let outbox = outbox(&self.service);
        let entries = self.store.log_read(&outbox, after, limit.min(PAGE_MAX)).await?;
        // Asked afterwards: what was there may have been forgotten meanwhile.
        let forgotten = self.forgotten().await?;
        let missed = after < forgotten;
        let next = entries.last().map_or(after.max(forgotten), |entry| entry.sequence);
        let notices = entries.iter().map(|entry| {
            let read = serde_json::from_slice::<Published>(&entry.value);
            let corrupt = |error: serde_json::Error| StoreError::Corrupt {
                key: format!("{outbox} {}", entry.sequence),
                reason: error.to_string(),
            };
            Ok(Published { sequence: entry.sequence, ..read.map_err(corrupt)? })
        });
        Ok(Page { notices: notices.collect::<Result<_, StoreError>>()?, next, missed })
    }

    /// The same, waiting for a first notice as long as `patience`.
    pub async fn wait(
        &self,
        after: u64,
        limit: usize,
        patience: Duration,
    ) -> Result<Page, StoreError> {
        let env = self.store.env().clone();
        let until = env.now() + patience;
        // Before the first look, so that nothing falls between.
        let mut watch = self.store.watch(&outbox(&self.service));
        loop {
            let page = self.read(after, limit).await?;
            let left = until.saturating_sub(env.now());
            if !page.notices.is_empty() || page.missed || left.is_zero() {
                return Ok(page);
            }
            // News or none, it is looked again.
            let _ = env.timeout(left.min(LOOK_AGAIN), watch.changed()).await;
        }
    }

    async fn forgotten(&self) -> Result<u64, StoreError> {
        let key = floor_key(&outbox(&self.service));
        let row = self.store.read(|txn| txn.get_raw(&key)).await?;
        let floor = row.and_then(|entry| serde_json::from_slice::<Floor>(&entry.value).ok());
        Ok(floor.map_or(0, |floor| floor.up_to))
    }

    /// Forgets the notices up to and with this one.
    async fn forget(&self, up_to: u64) -> Result<(), StoreError> {
        let outbox = outbox(&self.service);
        let key = floor_key(&outbox);
        // First the word that they are gone: a reader in between misses nothing without being told. Another node may
        // have forgotten more.
        let note = |txn: &mut Txn| {
            let known = txn.get_raw(&key)?;
            let known = known.and_then(|entry| serde_json::from_slice::<Floor>(&entry.value).ok());
            let up_to = known.map_or(up_to, |floor| floor.up_to.max(up_to));
            let floor = Floor { outbox: outbox.clone(), up_to };
            txn.put_raw(&key, serde_json::to_vec(&floor).unwrap_or_default().into())
        };
        self.store.transact(note).await?;
        self.store.trim_log(&outbox, up_to).await
    }
}

fn floor_key(outbox: &str) -> String {
    format!("{outbox}-forgotten")
}

/// How far a subscriber has come in a feed; a row of the subscriber's own store. Its table is `notify/cursor`: a
/// [scoped](Store::scoped) handle does not reach it unless that is its scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The subscriber's name, and of which feed.
    pub name: String,
    /// It has handled everything up to and with this one.
    pub after: u64,
}

impl Record for Cursor {
    const TABLE: &'static str = "notify/cursor";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Cursor {
    /// The cursor of this name; one that is not there yet begins at `start`.
    pub async fn load(store: &Store, name: &str, start: u64) -> Result<Self, StoreError> {
        let found = store.read(|txn| txn.get::<Self>(name)).await?;
        Ok(found.unwrap_or_else(|| Self { name: name.to_owned(), after: start }))
    }

    /// Remembers that everything up to and with this one was handled, and returns the cursor that holds once the
    /// transaction has committed. May be called in the transaction in which that was done: then it was done exactly once.
    pub fn handled(&self, txn: &mut Txn, up_to: u64) -> Result<Self, StoreError> {
        let moved = Self { name: self.name.clone(), after: self.after.max(up_to) };
        txn.put(&moved)?;
        Ok(moved)
    }
}
