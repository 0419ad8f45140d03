//! How a want converges: it is applied until the host is as wanted, again in each life of the agent and
//! whenever the host was found to be otherwise. What is not to be there is remembered for a day.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    store::{Store, StoreError, Txn},
    trace::{Step, StepKind, Tracer},
    turns::Turns,
};
use uuid::Uuid;

use super::{
    rows::{Applied, Row},
    want::Want,
};
use crate::driver::DriverError;

/// How long an unplugged port or a stopped server is remembered, and older wants of it are refused. Calls
/// live for seconds, so that a day leaves room for any repair by hand.
pub(super) const TOMBSTONE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many wants are applied at once: each starts a few short processes, and a host that has just
/// started applies all it has.
const APPLIED_AT_ONCE_MAX: u32 = 8;

/// What carries out a want on the host.
#[async_trait]
pub(super) trait Hands<W: Want>: Send + Sync + 'static {
    /// Makes the host as wanted; may be repeated and dropped at any moment.
    async fn apply(&self, want: &W) -> Result<(), DriverError>;
}

/// What an agent can be asked to do for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the host as this generation wants it.
    Apply {
        /// The generation.
        generation: u64,
    },
}

/// What is learnt about a row.
#[derive(Clone, Debug)]
pub enum Learned {
    /// The host is as wanted.
    Done(Applied),
    /// It is not, for this reason.
    Failed {
        /// The generation that was tried.
        generation: u64,
        /// For a person.
        reason: String,
    },
    /// It was, and is no longer.
    Lost {
        /// The generation that had been applied.
        generation: u64,
    },
}

/// The wants of one kind, and what is needed to carry them out.
pub struct Keeping<W: Want> {
    pub(super) env: Env,
    pub(super) store: Store,
    pub(super) tracer: Tracer,
    pub(super) host: String,
    pub(super) life: Uuid,
    /// One at a time on each network, and on each security group: whoever adds to a bridge and whoever removes it must
    /// not meet.
    pub(super) turns: Turns<Uuid>,
    pub(super) slots: Slots,
    pub(super) hands: Arc<dyn Hands<W>>,
}

/// Bounds how many wants are applied at once; closed for good when the agent stops.
#[derive(Clone)]
pub(super) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(APPLIED_AT_ONCE_MAX as usize)))
    }
}

impl Slots {
    /// Waits for what is being applied, and lets no further want be applied.
    pub(super) async fn close(&self) {
        // Closed already is as good.
        let _all = self.0.acquire_many(APPLIED_AT_ONCE_MAX).await;
        self.0.close();
    }
}

impl<W: Want> Kind for Keeping<W> {
    type Row = Row<W>;
    type Facts = Uuid;
    type Effect = Effect;
    type Learned = Learned;

    fn facts(&self, _txn: &Txn, _row: &Row<W>) -> Result<Uuid, StoreError> {
        Ok(self.life)
    }

    fn plan(row: &Row<W>, life: &Uuid, now: UnixMicros) -> Plan<Self> {
        if !row.is_applied(*life) {
            return Plan::act(vec![Effect::Apply { generation: row.want.generation() }]);
        }
        if !row.want.present() && now.since(row.since) >= TOMBSTONE_KEPT {
            return Plan::delete();
        }
        Plan::settled()
    }

    fn learn(row: &mut Row<W>, learned: Learned, _now: UnixMicros) -> bool {
        let wanted = row.want.generation();
        match learned {
            Learned::Done(applied) if applied.generation == wanted => {
                row.applied = Some(applied);
                row.attempts += 1;
                row.fault = None;
                true
            }
            Learned::Failed { generation, reason } if generation == wanted => {
                row.attempts += 1;
                row.fault = Some(reason);
                true
            }
            Learned::Lost { generation } if generation == wanted => row.applied.take().is_some(),
            Learned::Done(_) | Learned::Failed { .. } | Learned::Lost { .. } => false,
        }
    }

    fn perform(&self, row: Row<W>, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let Effect::Apply { generation } = effect;
        let keeping = self.share();
        Box::pin(async move { keeping.apply(row, generation).await })
    }
}

impl<W: Want> Keeping<W> {
    fn share(&self) -> Self {
        Self {
            env: self.env.clone(),
            store: self.store.clone(),
            tracer: self.tracer.clone(),
            host: self.host.clone(),
            life: self.life,
            turns: self.turns.clone(),
            slots: self.slots.clone(),
            hands: self.hands.clone(),
        }
    }

    async fn apply(&self, row: Row<W>, generation: u64) -> Option<Learned> {
        let (id, turn) = (row.want.id(), row.want.turn());
        let _turn = self.turns.take(turn).await;
        // The agent has stopped when there is none.
        let _slot = self.slots.0.acquire().await.ok()?;
        let row = self.still_wanted(id, generation).await?;
        self.trace(&row);
        match self.hands.apply(&row.want).await {
            Ok(()) => Some(Learned::Done(Applied { generation, life: self.life })),
            Err(error) => {
                let reason = error.chain();
                tracing::warn!(what = W::WHAT, %id, generation, reason, "not applied");
                Some(Learned::Failed { generation, reason })
            }
        }
    }

    /// The row, unless a newer want has come while this one waited for its turn.
    async fn still_wanted(&self, id: Uuid, generation: u64) -> Option<Row<W>> {
        let read = self.store.read(|txn| txn.get::<Row<W>>(&id.to_string())).await;
        match read {
            Ok(row) => row.filter(|row| row.want.generation() == generation),
            Err(error) => {
                tracing::warn!(what = W::WHAT, %id, %error, "its want cannot be read");
                None
            }
        }
    }

    fn trace(&self, row: &Row<W>) {
        let (topic, _) = W::STEP.split_once('/').unwrap_or((W::STEP, ""));
        self.tracer.record(Step {
            trace_id: row.trace.trace_id,
            at: self.env.wall(),
            kind: StepKind::Driver,
            name: W::STEP.to_owned(),
            from: topic.to_owned(),
            from_node: self.host.clone(),
            to: "host".to_owned(),
            to_node: self.host.clone(),
        });
    }
}

#[cfg(test)]
mod tests;
