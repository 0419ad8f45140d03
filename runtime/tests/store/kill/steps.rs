//! What the writers do: jobs with names that only one may have, which many of them change.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_runtime::{
    Env,
    notify::Notice,
    store::{IndexEntry, Record, Store, StoreError},
};

/// The log with every step that was taken.
pub(super) const STEPS: &str = "kill/steps";

/// What a writer waits after a refusal, as there are many while nothing can be written.
const PAUSE: Duration = Duration::from_millis(5);

/// Few enough that writers meet, and many enough that most do not.
const JOBS: u32 = 60;
const NAMES: u32 = 90;

/// One transaction: a job gets a name, or is deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) writer: String,
    pub(super) number: u64,
    pub(super) job: String,
    pub(super) name: Option<String>,
}

/// What a writer knows of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// It is going to be tried, or its outcome is unknown.
    Asked,
    Done,
    /// It has certainly not been taken.
    Refused,
}

/// A row that tells the step that made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) step: Step,
}

impl Record for Job {
    const TABLE: &'static str = "kill/job";

    fn key(&self) -> String {
        self.step.job.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let name = self.step.name.as_deref().unwrap_or_default();
        vec![IndexEntry::unique("name", name), IndexEntry::many("writer", &self.step.writer)]
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        let event = if new.is_some() { "named" } else { "deleted" };
        let told = |job: &Self| Notice {
            event: event.to_owned(),
            object: job.key(),
            project: None,
            publisher: "kill".to_owned(),
            payload: json!(job.step),
        };
        new.or(old).map(told).into_iter().collect()
    }
}

async fn take(store: &Store, step: &Step) -> Result<(), StoreError> {
    let text = serde_json::to_vec(step).unwrap();
    let taken = store.transact(|txn| {
        match &step.name {
            Some(_) => txn.put(&Job { step: step.clone() })?,
            None => drop(txn.delete::<Job>(&step.job)?),
        }
        txn.append(STEPS, text.clone().into())
    });
    taken.await
}

/// Takes steps until `tell` has enough of it. Everything is told before it is tried, and its outcome afterwards.
pub(super) async fn write(
    store: Store,
    writer: String,
    seed: u64,
    tell: impl Fn(Said, &Step) -> bool,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for number in 1.. {
        let job = format!("j{}", rng.random_range(0..JOBS));
        let name = rng.random_bool(0.8).then(|| format!("n{}", rng.random_range(0..NAMES)));
        let step = Step { writer: writer.clone(), number, job, name };
        tell(Said::Asked, &step);
        let said = match take(&store, &step).await {
            Ok(()) => Said::Done,
            Err(StoreError::Unknown) => Said::Asked,
            Err(
                StoreError::Unavailable(_) | StoreError::Duplicate { .. } | StoreError::Conflict,
            ) => Said::Refused,
            Err(other) => panic!("{other}"),
        };
        if !tell(said, &step) {
            return;
        }
        if said != Said::Done {
            Env::real().sleep(PAUSE).await;
        }
    }
}
