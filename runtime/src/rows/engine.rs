//! The loop: read, plan, commit, act, and again.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{
    Alarm, Board, Change, Kind, Plan,
    alarms::Unsettled,
    pacing::{PAUSE_MAX, Pacing},
    room::{Effects, Planner, Plans},
    timers::Timers,
};
use crate::{
    Env,
    env::UnixMicros,
    planted::{Bug, is_planted},
    store::{Record, Store, StoreError, Txn},
};

mod alarm;
mod follow;
mod kin;

/// How often a row may be rewritten in one go before its plan is taken for one that never settles.
const WRITES_MAX: usize = 16;

/// The pause after the store gave no clear answer.
const STORE_PAUSE: Duration = Duration::from_millis(50);

/// Drives the rows of one kind; cheap to clone.
pub struct Engine<K: Kind> {
    shared: Arc<Shared<K>>,
}

impl<K: Kind> Clone for Engine<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// Says whether this node acts for a row; several may, at the cost of doubled messages.
pub type Owns = Arc<dyn Fn(&str) -> bool + Send + Sync>;

struct Shared<K: Kind> {
    env: Env,
    store: Store,
    kind: K,
    owns: Owns,
    hot: Mutex<BTreeMap<String, Hot<K>>>,
    plans: Arc<Plans>,
    effects: Effects,
    timers: Mutex<Timers>,
    timer_changed: Notify,
    unsettled: Unsettled,
    rescan: Notify,
    rng: Mutex<ChaCha8Rng>,
}

struct Hot<K: Kind> {
    planning: bool,
    again: bool,
    /// Its plan never settles, and the log says so.
    unsettled: bool,
    pacing: Pacing<K::Effect>,
}

impl<K: Kind> Default for Hot<K> {
    fn default() -> Self {
        Self { planning: false, again: false, unsettled: false, pacing: Pacing::default() }
    }
}

/// A row as it was, and as it is with what was learnt if that changes it.
type Folded<R> = (R, Option<R>);

/// A row after planning, and what is to be done for it.
struct Planned<K: Kind> {
    row: K::Row,
    effects: Vec<K::Effect>,
    waits_for: Option<Cow<'static, str>>,
    /// The next time that it asked for, and its deadline if that is still to come.
    wake_at: Option<UnixMicros>,
}

impl<K: Kind> Planned<K> {
    /// A row as its plan left it at this time.
    fn new(row: K::Row, plan: Plan<K>, now: UnixMicros) -> Self {
        let Plan { effects, waits_for, wake_at, .. } = plan;
        let deadline = K::deadline(&row).filter(|deadline| *deadline > now);
        let wake_at = [wake_at, deadline].into_iter().flatten().min();
        Self { row, effects, waits_for, wake_at }
    }

    fn is_waiting(&self) -> bool {
        self.waits_for.is_some() || !self.effects.is_empty()
    }

    /// What it waits for: as the plan says, or what the plan asks for.
    fn words(&self) -> String {
        self.waits_for.as_ref().map_or_else(|| format!("{:?}", self.effects), ToString::to_string)
    }
}

/// What came of planning a row; `None` if there is none, or no longer.
type Outcome<K> = Result<Option<Planned<K>>, Halt>;

