//! The loop: read, plan, commit, act, and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tracing::Instrument;

use super::{Change, Kind, Plan, pacing::Pacing};
use crate::{
    Env,
    store::{Record, Store, StoreError, Txn, key_in},
};

/// How often a row may be rewritten in one go before its plan is taken for one that never settles.
const WRITES_MAX: usize = 16;

/// Every row is planned at least this often: the bound on what a lost wake-up costs.
const RESCAN: Duration = Duration::from_secs(10);

/// The pause after the store gave no clear answer.
const STORE_PAUSE: Duration = Duration::from_millis(50);

/// How many rows a rescan reads at once.
const PAGE: usize = 256;

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
    timers: Mutex<Timers>,
    timer_changed: Notify,
    rescan: Notify,
    rng: Mutex<ChaCha8Rng>,
}

/// When rows are to be planned again: the earliest time of each, since planning asks for the next.
#[derive(Default)]
struct Timers {
    by_time: BTreeSet<(Duration, String)>,
    by_key: BTreeMap<String, Duration>,
}

impl Timers {
    fn set(&mut self, key: &str, at: Duration) {
        match self.by_key.get(key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                self.by_time.remove(&(*later, key.to_owned()));
            }
            None => {}
        }
        self.by_key.insert(key.to_owned(), at);
        self.by_time.insert((at, key.to_owned()));
    }

    fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the rows whose time has come.
    fn due(&mut self, now: Duration) -> Vec<String> {
        let later = self.by_time.split_off(&(now + Duration::from_nanos(1), String::new()));
        let due = std::mem::replace(&mut self.by_time, later);
        let keys: Vec<String> = due.into_iter().map(|(_, key)| key).collect();
        for key in &keys {
            self.by_key.remove(key);
        }
        keys
    }
}

struct Hot<K: Kind> {
    planning: bool,
    again: bool,
    pacing: Pacing<K::Effect>,
}

impl<K: Kind> Default for Hot<K> {
    fn default() -> Self {
        Self { planning: false, again: false, pacing: Pacing::default() }
    }
}

/// A row after planning, and what is to be done for it.
struct Planned<K: Kind> {
    row: K::Row,
    effects: Vec<K::Effect>,
    wake_at: Option<crate::env::UnixMicros>,
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
            timers: Mutex::default(),
            timer_changed: Notify::new(),
            rescan: Notify::new(),
            rng: Mutex::new(env.rng("rows")),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Plans every row now, then whenever it changes, is due, or a rescan comes round.
    pub fn start(&self) {
        let env = &self.shared.env;
        env.spawn("rows.watch", self.clone().follow_changes());
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
        let planned = self
            .shared
            .store
            .transact(|txn| {
                let Some(mut row) = txn.get::<K::Row>(key)? else { return Ok(None) };
                let old = row.clone();
                if !K::learn(&mut row, learned.clone(), self.shared.env.wall()) {
                    return Ok(Some(old));
                }
                self.replace(txn, &old, &row)?;
                Ok(Some(self.settle(txn, row)?.map_or(old, |planned| planned.row)))
            })
            .await?;
        self.wake(key);
        Ok(planned)
    }

    fn replace(&self, txn: &mut Txn, old: &K::Row, new: &K::Row) -> Result<(), StoreError> {
        self.shared.kind.accompany(txn, old, Some(new))?;
        txn.put(new)
    }

