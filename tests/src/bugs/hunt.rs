//! The hunt for one bug: seeds in worker processes until one fails, and its case made small.
//!
//! Which seed is found does not depend on how fast processes are: the first in order counts, not the first to be told.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_harness::campaign::{
    process::{Answer, Launch, Worker},
    shrink,
};
use updraft_transport::planted::{Bug, plant};

use super::Scenario;
use crate::same;

/// What the longest run takes on a busy machine, several times over.
const RUN_WITHIN: Duration = Duration::from_secs(300);

/// What a worker runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The bug that is planted, if one is.
    pub bug: Option<String>,
    /// The scenario.
    pub scenario: String,
    /// Its case.
    pub case: Value,
}

/// A seed that failed.
pub struct Failed {
    /// Of this scenario.
    pub scenario: &'static Scenario,
    /// The seed.
    pub seed: u64,
    /// What was said.
    pub why: String,
}

/// A bug that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub bug: String,
    /// The scenario that found it.
    pub scenario: String,
    /// The first seed of the scenario that did.
    pub seed: u64,
    /// The check that did.
    pub check: String,
    /// The case as small as it could be made.
    pub shrunk: Value,
}

impl Found {
    /// How many steps the small case has, of users and of faults.
    #[must_use]
    pub fn steps(&self) -> usize {
        let steps = |of: &Value| of["steps"].as_array().map_or(0, Vec::len);
        steps(&self.shrunk) + steps(&self.shrunk["faults"])
    }
}

/// A bug that was hunted and not found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// Its name.
    pub bug: String,
    /// The scenarios that it was hunted in.
    pub scenarios: Vec<String>,
    /// The seeds of each that were tried, from 0 on.
    pub seeds: u64,
}

/// What is known of the catalogue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// What was found, in the order of the catalogue.
    pub found: Vec<Found>,
    /// What was not.
    pub missed: Vec<Missed>,
}

impl Known {
    /// Puts what came of a hunt in the place of what was known of its bug.
    pub fn learn(&mut self, bug: Bug, hunted: Result<Found, Missed>) {
        self.found.retain(|known| known.bug != bug.name());
        self.missed.retain(|known| known.bug != bug.name());
        match hunted {
            Ok(found) => self.found.push(found),
            Err(missed) => self.missed.push(missed),
        }
        let place = |name: &str| Bug::ALL.iter().position(|bug| bug.name() == name);
        self.found.sort_by_key(|known| place(&known.bug));
        self.missed.sort_by_key(|known| place(&known.bug));
    }
}

/// How a hunt is done.
#[derive(Clone, Debug)]
pub struct Hunter {
    /// How this program is started again as a worker.
    pub launch: Launch,
    /// Workers at a time.
    pub workers: NonZeroUsize,
    /// Seeds of each scenario that are tried.
    pub seeds: u64,
    /// Simpler cases that are tried once one fails.
    pub shrinks: usize,
}

/// Does the job of this text: what a worker does.
///
/// # Errors
/// If a check failed, what it said; if there is no such bug or scenario, that.
pub fn work(job: &str) -> Result<String, String> {
    let job: Job = serde_json::from_str(job).map_err(|error| error.to_string())?;
    let bug = job.bug.as_deref().map(str::parse::<Bug>).transpose();
    let bug = bug.map_err(|error| error.to_string())?;
    let scenario = Scenario::named(&job.scenario);
    let scenario = scenario.ok_or_else(|| format!("there is no scenario {:?}", job.scenario))?;
    let seed = job.case["seed"].as_u64().unwrap_or_default();
    plant(bug);
    let ended = same::apart(seed, || (scenario.run)(&job.case));
    plant(None);
    ended.map(|()| String::new())
}

/// A worker that is started when it is first needed, and anew when it has died.
struct Hand<'a> {
    launch: &'a Launch,
    worker: Option<Worker>,
}

