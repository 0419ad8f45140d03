//! What goes wrong between the nodes of a world and the database that they share.
//!
//! A [`DatabasePlan`] is a value: it can be printed, replayed and shrunk. It says for which node, from when until when,
//! and for which share of what it asks. Each handle has draws of its own, so that what goes wrong for one node does
//! not depend on what others do. What has happened is counted, so that a test can say that it did.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    store::{BeginFate, CommitFate, StoreFaults},
};
use updraft_transport::NodeId;

use super::{EPOCH, node::host_seed};

/// Something that goes wrong between a node and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DatabaseTrouble {
    /// The node cannot reach it: nothing begins, and nothing that has begun is committed.
    Away,
    /// The connection is lost before a commit is sent: it did not happen, and the node knows.
    LostBeforeCommit,
    /// The connection is lost before a commit arrives: it did not happen, and the node does not know.
    UnknownNotApplied,
    /// The connection is lost behind a commit: it happened, and the node does not know.
    UnknownApplied,
    /// Somebody else was faster.
    Conflict,
    /// A commit takes up to so long.
    Slow(Duration),
}

/// A trouble, for whom and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStep {
    /// For this node, or for all: as when the database itself moves to another machine.
    pub node: Option<String>,
    /// From this time since the start of the world on.
    pub from: Duration,
    /// Until then.
    pub until: Duration,
    /// For this share of what is asked, in percent.
    pub percent: u8,
    /// What.
    pub trouble: DatabaseTrouble,
}

/// Everything that goes wrong with the database of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePlan {
    /// Everything that follows from chance follows from it.
    pub seed: u64,
    /// In any order; of those that hold at a time, the first that strikes does.
    pub steps: Vec<DatabaseStep>,
}

/// How often each trouble has struck, by its name and the node.
pub type Struck = BTreeMap<(&'static str, String), usize>;

/// A plan at work; clones share what has happened.
#[derive(Clone, Debug, Default)]
pub struct DatabaseFaults {
    plan: Arc<DatabasePlan>,
    struck: Arc<Mutex<Struck>>,
}

impl DatabaseTrouble {
    /// What it is counted under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::LostBeforeCommit => "lost before commit",
            Self::UnknownNotApplied => "unknown, not applied",
            Self::UnknownApplied => "unknown, applied",
            Self::Conflict => "conflict",
            Self::Slow(_) => "slow",
        }
    }
}

impl DatabaseFaults {
    /// Begins.
    #[must_use]
    pub fn new(plan: DatabasePlan) -> Self {
        Self { plan: Arc::new(plan), struck: Arc::default() }
    }

    /// What a node has to give its handle on the store, with the environment of its present life.
    #[must_use]
    pub fn of(&self, node: &NodeId, env: &Env) -> Arc<dyn StoreFaults> {
        let since_start = Duration::from_micros(env.wall().0.saturating_sub(EPOCH.0));
        let began = since_start.saturating_sub(env.now());
        let seed = host_seed(self.plan.seed, node) ^ u64::try_from(began.as_micros()).unwrap_or(0);
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        let (faults, node) = (self.clone(), node.to_string());
        Arc::new(Client { faults, node, env: env.clone(), began, rng })
    }

    /// How often each trouble has struck whom.
    #[must_use]
    pub fn struck(&self) -> Struck {
        self.struck.lock().clone()
    }
}

struct Client {
    faults: DatabaseFaults,
    node: String,
    env: Env,
    /// When this life of the node began.
    began: Duration,
    rng: Mutex<ChaCha8Rng>,
}

impl Client {
    /// The first trouble of these that strikes now.
    fn strikes(&self, may: impl Fn(DatabaseTrouble) -> bool) -> Option<DatabaseTrouble> {
        let now = self.began + self.env.now();
        let mut rng = self.rng.lock();
        let steps = self.faults.plan.steps.iter();
        let present = steps.filter(|step| {
            let is_for = step.node.as_ref().is_none_or(|node| *node == self.node);
            is_for && step.from <= now && now < step.until && may(step.trouble)
        });
        let mut struck =
            present.filter(|step| rng.random_bool(f64::from(step.percent.min(100)) / 100.0));
        let trouble = struck.next()?.trouble;
        let key = (trouble.name(), self.node.clone());
        *self.faults.struck.lock().entry(key).or_default() += 1;
        Some(trouble)
    }
}

impl StoreFaults for Client {
    fn on_begin(&self) -> BeginFate {
        match self.strikes(|trouble| trouble == DatabaseTrouble::Away) {
            Some(_) => BeginFate::Unavailable,
            None => BeginFate::Proceed,
        }
    }

    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        match self.strikes(|_| true) {
            None => CommitFate::Proceed,
            Some(DatabaseTrouble::Away | DatabaseTrouble::LostBeforeCommit) => {
                CommitFate::Unavailable
            }
            Some(DatabaseTrouble::UnknownNotApplied) => CommitFate::UnknownNotApplied,
            Some(DatabaseTrouble::UnknownApplied) => CommitFate::UnknownApplied,
            Some(DatabaseTrouble::Conflict) => CommitFate::Conflict,
            Some(DatabaseTrouble::Slow(longest)) => {
                CommitFate::Delay(longest.mul_f64(self.rng.lock().random::<f64>()))
            }
        }
    }
}
