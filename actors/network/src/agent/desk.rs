//! Where wants are handed in: fenced, made durable, and answered once the host is as wanted.
//!
//! An answer means that this life of the agent has seen the host as wanted. A want that cannot be met now is
//! answered with the reason, and goes on being tried.

use std::{sync::Arc, time::Duration};

use updraft_runtime::{
    Env,
    rows::Engine,
    rpc::{Ctx, Fault, FaultKind},
    store::{Store, StoreError},
};
use uuid::Uuid;

use super::{
    plan::{Keeping, Learned},
    rows::{Fence, Row, fence},
    want::Want,
};

/// How long before the caller gives up it is answered that the want is not yet met: an answer needs a moment
/// to travel, and says more than silence.
const ANSWERED_BEFORE_EXPIRY: Duration = Duration::from_millis(250);

/// How many rows one read takes.
const PAGE: usize = 256;

/// Why a want is not met that the network service does not know.
const UNWANTED: &str = "it is not wanted any more";

/// The rows of one kind of want.
pub(super) struct Desk<W: Want> {
    env: Env,
    store: Store,
    life: Uuid,
    engine: Engine<Keeping<W>>,
}

impl<W: Want> Clone for Desk<W> {
    fn clone(&self) -> Self {
        Self {
            env: self.env.clone(),
            store: self.store.clone(),
            life: self.life,
            engine: self.engine.clone(),
        }
    }
}

impl<W: Want> Desk<W> {
    /// A desk whose rows are not yet driven.
    pub(super) fn new(keeping: Keeping<W>) -> Self {
        let (env, store, life) = (keeping.env.clone(), keeping.store.clone(), keeping.life);
        let engine = Engine::new(&env, store.clone(), keeping, Arc::new(|_| true));
        Self { env, store, life, engine }
    }

    /// Applies every want, and keeps on doing so.
    pub(super) fn start(&self) {
        self.engine.start();
    }

    /// Makes the want durable, unless a newer one is known; the row tells what is wanted now.
    pub(super) async fn take(&self, ctx: &Ctx, want: W) -> Result<Row<W>, Fault> {
        if want.present() {
            want.check().map_err(|why| invalid::<W>(&want, &why))?;
        }
        let row = self.store.transact(|txn| {
            let known = txn.get::<Row<W>>(&want.id().to_string())?;
            if known
                .as_ref()
                .is_some_and(|row| row.unwanted && row.want.generation() >= want.generation())
            {
                return Err(unmet(&want, UNWANTED));
            }
            match fence(known.as_ref().map(|row| &row.want), &want) {
                Fence::Stale { known } => Err(stale::<W>(&want, known)),
                Fence::New => {
                    let (want, now) = (want.clone(), self.env.wall());
                    let row = match &known {
                        Some(known) => known.renewed(want, ctx.trace, now),
                        None => Row::new(want, ctx.trace, now),
                    };
                    txn.put(&row)?;
                    Ok(row)
                }
                Fence::Same => known.ok_or_else(|| Fault::internal("a known want is missing")),
                Fence::Differs => {
                    let (id, generation) = (want.id(), want.generation());
                    tracing::error!(what = W::WHAT, %id, generation, "two wants of one generation");
                    known.ok_or_else(|| Fault::internal("a known want is missing"))
                }
            }
        });
        row.await
    }

    /// Waits until the host is as the row wants it.
    pub(super) async fn settled(&self, ctx: &Ctx, row: Row<W>) -> Result<Row<W>, Fault> {
        let key = row.want.id().to_string();
        let mut changes = self.store.watch(&format!("{}/{key}", W::TABLE));
        self.engine.wake(&key);
        let settled = async {
            loop {
                let now = self.store.read(|txn| txn.get::<Row<W>>(&key)).await?;
                if let Some(verdict) = self.verdict(&row, now) {
                    return verdict;
                }
                changes.changed().await;
            }
        };
        let patience =
            ctx.expires.saturating_sub(self.env.now()).saturating_sub(ANSWERED_BEFORE_EXPIRY);
        let answer = self.env.timeout(patience, settled).await;
        answer.unwrap_or_else(|| Err(unmet(&row.want, "it is still being worked on")))
    }

    /// What can be answered by now, if anything.
    fn verdict(&self, asked: &Row<W>, now: Option<Row<W>>) -> Option<Result<Row<W>, Fault>> {
        let Some(now) = now.filter(|row| !row.unwanted) else {
            return Some(Err(unmet(&asked.want, UNWANTED)));
        };
        if now.want.generation() != asked.want.generation() {
            return Some(Err(stale::<W>(&asked.want, now.want.generation())));
        }
        if now.is_applied(self.life) {
            return Some(Ok(now));
        }
        let failed = now.attempts > asked.attempts;
        failed.then_some(now.fault).flatten().map(|why| Err(unmet(&asked.want, &why)))
    }

    /// The host was found to be otherwise than applied.
    pub(super) async fn lost(&self, id: Uuid, generation: u64) {
        if let Err(error) = self.engine.learn(&id.to_string(), Learned::Lost { generation }).await {
            tracing::warn!(what = W::WHAT, %id, %error, "a loss was not written down");
        }
    }

    /// All rows, in the order of their ids.
    pub(super) async fn rows(&self) -> Result<Vec<Row<W>>, StoreError> {
        let txn = self.store.begin().await?;
        let mut rows: Vec<Row<W>> = Vec::new();
        loop {
            let after = rows.last().map(|row| row.want.id().to_string());
            let page = txn.scan::<Row<W>>(after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }
}

fn stale<W: Want>(asked: &W, known: u64) -> Fault {
    let message = format!(
        "{} {} is wanted in generation {known} here, newer than {}",
        W::WHAT,
        asked.id(),
        asked.generation()
    );
    Fault::new(FaultKind::Stale, "StaleGeneration", message)
}

fn invalid<W: Want>(asked: &W, why: &str) -> Fault {
    let message = format!("{} {} cannot be served: {why}", W::WHAT, asked.id());
    Fault::new(FaultKind::Invalid, "InvalidInput", message)
}

fn unmet<W: Want>(asked: &W, why: &str) -> Fault {
    let message = format!(
        "{} {} is not yet as generation {} wants it: {why}",
        W::WHAT,
        asked.id(),
        asked.generation()
    );
    Fault::new(FaultKind::Unavailable, "NotYetApplied", message)
}
