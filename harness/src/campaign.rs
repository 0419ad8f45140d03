//! Campaigns: many seeds of a scenario, each a run of its own, until something breaks or enough has been seen.
//!
//! Owns what a [`Scenario`] is, how its runs are spread over processes, and what a failing seed leaves behind. A run
//! is a thread of its own in a worker, which is this very program started again; one worker runs many seeds, because a
//! process for each costs more than most runs. A seed that fails is confirmed in a process of its own, made smaller,
//! and written down so that anyone can see it again. Knows nothing of what a scenario runs.

#[cfg(feature = "cli")]
pub mod cli;
mod failure;
pub mod isolate;
pub mod process;
mod run;
mod runner;
pub mod shrink;
mod tally;

use std::{collections::BTreeSet, fmt, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use updraft_transport::marks::{self, Mark};

pub use failure::{Failure, Plan};
pub use isolate::Interposer;
pub use run::{Outcome, Run, Violation};
pub use runner::{Settings, Watcher, run};
pub use tally::{Ended, Summary};

use crate::{
    record::{Detail, Recorder, What},
    world::Tier,
};

/// What a campaign varies over the same scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Where the nodes run.
    pub tier: Tier,
    /// The kinds of faults that may be drawn, by their names in [`Scenario::faults`].
    pub faults: BTreeSet<String>,
}

/// Something that can be run from a seed, again and again.
pub trait Scenario: Sync {
    /// Everything that a run depends on, as a value that prints, is kept in a file, and can be made smaller.
    type Case: Clone + fmt::Display + Serialize + DeserializeOwned;

    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it shows, in a line.
    fn about(&self) -> &'static str;

    /// The kinds of faults that it can be asked for.
    fn faults(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The situations that a campaign must have seen before what it shows is worth anything, beside the marks of what it
    /// [covers](Self::covers).
    fn marks(&self) -> &'static [&'static str] {
        &[]
    }

    /// What it is to try: the modules whose [marks] a campaign must have reached, by the beginnings
    /// of their paths.
    fn covers(&self) -> &'static [&'static str] {
        &[]
    }

    /// Marks of what it covers that no run of it reaches, each with the scenario that does: a campaign of this one is
    /// not held up by them, and says where they are sought.
    fn leaves(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The case of a seed: the same for the same seed and options.
    fn draw(&self, seed: u64, options: &Options) -> Self::Case;

    /// Runs a case, and notes in `run` what it meets.
    ///
    /// # Panics
    /// If what the scenario promises is not kept; [`Run::violated`] does so in words.
    fn run(&self, case: &Self::Case, run: &Run);

    /// Simpler cases to try when this one fails, those with most taken away first.
    fn smaller(&self, _case: &Self::Case) -> Vec<Self::Case> {
        Vec::new()
    }
}

/// A scenario whose case is a value of JSON.
trait Erased: Sync {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn faults(&self) -> Vec<&'static str>;
    fn marks(&self) -> BTreeSet<String>;
    fn leaves(&self) -> &'static [(&'static str, &'static str)];
    fn draw(&self, seed: u64, options: &Options) -> Result<Value, serde_json::Error>;
    fn run(&self, case: &Value, run: &Run) -> Result<(), serde_json::Error>;
    fn smaller(&self, case: &Value) -> Result<Vec<Value>, serde_json::Error>;
    fn show(&self, case: &Value) -> Result<String, serde_json::Error>;
}

impl<S: Scenario> Erased for S {
    fn name(&self) -> &'static str {
        Scenario::name(self)
    }

    fn about(&self) -> &'static str {
        Scenario::about(self)
    }

    fn faults(&self) -> Vec<&'static str> {
        Scenario::faults(self)
    }

    fn marks(&self) -> BTreeSet<String> {
        let own = Scenario::marks(self).iter().copied();
        let is_left = |words: &str| self.leaves().iter().any(|(left, _)| *left == words);
        let is_covered = |mark: &Mark| self.covers().iter().any(|c| mark.module.starts_with(c));
        let covers = |mark: &&Mark| is_covered(mark) && !is_left(mark.words);
        own.chain(marks::all().filter(covers).map(|mark| mark.words)).map(str::to_owned).collect()
    }

    fn leaves(&self) -> &'static [(&'static str, &'static str)] {
        Scenario::leaves(self)
    }

    fn draw(&self, seed: u64, options: &Options) -> Result<Value, serde_json::Error> {
        serde_json::to_value(Scenario::draw(self, seed, options))
    }

    fn run(&self, case: &Value, run: &Run) -> Result<(), serde_json::Error> {
        Scenario::run(self, &S::Case::deserialize(case)?, run);
        Ok(())
    }

    fn smaller(&self, case: &Value) -> Result<Vec<Value>, serde_json::Error> {
        let smaller = Scenario::smaller(self, &S::Case::deserialize(case)?);
        smaller.iter().map(serde_json::to_value).collect()
    }

    fn show(&self, case: &Value) -> Result<String, serde_json::Error> {
        Ok(S::Case::deserialize(case)?.to_string())
    }
}

