//! What was said of every step, and whether it is what is found.
//!
//! The log has the steps that were taken, in order. All that was acknowledged must be in it, nothing that was
//! refused and nothing that nobody asked for, and nothing twice. Taken one after the other, they must give the rows
//! that are found, to the letter: their index entries, no name twice, and the notices of the outbox.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use updraft_runtime::{
    notify::{self, Published},
    store::Store,
};

use super::steps::{Job, STEPS, Said, Step};

/// Everything that was ever said, by step.
#[derive(Default)]
pub(super) struct Told(BTreeMap<Step, Said>);

/// What the steps of the log come to.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<String, Step>,
    /// Event, job and step.
    notices: Vec<(&'static str, String, Step)>,
}

impl Told {
    pub(super) fn hear(&mut self, said: Said, step: Step) {
        self.0.insert(step, said);
    }

    pub(super) fn count(&self, what: Said) -> usize {
        self.0.values().filter(|said| **said == what).count()
    }

    /// That each of these was said, so that the comparison is worth something.
    pub(super) fn assert_said(&self, each: &[Said]) {
        for said in each {
            assert!(self.count(*said) > 0, "no step was {said:?}");
        }
    }

    /// Compares all of it with a store in which nothing is going on.
    pub(super) async fn assert_found(&self, store: &Store) {
        let steps: Vec<Step> = entries(store, STEPS).await;
        self.assert_taken(&steps);
        let model = Model::of(&steps);
        assert_eq!(rows(store).await, model.rows(), "the rows are not what the steps come to");
        let notices: Vec<Published> = entries(store, &notify::outbox("kill")).await;
        let notices = notices.into_iter().map(|notice| {
            let step: Step = serde_json::from_value(notice.payload).unwrap();
            (notice.event, notice.object, step)
        });
        let expected = model.notices.iter();
        let expected =
            expected.map(|(event, job, step)| ((*event).to_owned(), job.clone(), step.clone()));
        assert!(notices.eq(expected), "the outbox does not tell what was done");
    }

    fn assert_taken(&self, steps: &[Step]) {
        let taken: BTreeSet<&Step> = steps.iter().collect();
        assert_eq!(taken.len(), steps.len(), "a step was taken twice");
        for (step, said) in &self.0 {
            match said {
                Said::Done => assert!(taken.contains(step), "acknowledged and lost: {step:?}"),
                Said::Refused => assert!(!taken.contains(step), "refused and there: {step:?}"),
                Said::Asked => {}
            }
        }
        for step in taken {
            assert!(self.0.contains_key(step), "nobody asked for {step:?}");
        }
    }
}

impl Model {
    fn of(steps: &[Step]) -> Self {
        let mut model = Self::default();
        for step in steps {
            model.take(step);
        }
        model
    }

    fn take(&mut self, step: &Step) {
        let job = step.job.clone();
        if step.name.is_some() {
            let taken = self.jobs.values().any(|other| other.name == step.name && other.job != job);
            assert!(!taken, "two jobs have the name of {step:?}");
            self.notices.push(("named", job.clone(), step.clone()));
            self.jobs.insert(job, step.clone());
        } else if let Some(old) = self.jobs.remove(&job) {
            self.notices.push(("deleted", job, old));
        }
    }

    /// Every row and index entry, as it is stored.
    fn rows(&self) -> BTreeMap<String, String> {
        let mut rows = BTreeMap::new();
        for (job, step) in &self.jobs {
            let Step { writer, name, .. } = step;
            let text = serde_json::to_string(&Job { step: step.clone() }).unwrap();
            rows.insert(format!("kill/job/{job}"), text);
            let name = name.as_deref().unwrap();
            for entry in [format!("name/{name}/{job}"), format!("writer/{writer}/{job}")] {
                rows.insert(format!("kill/job~{entry}"), "null".to_owned());
            }
        }
        rows
    }
}

async fn rows(store: &Store) -> BTreeMap<String, String> {
    let found = store.begin().await.unwrap().scan_raw("kill/", None, usize::MAX).unwrap();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    found.iter().map(|(key, entry)| (key.to_string(), text(&entry.value))).collect()
}

async fn entries<T: DeserializeOwned>(store: &Store, log: &str) -> Vec<T> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let entries = store.log_read(log, after, usize::MAX).await.unwrap();
        let Some(last) = entries.last() else { return found };
        after = last.sequence;
        found
            .extend(entries.iter().map(|entry| serde_json::from_slice::<T>(&entry.value).unwrap()));
    }
}
