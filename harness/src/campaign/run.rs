//! What a run notes while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_transport::marks::{Listener, Mark};

use crate::{
    record::{Recorder, What},
    world::Tier,
};

/// What a run met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<String, u64>,
    /// Which situations it was in.
    pub marks: BTreeSet<String>,
    /// How much simulated time passed.
    pub simulated: Duration,
    /// The check that failed.
    pub violation: Option<Violation>,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What should be so.
    pub check: String,
    /// What is so instead.
    pub words: String,
}

/// A run, as its scenario sees it; clones are the same run.
#[derive(Clone, Debug)]
pub struct Run {
    tier: Tier,
    outcome: Arc<Mutex<Outcome>>,
}

impl Run {
    /// One that nothing has happened in.
    #[must_use]
    pub fn new(tier: Tier) -> Self {
        Self { tier, outcome: Arc::default() }
    }

    /// Where its nodes are to run.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// This happened.
    pub fn count(&self, what: &str) {
        *self.outcome.lock().counts.entry(what.to_owned()).or_default() += 1;
    }

    /// A fault of this kind struck so often.
    pub fn struck(&self, kind: &str, times: u64) {
        *self.outcome.lock().struck.entry(kind.to_owned()).or_default() += times;
    }

    /// The run was in this situation.
    pub fn reached(&self, mark: &str) {
        let mut outcome = self.outcome.lock();
        if !outcome.marks.contains(mark) {
            outcome.marks.insert(mark.to_owned());
        }
    }

    /// Ends the run because a check failed.
    ///
    /// # Panics
    /// Always: that is how a run fails.
    pub fn violated(&self, check: &str, words: &str) -> ! {
        let (check, words) = (check.to_owned(), words.to_owned());
        let told = What::Violated { check: check.clone(), words: words.clone() };
        Recorder::of_this_thread().tell(told);
        let said = format!("{check}: {words}");
        self.outcome.lock().violation = Some(Violation { check, words });
        panic!("{said}");
    }

    /// Hears of every mark that this thread comes by.
    pub(super) fn listen(&self) {
        updraft_transport::marks::listen(Rc::new(self.clone()));
    }

    /// What it met.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome.lock().clone()
    }
}

/// The marks of the code that it runs are its own.
impl Listener for Run {
    fn reached(&self, mark: &'static Mark) {
        Self::reached(self, mark.words);
    }

    fn broken(&self, mark: &'static Mark, found: String) {
        self.violated(mark.words, &found);
    }
}