/// Why a campaign or a replay cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    /// There is no scenario of this name.
    #[error("there is no scenario {name}; there are:\n{known}")]
    NoScenario {
        /// What was asked for.
        name: String,
        /// A line for each that there is.
        known: String,
    },
    /// The scenario has no such kind of fault.
    #[error("the scenario {scenario} knows no fault {name}; it knows: {known}")]
    NoFault {
        /// The scenario.
        scenario: String,
        /// What was asked for.
        name: String,
        /// What it knows.
        known: String,
    },
    /// The plan cannot be read.
    #[error("{0} is no plan of a run")]
    NoPlan(String, #[source] serde_json::Error),
    /// A file cannot be read or written, or a worker not started.
    #[error("{0}")]
    Io(String, #[source] std::io::Error),
}

impl Misuse {
    fn of(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let words = path.display().to_string();
        move |error| Self::Io(format!("{words}: {error}"), error)
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// What it met.
    pub outcome: Outcome,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// What happened in it.
    pub recorder: Recorder,
}

/// The scenarios of a program, and how it replays one in a test.
pub struct Scenarios {
    all: Vec<Box<dyn Erased>>,
    interposer: Option<Interposer>,
    replayed_by: &'static str,
}

impl Scenarios {
    /// None yet. `replayed_by` is the path of a function of `&str` that a regression test calls with the text of a
    /// plan, and that hands it to [`replay`](Self::replay).
    #[must_use]
    pub fn new(replayed_by: &'static str) -> Self {
        Self { all: Vec::new(), interposer: None, replayed_by }
    }

    /// With the entropy and the clock of each run's thread overridden by this.
    #[must_use]
    pub fn armed_by(mut self, interposer: Interposer) -> Self {
        self.interposer = Some(interposer);
        self
    }

    /// And this one.
    #[must_use]
    pub fn with(mut self, scenario: impl Scenario + 'static) -> Self {
        self.all.push(Box::new(scenario));
        self
    }

    /// A line for each.
    #[must_use]
    pub fn list(&self) -> String {
        self.all.iter().map(|one| format!("  {:<12} {}\n", one.name(), one.about())).collect()
    }

    /// What makes a run's entropy and clock follow from its seed, if anything does here.
    #[must_use]
    pub fn interposer(&self) -> Option<Interposer> {
        self.interposer.filter(|interposer| isolate::can_arm(*interposer))
    }

    /// The kinds of faults of a scenario, chosen by name; "all" are all of them, "none" is none.
    ///
    /// # Errors
    /// If there is no such scenario or kind.
    pub fn faults(&self, scenario: &str, wanted: &[String]) -> Result<BTreeSet<String>, Misuse> {
        let known = self.find(scenario)?.faults();
        let mut chosen = BTreeSet::new();
        for name in wanted {
            match name.as_str() {
                "all" => chosen.extend(known.iter().map(|name| (*name).to_owned())),
                "none" => {}
                name if known.contains(&name) => drop(chosen.insert(name.to_owned())),
                name => {
                    return Err(Misuse::NoFault {
                        scenario: scenario.to_owned(),
                        name: name.to_owned(),
                        known: known.join(", "),
                    });
                }
            }
        }
        Ok(chosen)
    }

    /// What scenarios leave to others that do not seek it, a line each; none if every mark is sought by somebody.
    #[must_use]
    pub fn left_by_all(&self) -> Vec<String> {
        let sought = |mark: &str, by: &str| self.find(by).is_ok_and(|by| by.marks().contains(mark));
        let of_one = |one: &dyn Erased| {
            let lost = one.leaves().iter().filter(|(mark, by)| !sought(mark, by));
            let line = |(mark, by): &(&str, &str)| format!("{} leaves to {by}: {mark}", one.name());
            lost.map(line).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(|one| of_one(&**one)).collect()
    }

    fn find(&self, name: &str) -> Result<&dyn Erased, Misuse> {
        let found = self.all.iter().find(|one| one.name() == name);
        let unknown = || Misuse::NoScenario { name: name.to_owned(), known: self.list() };
        found.map(|one| &**one).ok_or_else(unknown)
    }

    /// The plan of a seed.
    ///
    /// # Errors
    /// If there is no such scenario, or its case is not kept by JSON.
    pub fn plan(&self, scenario: &str, seed: u64, options: &Options) -> Result<Plan, Misuse> {
        let case = self.find(scenario)?.draw(seed, options);
        let case = case.map_err(|error| Misuse::NoPlan(format!("seed {seed}"), error))?;
        Ok(Plan { scenario: scenario.to_owned(), seed, tier: options.tier, case })
    }

    /// Runs a plan in a thread of its own, here, and keeps so much of what happens.
    ///
    /// # Errors
    /// If it cannot be read, or its scenario is not known.
    pub fn run_here(&self, plan: &Plan, detail: Detail) -> Result<Ran, Misuse> {
        let scenario = self.find(&plan.scenario)?;
        let (run, recorder) = (Run::new(plan.tier), Recorder::new(detail));
        let ended = isolate::apart(plan.seed, self.interposer(), || {
            recorder.install();
            run.listen();
            scenario.run(&plan.case, &run)
        });
        let failed = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => return Err(Misuse::NoPlan(plan.name(), error)),
            Err(why) => Some(why),
        };
        let outcome = Outcome { simulated: recorder.now(), ..run.outcome() };
        if let Some(why) = failed.as_ref().filter(|_| outcome.violation.is_none()) {
            let (check, words) = ("a run ends without a panic".to_owned(), why.clone());
            recorder.tell(What::Violated { check, words });
        }
        Ok(Ran { outcome, failed, recorder })
    }

    /// Runs the plan of this text: what a regression test does.
    ///
    /// # Panics
    /// If the plan fails, or cannot be read.
    pub fn replay(&self, plan: &str) {
        let read = serde_json::from_str::<Plan>(plan);
        let read = read.map_err(|error| Misuse::NoPlan("the text".to_owned(), error));
        match read.and_then(|plan| self.run_here(&plan, Detail::Nothing)) {
            Ok(Ran { failed: None, .. }) => {}
            Ok(Ran { failed: Some(why), .. }) => panic!("{why}"),
            Err(misuse) => panic!("{misuse}"),
        }
    }
}