impl Hand<'_> {
    /// Why the case fails, if it does. A process that dies is a failure like any other.
    fn fails(&mut self, job: &Job) -> Option<String> {
        let started = match self.worker.take() {
            Some(worker) => Ok(worker),
            None => Worker::start(self.launch),
        };
        let text = serde_json::to_string(job).map_err(|error| error.to_string());
        let (mut worker, text) = match (started, text) {
            (Ok(worker), Ok(text)) => (worker, text),
            (Err(error), _) => return Some(format!("no worker starts: {error}")),
            (_, Err(error)) => return Some(format!("a case is not written: {error}")),
        };
        match worker.ask(&text, RUN_WITHIN) {
            Answer::Done(_) => {
                self.worker = Some(worker);
                None
            }
            Answer::Failed(why) => {
                self.worker = Some(worker);
                Some(why)
            }
            Answer::Died(why) => Some(why),
        }
    }

    /// Why the case fails with its bug, if it passes without: what fails anyhow finds no bug.
    fn finds(&mut self, job: &Job) -> Option<String> {
        let why = self.fails(job)?;
        let without = Job { bug: None, ..job.clone() };
        let is_found = job.bug.is_none() || self.fails(&without).is_none();
        is_found.then_some(why)
    }
}

impl Hunter {
    /// Runs seeds of these scenarios by turns until one fails or there were so many of each.
    #[must_use]
    pub fn search(&self, bug: Option<Bug>, scenarios: &[&str], from: u64) -> Option<Failed> {
        let scenarios: Vec<_> = scenarios.iter().filter_map(|name| Scenario::named(name)).collect();
        let by_turns = (from..from + self.seeds)
            .flat_map(|seed| scenarios.iter().map(move |scenario| (*scenario, seed)));
        let cases: Vec<(&'static Scenario, u64)> = by_turns.collect();
        let (number, why) = self.first_to_fail(cases.len(), |hand, number| {
            let (scenario, seed) = cases[number];
            hand.finds(&job(bug, scenario, (scenario.draw)(seed)))
        })?;
        let (scenario, seed) = cases[number];
        Some(Failed { scenario, seed, why })
    }

    /// The first of so many jobs, in their order, that fails, and why.
    #[allow(clippy::disallowed_methods, reason = "these threads only wait for processes")]
    fn first_to_fail(
        &self,
        jobs: usize,
        fails: impl Fn(&mut Hand, usize) -> Option<String> + Sync,
    ) -> Option<(usize, String)> {
        let (next, first) = (AtomicUsize::new(0), Mutex::new(None::<(usize, String)>));
        let work = || {
            let mut hand = Hand { launch: &self.launch, worker: None };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let is_later = first.lock().as_ref().is_some_and(|(first, _)| *first < number);
                if number >= jobs || is_later {
                    return;
                }
                let Some(why) = fails(&mut hand, number) else { continue };
                let mut first = first.lock();
                if first.as_ref().is_none_or(|(first, _)| number < *first) {
                    *first = Some((number, why));
                }
            }
        };
        std::thread::scope(|scope| {
            (0..self.workers.get()).for_each(|_| drop(scope.spawn(work)));
        });
        first.into_inner()
    }

    /// Makes a case small that fails this check with this bug.
    fn shrunk(&self, bug: Bug, scenario: &Scenario, case: Value, check: &str) -> Value {
        let (mut hand, mut left) = (Hand { launch: &self.launch, worker: None }, self.shrinks);
        shrink::smallest(case, scenario.smaller, |case| {
            left = left.checked_sub(1)?;
            let why = hand.finds(&job(Some(bug), scenario, case.clone()));
            Some(why.is_some_and(|why| spoken(&why) == check))
        })
    }

    /// Hunts a bug in these scenarios, and makes what it finds small.
    ///
    /// # Errors
    /// If no seed finds it, what was tried.
    pub fn hunt(&self, bug: Bug, scenarios: &[&str]) -> Result<Found, Missed> {
        let failed = self.search(Some(bug), scenarios, 0);
        let name = bug.name().to_owned();
        let Some(Failed { scenario, seed, why }) = failed else {
            let scenarios = scenarios.iter().map(|name| (*name).to_owned()).collect();
            return Err(Missed { bug: name, scenarios, seeds: self.seeds });
        };
        let check = spoken(&why);
        let shrunk = self.shrunk(bug, scenario, (scenario.draw)(seed), &check);
        Ok(Found { bug: name, scenario: scenario.name.to_owned(), seed, check, shrunk })
    }
}

fn job(bug: Option<Bug>, scenario: &Scenario, case: Value) -> Job {
    let bug = bug.map(|bug| bug.name().to_owned());
    Job { bug, scenario: scenario.name.to_owned(), case }
}

/// The check that spoke: what it says up to the first colon, without the brackets of a list and the numbers.
#[must_use]
pub fn spoken(why: &str) -> String {
    let listed = why.split_once("[\n    \"").map_or(why, |(_, first)| first);
    let words = listed.split([':', '\n']).next().unwrap_or_default();
    let words: String = words.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
