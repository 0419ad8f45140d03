//! How a want converges: the network service says that it is wanted, and it is applied until the host is as wanted,
//! again in each life of the agent and whenever the host was found to be otherwise. What the network service does not
//! know is taken back. What is not to be there is remembered for a while.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use updraft_protocol::network::Server;
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Asked, Kind, Plan, REMEMBERED},
    rpc::{Cx, Rpc, TraceContext},
    sometimes,
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
    /// Ask the network service what is wanted.
    Ask {
        /// The generation that is known.
        generation: u64,
    },
    /// Make the host as this generation wants it.
    Apply {
        /// The generation.
        generation: u64,
    },
}

/// What is learnt about a row.
#[derive(Clone, Debug)]
pub enum Learned<W> {
    /// The network service wants this.
    Wanted(Box<W>),
    /// The network service knows of nothing that is wanted here.
    Unwanted {
        /// The generation that was asked about.
        generation: u64,
    },
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
    pub(super) rpc: Rpc,
    pub(super) store: Store,
    pub(super) tracer: Tracer,
    pub(super) host: String,
    pub(super) life: Uuid,
    /// One at a time on each network, security group and router: whoever adds to a bridge and whoever removes it must
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
    type Learned = Learned<W>;

    fn facts(&self, _txn: &Txn, _row: &Row<W>) -> Result<Uuid, StoreError> {
        Ok(self.life)
    }

    fn plan(row: &Row<W>, life: &Uuid, now: UnixMicros) -> Plan<Self> {
        let generation = row.want.generation();
        let is_over = row.unwanted && (row.is_applied(*life) || !row.asked.is_begun());
        let gone = !row.want.present() && row.is_applied(*life);
        if is_over || (gone && now.since(row.since) >= REMEMBERED) {
            return Plan::delete();
        }
        let due = row.asked.is_due(now) && !row.unwanted;
        let applies = row.asked.is_begun() && !row.is_applied(*life);
        let ask = due.then_some(Effect::Ask { generation });
        let apply = applies.then_some(Effect::Apply { generation });
        let plan = Plan::act(ask.into_iter().chain(apply).collect());
        let plan = if gone { plan.wake_at(row.since.plus(REMEMBERED)) } else { plan };
        // What nobody wants is not asked about again: it waits only to be taken back, which has a pace of its own.
        if due || row.unwanted { plan } else { plan.wake_at(row.asked.next(now)) }
    }

    fn learn(row: &mut Row<W>, learned: Learned<W>, now: UnixMicros) -> bool {
        let wanted = row.want.generation();
        match learned {
            Learned::Wanted(want) if want.generation() > wanted => {
                *row = Row { asked: Asked::At(now), ..row.renewed(*want, row.trace, now) };
                true
            }
            Learned::Wanted(want) if want.generation() == wanted && !row.unwanted => {
                row.asked = Asked::At(now);
                true
            }
            Learned::Unwanted { generation } if generation == wanted => unwant(row),
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
            // Of another generation.
            _ => false,
        }
    }

    fn perform(&self, row: Row<W>, effect: Effect) -> BoxFuture<'static, Option<Learned<W>>> {
        let keeping = self.share();
        Box::pin(async move {
            match effect {
                Effect::Ask { generation } => keeping.ask(&row.want, generation).await,
                Effect::Apply { generation } => keeping.apply(row, generation).await,
            }
        })
    }
}

/// Nothing is wanted: what may have been made is to go.
fn unwant<W: Want>(row: &mut Row<W>) -> bool {
    sometimes!(!row.asked.is_begun(), "an agent is told of what is not wanted any more");
    row.unwanted = true;
    if row.asked.is_begun() && row.want.present() {
        row.want = row.want.absent();
        row.applied = None;
    }
    true
}

impl<W: Want> Keeping<W> {
    fn share(&self) -> Self {
        Self {
            env: self.env.clone(),
            rpc: self.rpc.clone(),
            store: self.store.clone(),
            tracer: self.tracer.clone(),
            host: self.host.clone(),
            life: self.life,
            turns: self.turns.clone(),
            slots: self.slots.clone(),
            hands: self.hands.clone(),
        }
    }

    async fn ask(&self, want: &W, generation: u64) -> Option<Learned<W>> {
        let (topic, _) = W::STEP.split_once('/').unwrap_or((W::STEP, ""));
        let cx = Cx::new(topic, TraceContext::default());
        match self.rpc.client::<Server>().call(&want.question(), &cx).await {
            Ok(Some(want)) => Some(Learned::Wanted(Box::new(want))),
            Ok(None) => {
                tracing::info!(what = W::WHAT, id = %want.id(), generation, "nobody wants it here");
                Some(Learned::Unwanted { generation })
            }
            Err(error) => {
                tracing::debug!(what = W::WHAT, id = %want.id(), %error, "asked again later");
                None
            }
        }
    }

    async fn apply(&self, row: Row<W>, generation: u64) -> Option<Learned<W>> {
        let id = row.want.id();
        let mut turns = Vec::new();
        for turn in row.want.turns() {
            turns.push(self.turns.take(turn).await);
        }
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
