//! Rows converge; scripts do not run.
//!
//! A long operation is a row with a goal, a placement and observations. [`Kind::plan`] is a pure function
//! that says, from the row and a few facts, what the row should become and what should be done now.
//! The [`Engine`] reads, plans, commits and only then acts; it plans again whenever the row changes, when
//! the plan asked to be woken, and on a timer. So success, retry, restart, takeover, delete and rollback
//! are one loop, and a lost wake-up or message costs latency only.
//!
//! Owns pacing: an effect under way is not begun twice, and one that brought nothing is repeated with
//! growing pauses for as long as the plan asks for it. Bounds how much is planned and carried out at once, and
//! writes nothing for a row whose plan never settles. Never decides anything itself.

mod engine;
mod pacing;
mod room;
mod timers;

pub use engine::{Engine, Owns};
pub use room::EFFECTS_MAX;

use crate::{
    env::{BoxFuture, UnixMicros},
    rpc::TraceContext,
    store::{Record, StoreError, Txn},
};

/// One kind of row and how it converges.
pub trait Kind: Sized + Send + Sync + 'static {
    /// What is stored.
    type Row: Record + PartialEq;
    /// What the plan may know besides the row, read in the same transaction.
    type Facts: Send;
    /// What the plan may ask for.
    type Effect: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    /// What an effect, or a message from elsewhere, brings back.
    type Learned: Clone + Send + Sync + 'static;

    /// Reads the facts.
    fn facts(&self, txn: &Txn, row: &Self::Row) -> Result<Self::Facts, StoreError>;

    /// What now? Pure and total: no clock, no randomness, no input but these.
    fn plan(row: &Self::Row, facts: &Self::Facts, now: UnixMicros) -> Plan<Self>;

    /// Folds in what was learnt; says whether the row changed. What belongs to another generation changes nothing.
    fn learn(row: &mut Self::Row, learned: Self::Learned, now: UnixMicros) -> bool;

    /// Writes what must change together with the row: a claim, a quota, an event. `new` is `None` when the
    /// row is deleted.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &Self::Row,
        new: Option<&Self::Row>,
    ) -> Result<(), StoreError> {
        let _ = (txn, old, new);
        Ok(())
    }

    /// The request that a row is driven for, for the log.
    fn trace(row: &Self::Row) -> TraceContext {
        let _ = row;
        TraceContext::default()
    }

    /// Does what the plan asked for. It may be dropped and repeated at any moment, so it is idempotent or
    /// fenced. `None` says that nothing is known yet; the plan will ask again.
    fn perform(
        &self,
        row: Self::Row,
        effect: Self::Effect,
    ) -> BoxFuture<'static, Option<Self::Learned>>;
}

/// What should become of a row.
pub enum Change<R> {
    /// Nothing.
    Keep,
    /// It becomes this.
    Write(R),
    /// It is gone: its goal was to be absent, and everything that it held is released.
    Delete,
}

/// What a plan says.
pub struct Plan<K: Kind> {
    /// What the row becomes; planned again before anything is done.
    pub change: Change<K::Row>,
    /// What is to be done, in this order, if the row stays as it is.
    pub effects: Vec<K::Effect>,
    /// When to plan again at the latest, though nothing should happen.
    pub wake_at: Option<UnixMicros>,
}

impl<K: Kind> Plan<K> {
    /// Nothing to do until something changes.
    #[must_use]
    pub fn settled() -> Self {
        Self { change: Change::Keep, effects: Vec::new(), wake_at: None }
    }

    /// The row becomes this.
    #[must_use]
    pub fn write(row: K::Row) -> Self {
        Self { change: Change::Write(row), ..Self::settled() }
    }

    /// The row is gone.
    #[must_use]
    pub fn delete() -> Self {
        Self { change: Change::Delete, ..Self::settled() }
    }

    /// This is to be done.
    #[must_use]
    pub fn act(effects: Vec<K::Effect>) -> Self {
        Self { effects, ..Self::settled() }
    }

    /// The same, planned again at this time at the latest.
    #[must_use]
    pub fn wake_at(mut self, at: UnixMicros) -> Self {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        self
    }
}
