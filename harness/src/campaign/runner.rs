//! The parent of a campaign: hands seeds to workers, adds up what they say, and looks into what fails.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    Ended, Failure, Misuse, Options, Outcome, Plan, Scenarios, Summary,
    failure::{self, signature},
    process::{Answer, Launch, Worker},
    shrink,
};
use crate::record::Detail;

/// A worker is replaced after so many runs, so that what a run leaves in its process never grows for long.
const RUNS_PER_PROCESS_MAX: u32 = 500;

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The scenario.
    pub scenario: String,
    /// What is varied.
    pub options: Options,
    /// The first seed.
    pub first: u64,
    /// How many seeds at most.
    pub seeds: u64,
    /// How long at most, in real time.
    pub time: Option<Duration>,
    /// Whether to end once every mark was reached and nothing new shows any more.
    pub until_covered: bool,
    /// How many run at a time.
    pub jobs: usize,
    /// How many failing seeds to look into before it ends.
    pub failures_max: usize,
    /// How many runs a failing seed may take to become small.
    pub shrinks_max: u64,
    /// How long a run may take, in real time.
    pub run_within: Duration,
    /// Where failing seeds leave their folders.
    pub out: PathBuf,
    /// Set by whoever wants it to end.
    pub stop: Arc<AtomicBool>,
}

/// Is told how a campaign goes, from several threads.
pub trait Watcher: Sync {
    /// A seed has run.
    fn ran(&self, _summary: &Summary) {}

    /// A failing seed is looked into, which takes a while.
    fn looks_into(&self, _plan: &Plan, _why: &str) {}

    /// A failing seed has its folder.
    fn failed(&self, _failure: &Failure) {}
}

/// What a worker is asked for.
#[derive(Serialize, Deserialize)]
struct Job {
    plan: Plan,
    /// Where to write down everything that happens in it.
    recorded_in: Option<PathBuf>,
}

/// What a worker says of a run.
#[derive(Serialize, Deserialize)]
struct Report {
    outcome: Outcome,
    failed: Option<String>,
}

impl Scenarios {
    /// Runs what a campaign's parent asks for, in its workers, and then returns `true`; `false` in every other process,
    /// which should go on.
    #[must_use]
    pub fn served(&self) -> bool {
        if !super::process::is_worker() {
            return false;
        }
        super::process::serve(|job| self.answer(job).map_err(|error| error.to_string()));
        true
    }

    fn answer(&self, job: &str) -> Result<String, Misuse> {
        let no_job = |error| Misuse::NoPlan("a job".to_owned(), error);
        let Job { plan, recorded_in } = serde_json::from_str(job).map_err(no_job)?;
        let detail = recorded_in.as_ref().map_or(Detail::Nothing, |_| Detail::Everything);
        let ran = self.run_here(&plan, detail)?;
        if let Some(folder) = recorded_in {
            failure::write_down(self, &plan, &ran, &folder)?;
        }
        let report = Report { outcome: ran.outcome, failed: ran.failed };
        serde_json::to_string(&report).map_err(no_job)
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a campaign takes is no part of any run")]
fn now() -> Instant {
    Instant::now()
}

/// Runs a campaign; returns its figures and the seeds that failed. `launch` must come to [`Scenarios::served`].
///
/// # Errors
/// If the scenario is not known, no worker can be started, or what a failing seed leaves cannot be written.
pub fn run(
    scenarios: &Scenarios,
    settings: &Settings,
    launch: &Launch,
    watcher: &dyn Watcher,
) -> Result<(Summary, Vec<Failure>), Misuse> {
    let scenario = scenarios.find(&settings.scenario)?;
    let summary = Summary::new(scenario.marks(), scenario.leaves());
    let campaign = Campaign {
        scenarios,
        settings,
        launch,
        watcher,
        began: now(),
        next: AtomicU64::new(0),
        state: Mutex::new(State { summary, ..State::default() }),
    };
    campaign.run()
}

#[derive(Default)]
struct State {
    summary: Summary,
    failures: Vec<Failure>,
    /// How many failing seeds are or were looked into.
    looked_into: usize,
    known: BTreeSet<String>,
    error: Option<Misuse>,
}

struct Campaign<'a> {
    scenarios: &'a Scenarios,
    settings: &'a Settings,
    launch: &'a Launch,
    watcher: &'a dyn Watcher,
    began: Instant,
    next: AtomicU64,
    state: Mutex<State>,
}

impl Campaign<'_> {
    #[allow(clippy::disallowed_methods, reason = "these threads only wait for processes")]
    fn run(self) -> Result<(Summary, Vec<Failure>), Misuse> {
        std::thread::scope(|scope| {
            for _ in 0..self.settings.jobs.max(1) {
                scope.spawn(|| {
                    if let Err(error) = self.work() {
                        self.state.lock().error.get_or_insert(error);
                    }
                });
            }
        });
        let mut state = self.state.into_inner();
        state.failures.sort_by_key(|failure| failure.plan.seed);
        match state.error {
            Some(error) => Err(error),
            None => Ok((state.summary, state.failures)),
        }
    }

