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
//!
//! Beyond its own row and facts, a plan may count on three things:
//!
//! - **Owners.** A row belongs to those that [`Record::owners`] names, of the same service. The store keeps who owns what
//!   ([`Txn::owned_by`]) and refuses cycles and owners that are not there; [`Owners::of`] says in [`Kind::facts`] which
//!   of them are going or gone; a change of either side wakes the other ([`Kind::KIN`]). Orphans are found at the start.
//!   Nothing is deleted unasked.
//! - **Deadlines.** A row is planned when its [`Kind::deadline`] passes, or at the next start. Nothing is ended unasked.
//! - **Alarms.** A row that has not settled within [`Kind::SETTLES_WITHIN`] is reported, with what its plan says that it
//!   waits for, until it settles: in the log, in the store, to subscribers, and on a [`Board`]. An alarm changes no row.
//!
//! The book's page "Your own rows" tells it all with an example; this is the least:
//!
//! ```
//! # use std::sync::Arc;
//! # use updraft_runtime::{Env, env::{BoxFuture, UnixMicros}, rows::{Engine, Kind, Plan}};
//! # use updraft_runtime::store::{Record, Store, StoreError, Txn};
//! #[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Letter { to: String, sent: bool }
//!
//! impl Record for Letter {
//!     const TABLE: &'static str = "post/letter";
//!     fn key(&self) -> String { self.to.clone() }
//! }
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Send;
//!
//! struct Letters;
//!
//! impl Kind for Letters {
//!     type Row = Letter;
//!     type Facts = ();
//!     type Effect = Send;
//!     type Learned = Send;
//!
//!     fn facts(&self, _: &Txn, _: &Letter) -> Result<(), StoreError> { Ok(()) }
//!
//!     fn plan(letter: &Letter, (): &(), _: UnixMicros) -> Plan<Self> {
//!         if letter.sent { Plan::settled() } else { Plan::act(vec![Send]) }
//!     }
//!
//!     fn learn(letter: &mut Letter, Send: Send, _: UnixMicros) -> bool {
//!         !std::mem::replace(&mut letter.sent, true)
//!     }
//!
//!     fn perform(&self, _: Letter, send: Send) -> BoxFuture<'static, Option<Send>> {
//!         Box::pin(async move { Some(send) })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (env, store) = (Env::real(), Store::memory(Env::real()));
//! Engine::new(&env, store.clone(), Letters, Arc::new(|_| true)).start();
//! let letter = Letter { to: "Ada".into(), sent: false };
//! store.transact(|txn| txn.insert(&letter)).await?;
//! while !store.read(|txn| txn.get::<Letter>("Ada")).await?.is_some_and(|letter| letter.sent) {
//!     tokio::task::yield_now().await;
//! }
//! # Ok::<(), StoreError>(())
//! # }).unwrap();
//! ```

mod alarms;
mod asked;
mod engine;
mod owners;
mod pacing;
mod room;
mod timers;

#[cfg(doctest)]
#[doc = include_str!("../../book/src/rows.md")]
struct Book;

pub use alarms::{ALARMS_MAX, ALARMS_SHOWN, Alarm, Board, Report, SETTLED, UNSETTLED};
pub use asked::{ASK_EVERY, Asked, REMEMBERED};
pub use engine::{Engine, Owns};
pub use owners::{Kin, Owner, Owners, Standing};
pub use room::EFFECTS_MAX;

use std::{borrow::Cow, time::Duration};

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
    /// What the plan may ask for. Operators may come to read it as its `Debug` has it.
    type Effect: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    /// What an effect, or a message from elsewhere, brings back.
    type Learned: Clone + Send + Sync + 'static;

    /// How long such a row may take to settle, whatever it is about; one that takes longer raises an alarm, as long as
    /// it has not. Without it none does. The time begins anew with each start of the node, until an alarm is raised.
    const SETTLES_WITHIN: Option<Duration> = None;

    /// The kinds of rows that these may belong to ([`Kin::owner`]), and those that may belong to these
    /// ([`Kin::owned`]): a change of either wakes the rows of this kind that it concerns.
    const KIN: &'static [Kin] = &[];

    /// Reads the facts. [`Owners::of`] and [`Txn::owned_by`] are among what it may ask.
    fn facts(&self, txn: &Txn, row: &Self::Row) -> Result<Self::Facts, StoreError>;

    /// What now? Pure and total: no clock, no randomness, no input but these.
    fn plan(row: &Self::Row, facts: &Self::Facts, now: UnixMicros) -> Plan<Self>;

    /// When what is wanted of the row is to be so at the latest. The row is planned at that time, whatever the plan
    /// asked for and whether the node ran all the while; what comes of it is the plan's to say, from `now`.
    fn deadline(row: &Self::Row) -> Option<UnixMicros> {
        let _ = row;
        None
    }

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
    /// What must happen for the row to settle, in words for the operator. A plan that neither waits for something nor
    /// asks for an effect has settled.
    pub waits_for: Option<Cow<'static, str>>,
    /// When to plan again at the latest, though nothing should happen.
    pub wake_at: Option<UnixMicros>,
}

impl<K: Kind> Plan<K> {
    /// Nothing to do until something changes.
    #[must_use]
    pub fn settled() -> Self {
        Self { change: Change::Keep, effects: Vec::new(), waits_for: None, wake_at: None }
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

    /// Nothing to do until this has happened: the row has not settled.
    #[must_use]
    pub fn wait(for_what: impl Into<Cow<'static, str>>) -> Self {
        Self::settled().waiting_for(for_what)
    }

    /// The same, and this is what the row waits for.
    #[must_use]
    pub fn waiting_for(mut self, what: impl Into<Cow<'static, str>>) -> Self {
        self.waits_for = Some(what.into());
        self
    }

    /// The same, planned again at this time at the latest.
    #[must_use]
    pub fn wake_at(mut self, at: UnixMicros) -> Self {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        self
    }
}