    /// Plans and rewrites until the plan keeps the row; `None` if it was deleted.
    fn settle(&self, txn: &mut Txn, mut row: K::Row) -> Result<Option<Planned<K>>, StoreError> {
        for _ in 0..WRITES_MAX {
            let facts = self.shared.kind.facts(txn, &row)?;
            let Plan { change, effects, wake_at } = K::plan(&row, &facts, self.shared.env.wall());
            match change {
                Change::Keep => return Ok(Some(Planned { row, effects, wake_at })),
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
        tracing::error!(table = K::Row::TABLE, key = row.key(), "its plan never settles");
        Ok(Some(Planned { row, effects: Vec::new(), wake_at: None }))
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
        let engine = self.clone();
        self.shared.env.spawn("rows.plan", async move { engine.plan(key).await });
    }

    async fn plan(&self, key: String) {
        loop {
            let planned = self
                .shared
                .store
                .transact(|txn| match txn.get::<K::Row>(&key)? {
                    Some(row) => self.settle(txn, row),
                    None => Ok(None),
                })
                .await;
            match planned {
                Ok(planned) => self.act(&key, planned),
                // The node ends, and all of this with it.
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(table = K::Row::TABLE, key, %error, "not planned");
                    // A damaged row does not mend itself: the rescan looks at it soon enough.
                    if !matches!(error, StoreError::Corrupt { .. }) {
                        self.schedule(&key, self.shared.env.now() + STORE_PAUSE);
                    }
                }
            }
            let mut hot = self.shared.hot.lock();
            let Some(entry) = hot.get_mut(&key) else { return };
            if !std::mem::take(&mut entry.again) {
                entry.planning = false;
                if entry.pacing.is_idle() {
                    hot.remove(&key);
                }
                return;
            }
        }
    }

    fn act(&self, key: &str, planned: Option<Planned<K>>) {
        let now = self.shared.env.now();
        let Some(Planned { row, effects, wake_at }) = planned else {
            if let Some(entry) = self.shared.hot.lock().get_mut(key) {
                entry.pacing.want(Vec::new(), now);
            }
            return;
        };
        if let Some(at) = wake_at {
            self.schedule(key, now + at.since(self.shared.env.wall()));
        }
        let (begin, due) = {
            let mut hot = self.shared.hot.lock();
            let Some(entry) = hot.get_mut(key) else { return };
            (entry.pacing.want(effects, now), entry.pacing.due())
        };
        if let Some(due) = due {
            self.schedule(key, due);
        }
        for effect in begin {
            let (engine, key, row) = (self.clone(), key.to_owned(), row.clone());
            self.shared.env.spawn("rows.effect", async move {
                engine.carry_out(key, row, effect).await;
            });
        }
    }

    async fn carry_out(&self, key: String, row: K::Row, effect: K::Effect) {
        let span = K::trace(&row).span();
        let learned = self.shared.kind.perform(row, effect.clone()).instrument(span).await;
        if let Some(learned) = learned {
            match self.learn(&key, learned).await {
                Ok(_) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(table = K::Row::TABLE, key, %error, "what was learnt is lost");
                }
            }
        }
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
        self.shared.timers.lock().set(key, at);
        self.shared.timer_changed.notify_one();
    }

    async fn follow_changes(self) {
        let mut watch = self.shared.store.watch(&format!("{}/", K::Row::TABLE));
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.wake_all();
            }
            for key in changes.keys {
                if let Some(key) = key_in::<K::Row>(&key) {
                    self.wake(&key);
                }
            }
        }
    }

    async fn follow_timers(self) {
        loop {
            let now = self.shared.env.now();
            let due = self.shared.timers.lock().due(now);
            for key in due {
                self.wake(&key);
            }
            let next = self.shared.timers.lock().next();
            let changed = self.shared.timer_changed.notified();
            match next {
                Some(at) => {
                    let wait = at.saturating_sub(self.shared.env.now());
                    self.shared.env.timeout(wait, changed).await;
                }
                None => changed.await,
            }
        }
    }

    async fn follow_rescans(self) {
        loop {
            self.rescan().await;
            let asked = self.shared.rescan.notified();
            self.shared.env.timeout(RESCAN, asked).await;
        }
    }

    async fn rescan(&self) {
        let mut after: Option<String> = None;
        loop {
            let page = self
                .shared
                .store
                // Keys alone, so that one damaged row keeps no other from being planned.
                .read(|txn| txn.scan_keys::<K::Row>(after.as_deref(), PAGE))
                .await;
            match page {
                Ok(keys) => {
                    for key in &keys {
                        self.wake(key);
                    }
                    if keys.len() < PAGE {
                        return;
                    }
                    after = keys.into_iter().last();
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(table = K::Row::TABLE, %error, "not rescanned");
                    return self.schedule_rescan();
                }
            }
        }
    }

    fn schedule_rescan(&self) {
        let engine = self.clone();
        self.shared.env.spawn("rows.rescan", async move {
            engine.shared.env.sleep(STORE_PAUSE).await;
            engine.wake_all();
        });
    }
}