/// Why a row was not planned. Nothing was written.
enum Halt {
    Store(StoreError),
    /// The plan rewrites the row again and again.
    Unsettled,
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<K: Kind> Engine<K> {
    /// An engine that does not run yet, so that handlers may hold it before it does.
    pub fn new(env: &Env, store: Store, kind: K, owns: Owns) -> Self {
        let shared = Shared {
            env: env.clone(),
            store,
            kind,
            owns,
            hot: Mutex::default(),
            plans: Arc::default(),
            effects: Effects::default(),
            timers: Mutex::default(),
            timer_changed: Notify::new(),
            unsettled: Unsettled::new::<K::Row>(K::SETTLES_WITHIN),
            rescan: Notify::new(),
            rng: Mutex::new(env.rng("rows")),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same, showing its alarms on this board; to be said before it starts.
    #[must_use]
    pub fn shown_on(self, board: &Board) -> Self {
        self.shared.unsettled.show_on(board);
        self
    }

    /// The alarms of the rows that this node acts for, in the order of their keys.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.shared.unsettled.board().of::<K::Row>()
    }

    /// Plans every row now, then whenever it changes, is due, or a rescan comes round.
    pub fn start(&self) {
        let env = &self.shared.env;
        env.spawn("rows.watch", self.clone().follow_changes());
        self.follow_kin();
        env.spawn("rows.timer", self.clone().follow_timers());
        env.spawn("rows.rescan", self.clone().follow_rescans());
    }

    /// Plans this row soon, if this node acts for it. A hint: it may be lost.
    pub fn wake(&self, key: &str) {
        if (self.shared.owns)(key) {
            self.begin(key.to_owned());
        }
    }

    /// Plans every row soon, as after a change of who acts for what.
    pub fn wake_all(&self) {
        self.shared.rescan.notify_one();
    }

    /// Folds in what was learnt and returns the row as it then is, `None` if there is none.
    pub async fn learn(
        &self,
        key: &str,
        learned: K::Learned,
    ) -> Result<Option<K::Row>, StoreError> {
        let store = &self.shared.store;
        let planned = store
            .transact(|txn| {
                let Some((old, new)) = self.fold(txn, key, &learned)? else { return Ok(None) };
                let Some(new) = new else { return Ok(Some(old)) };
                Ok(Some(self.settle(txn, new)?.map_or(old, |planned| planned.row)))
            })
            .await;
        let row = match planned {
            Ok(row) => row,
            Err(Halt::Store(error)) => return Err(error),
            // What was learnt is kept even so. Why it is not planned is told where it is woken.
            Err(Halt::Unsettled) => {
                let folded = store.transact(|txn| self.fold(txn, key, &learned)).await?;
                folded.map(|(old, new)| new.unwrap_or(old))
            }
        };
        self.wake(key);
        Ok(row)
    }

    /// Folds what was learnt into a row, if there is one.
    fn fold(
        &self,
        txn: &mut Txn,
        key: &str,
        learned: &K::Learned,
    ) -> Result<Option<Folded<K::Row>>, StoreError> {
        let Some(old) = txn.get::<K::Row>(key)? else { return Ok(None) };
        let mut new = old.clone();
        if !K::learn(&mut new, learned.clone(), self.shared.env.wall()) {
            return Ok(Some((old, None)));
        }
        self.replace(txn, &old, &new)?;
        Ok(Some((old, Some(new))))
    }

    fn replace(&self, txn: &mut Txn, old: &K::Row, new: &K::Row) -> Result<(), StoreError> {
        self.shared.kind.accompany(txn, old, Some(new))?;
        txn.put(new)
    }

    /// Plans and rewrites until the plan keeps the row; `None` if it was deleted.
    fn settle(&self, txn: &mut Txn, mut row: K::Row) -> Outcome<K> {
        for _ in 0..WRITES_MAX {
            let facts = self.shared.kind.facts(txn, &row)?;
            let now = self.shared.env.wall();
            let mut plan = K::plan(&row, &facts, now);
            match std::mem::replace(&mut plan.change, Change::Keep) {
                Change::Keep => return Ok(Some(Planned::new(row, plan, now))),
                Change::Write(new) => {
                    self.replace(txn, &row, &new)?;
                    row = new;
                }
                Change::Delete => {
                    self.shared.kind.accompany(txn, &row, None)?;
                    txn.delete::<K::Row>(&row.key())?;
                    return Ok(None);
                }
            }
        }
        Err(Halt::Unsettled)
    }

    fn begin(&self, key: String) {
        {
            let mut hot = self.shared.hot.lock();
            let entry = hot.entry(key.clone()).or_default();
            if entry.planning {
                entry.again = true;
                return;
            }
            entry.planning = true;
        }
        if let Some((planner, key)) = self.shared.plans.enter(key) {
            self.shared.env.spawn("rows.plan", self.clone().plan_all(planner, key));
        }
    }

    /// Plans a row, and then those that wait for room.
    async fn plan_all(self, mut planner: Planner, key: String) {
        let mut next = Some(key);
        while let Some(key) = next {
            self.plan(&key).await;
            // A row that found no room for its effects says again what it wants. One whose effects are no longer wanted
            // gives way to the next, by coming here.
            if let Some(waiting) = self.shared.effects.next() {
                self.begin(waiting);
            }
            next = planner.next();
        }
    }

    async fn plan(&self, key: &str) {
        loop {
            let planned = self
                .shared
                .store
                .transact(|txn| match txn.get::<K::Row>(key)? {
                    Some(row) => self.settle(txn, row),
                    None => Ok(None),
                })
                .await;
            self.watch_over(key, &planned).await;
            match planned {
                Ok(planned) => self.act(key, planned),
                // The node ends, and all of this with it.
                Err(Halt::Store(StoreError::Closed)) => return,
                Err(Halt::Store(error)) => self.not_planned(key, &error),
                Err(Halt::Unsettled) => self.unsettled(key),
            }
            let mut hot = self.shared.hot.lock();
            let Some(entry) = hot.get_mut(key) else { return };
            if !std::mem::take(&mut entry.again) {
                entry.planning = false;
                if entry.pacing.is_idle() && !entry.unsettled {
                    hot.remove(key);
                }
                return;
            }
        }
    }

    fn not_planned(&self, key: &str, error: &StoreError) {
        tracing::warn!(table = K::Row::TABLE, key, %error, "not planned");
        // A damaged row does not mend itself: the rescan looks at it soon enough.
        if !matches!(error, StoreError::Corrupt { .. }) {
            self.schedule(key, self.shared.env.now() + STORE_PAUSE);
        }
    }

    /// Says once of a row that its plan never settles, and looks at it again in a while: its facts may have changed.
    fn unsettled(&self, key: &str) {
        let told = match self.shared.hot.lock().get_mut(key) {
            Some(entry) => std::mem::replace(&mut entry.unsettled, true),
            None => false,
        };
        if !told {
            tracing::error!(table = K::Row::TABLE, key, "its plan never settles; nothing is done");
        }
        self.schedule(key, self.shared.env.now() + PAUSE_MAX);
    }

    fn act(&self, key: &str, planned: Option<Planned<K>>) {
        let now = self.shared.env.now();
        let (row, effects, wake_at) = match planned {
            Some(Planned { row, effects, wake_at, .. }) => (Some(row), effects, wake_at),
            None => (None, Vec::new(), None),
        };
        if let Some(at) = wake_at {
            self.schedule(key, now + at.since(self.shared.env.wall()));
        }
        let (begin, due) = {
            let mut hot = self.shared.hot.lock();
            let Some(entry) = hot.get_mut(key) else { return };
            entry.unsettled = false;
            let begin = entry.pacing.want(effects, now, || self.shared.effects.room());
            if entry.pacing.waits() {
                self.shared.effects.wait(key);
            }
            (begin, entry.pacing.due())
        };
        let Some(row) = row else { return };
        if let Some(due) = due {
            self.schedule(key, due);
        }
        for (effect, room) in begin {
            let carried_out = self.clone().carry_out(key.to_owned(), row.clone(), effect, room);
            self.shared.env.spawn("rows.effect", carried_out);
        }
    }

    async fn carry_out(
        self,
        key: String,
        row: K::Row,
        effect: K::Effect,
        room: OwnedSemaphorePermit,
    ) {
        let trace = K::trace(&row);
        let learned = trace.scope(self.shared.kind.perform(row, effect.clone())).await;
        if let Some(learned) = learned {
            match self.learn(&key, learned).await {
                Ok(_) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(table = K::Row::TABLE, key, %error, "what was learnt is lost");
                }
            }
        }
        drop(room);
        let jitter = self.shared.rng.lock().random_range(0.0..1.0);
        let now = self.shared.env.now();
        let due = {
            let mut hot = self.shared.hot.lock();
            let Some(entry) = hot.get_mut(&key) else { return };
            entry.pacing.ended(&effect, now, jitter);
            entry.pacing.due()
        };
        if let Some(due) = due {
            self.schedule(&key, due);
        }
        self.begin(key);
    }

    fn schedule(&self, key: &str, at: Duration) {
        if is_planted(Bug::RowWithoutTimer) {
            return;
        }
        self.shared.timers.lock().set(key, at);
        self.shared.timer_changed.notify_one();
    }
}