    /// What each of the threads does.
    fn work(&self) -> Result<(), Misuse> {
        let mut worker = None;
        while let Some(seed) = self.next_seed() {
            let Settings { scenario, options, .. } = self.settings;
            let plan = self.scenarios.plan(scenario, seed, options)?;
            let report = self.report(&mut worker, &plan)?;
            let mut state = self.state.lock();
            state.summary.add(&report.outcome, report.failed.is_some());
            state.summary.elapsed = self.elapsed();
            self.watcher.ran(&state.summary);
            drop(state);
            if report.failed.is_some() {
                self.look_into(plan, report)?;
            }
        }
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.began)
    }

    /// The next seed, unless a reason to end has come.
    fn next_seed(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let ends = || {
            let is_over = |time: Duration| self.elapsed() >= time;
            if self.settings.stop.load(Ordering::Relaxed) {
                Some(Ended::Stopped)
            } else if state.error.is_some() {
                Some(Ended::NoWorkers)
            } else if state.looked_into >= self.settings.failures_max {
                Some(Ended::Failures)
            } else if self.settings.time.is_some_and(is_over) {
                Some(Ended::Time)
            } else if self.settings.until_covered && state.summary.is_covered() {
                Some(Ended::Covered)
            } else {
                let more = self.next.load(Ordering::Relaxed) < self.settings.seeds;
                (!more).then_some(Ended::Seeds)
            }
        };
        match ends() {
            Some(why) => {
                state.summary.ended.get_or_insert(why);
                None
            }
            None => Some(self.settings.first + self.next.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Runs a plan in this worker, or in a new one where there is none that is fit for it.
    fn report(&self, worker: &mut Option<(Worker, u32)>, plan: &Plan) -> Result<Report, Misuse> {
        self.report_into(worker, plan, None)
    }

    /// The same, written down in this folder.
    fn report_into(
        &self,
        worker: &mut Option<(Worker, u32)>,
        plan: &Plan,
        recorded_in: Option<PathBuf>,
    ) -> Result<Report, Misuse> {
        let job = serde_json::to_string(&Job { plan: plan.clone(), recorded_in });
        let job = job.map_err(|error| Misuse::NoPlan(plan.name(), error))?;
        let (mut fit, runs) = match worker.take().filter(|(_, runs)| *runs < RUNS_PER_PROCESS_MAX) {
            Some(fit) => fit,
            None => (self.start()?, 0),
        };
        let answer = fit.ask(&job, self.settings.run_within);
        if !matches!(answer, Answer::Died(_)) {
            *worker = Some((fit, runs + 1));
        }
        let said = answer.result().and_then(|said| {
            serde_json::from_str(&said).map_err(|error| format!("no report: {error}"))
        });
        Ok(said.unwrap_or_else(|why| Report { outcome: Outcome::default(), failed: Some(why) }))
    }

    fn start(&self) -> Result<Worker, Misuse> {
        Worker::start(self.launch)
            .map_err(|error| Misuse::Io(format!("no process for the runs: {error}"), error))
    }

    /// Confirms a failure, makes it small if none like it is known, and writes it down.
    fn look_into(&self, plan: Plan, report: Report) -> Result<(), Misuse> {
        let why = report.failed.unwrap_or_default();
        let known_by = signature(&why, report.outcome.violation.as_ref());
        let is_new = {
            let mut state = self.state.lock();
            if state.looked_into >= self.settings.failures_max {
                return Ok(());
            }
            state.looked_into += 1;
            state.known.insert(known_by.clone())
        };
        self.watcher.looks_into(&plan, &why);
        let confirmed = self.report(&mut None, &plan)?.failed;
        let mut failure = Failure {
            folder: self.settings.out.join(plan.name()),
            shrunk: confirmed.as_ref().map(|_| plan.clone()),
            violation: report.outcome.violation,
            shrunk_why: confirmed.unwrap_or_default(),
            shrinks: 0,
            plan,
            why,
        };
        if is_new && failure.shrunk.is_some() {
            self.shrink(&mut failure, &known_by)?;
        }
        failure.write(self.scenarios)?;
        if let Some(shrunk) = &failure.shrunk {
            self.report_into(&mut None, shrunk, Some(failure.folder.clone()))?;
        }
        self.watcher.failed(&failure);
        self.state.lock().failures.push(failure);
        Ok(())
    }

    /// Makes the plan of a failure small, as long as it fails in the same way.
    fn shrink(&self, failure: &mut Failure, known_by: &str) -> Result<(), Misuse> {
        let scenario = self.scenarios.find(&failure.plan.scenario)?;
        let with = |case| Plan { case, ..failure.plan.clone() };
        let (mut worker, mut runs, mut error, mut why) = (None, 0, None, String::new());
        let case = shrink::smallest(
            failure.plan.case.clone(),
            // A case that was read once can be read again.
            |case| scenario.smaller(case).unwrap_or_default(),
            |case| {
                let is_over = self.settings.stop.load(Ordering::Relaxed);
                if runs >= self.settings.shrinks_max || is_over {
                    return None;
                }
                runs += 1;
                match self.report(&mut worker, &with(case.clone())) {
                    Ok(Report { outcome, failed: Some(said) }) => {
                        let same = signature(&said, outcome.violation.as_ref()) == known_by;
                        why = if same { said } else { std::mem::take(&mut why) };
                        Some(same)
                    }
                    Ok(_) => Some(false),
                    Err(misuse) => {
                        error = Some(misuse);
                        None
                    }
                }
            },
        );
        failure.shrinks = runs;
        if !why.is_empty() {
            failure.shrunk_why = why;
        }
        failure.shrunk = Some(with(case));
        error.map_or(Ok(()), Err)
    }
}
