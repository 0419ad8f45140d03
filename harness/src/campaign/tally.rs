//! What a campaign has seen so far.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Coverage is flat when so many seeds in a row have shown nothing that was not seen before.
pub(super) const FLAT_SEEDS: u64 = 500;

/// Why a campaign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Every seed that was asked for has run.
    Seeds,
    /// Its time was over.
    Time,
    /// Every mark was reached, and coverage was flat.
    Covered,
    /// As many seeds failed as it was to look at.
    Failures,
    /// Somebody stopped it.
    Stopped,
    /// No worker could be started.
    NoWorkers,
}

/// The figures of a campaign, at any time of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Seeds that have run.
    pub runs: u64,
    /// Seeds that failed.
    pub failed: u64,
    /// How long it has taken, in real time.
    pub elapsed: Duration,
    /// How much time passed in all runs together, simulated.
    pub simulated: Duration,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<String, u64>,
    /// How many runs were in each situation.
    pub marks: BTreeMap<String, u64>,
    /// The marks that no run has reached, of those that the scenario names.
    pub missing: BTreeSet<String>,
    /// The marks that it leaves to another scenario, each with its name.
    pub left: BTreeMap<String, String>,
    /// The run that last showed something new.
    pub last_new: u64,
    /// Why it ended, once it has.
    pub ended: Option<Ended>,
}

impl Summary {
    pub(super) fn new(missing: BTreeSet<String>, left: &[(&str, &str)]) -> Self {
        let left = left.iter().map(|(mark, by)| ((*mark).to_owned(), (*by).to_owned())).collect();
        Self { missing, left, ..Self::default() }
    }

    pub(super) fn add(&mut self, outcome: &Outcome, failed: bool) {
        self.runs += 1;
        self.failed += u64::from(failed);
        self.simulated += outcome.simulated;
        let mut news = false;
        for (into, from) in
            [(&mut self.counts, &outcome.counts), (&mut self.struck, &outcome.struck)]
        {
            for (what, times) in from {
                let sum = into.entry(what.clone()).or_default();
                news |= *sum == 0;
                *sum += times;
            }
        }
        for mark in &outcome.marks {
            let sum = self.marks.entry(mark.clone()).or_default();
            news |= *sum == 0;
            *sum += 1;
            self.missing.remove(mark);
            self.left.remove(mark);
        }
        if news {
            self.last_new = self.runs;
        }
    }

    /// Whether every mark was reached and nothing new shows any more.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.missing.is_empty() && self.runs >= self.last_new + FLAT_SEEDS
    }

    /// How many seeds ran in a second of real time.
    #[must_use]
    pub fn seeds_per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let runs = self.runs as f64;
        if self.elapsed.is_zero() { 0.0 } else { runs / self.elapsed.as_secs_f64() }
    }

    /// How many faults struck, of all kinds.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.struck.values().sum()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seeds => "every seed has run",
            Self::Time => "the time is over",
            Self::Covered => "every mark was reached, and nothing new shows any more",
            Self::Failures => "enough seeds have failed",
            Self::Stopped => "it was stopped",
            Self::NoWorkers => "no process could be started for the runs",
        })
    }
}

/// The summary as a person reads it.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runs, seconds) = (self.runs, self.elapsed.as_secs_f64());
        let rate = self.seeds_per_second();
        writeln!(f, "{runs} seeds in {seconds:.1} s, {rate:.1} seeds/s, {} failed", self.failed)?;
        if !self.simulated.is_zero() {
            writeln!(f, "{:.0} simulated seconds", self.simulated.as_secs_f64())?;
        }
        block(f, "faults struck", &self.struck)?;
        block(f, "seen", &self.counts)?;
        block(f, "marks reached, in so many seeds", &self.marks)?;
        for mark in &self.missing {
            writeln!(f, "never reached: {mark}")?;
        }
        for (mark, by) in &self.left {
            writeln!(f, "sought by the scenario {by}: {mark}")?;
        }
        match self.ended {
            Some(why) => writeln!(f, "it ended because {why}"),
            None => Ok(()),
        }
    }
}

fn block(f: &mut fmt::Formatter<'_>, title: &str, of: &BTreeMap<String, u64>) -> fmt::Result {
    if of.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    let width = of.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    of.iter().try_for_each(|(what, times)| writeln!(f, "  {what:<width$}  {times:>8}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(mark: &str) -> Outcome {
        Outcome { marks: [mark.to_owned()].into(), ..Outcome::default() }
    }

    #[test]
    fn coverage_is_flat_only_when_every_mark_was_reached_and_nothing_is_new() {
        let mut summary = Summary::new(["a", "b"].map(str::to_owned).into(), &[]);
        for _ in 0..FLAT_SEEDS + 1 {
            summary.add(&outcome("a"), false);
        }
        assert!(!summary.is_covered(), "b was not reached");
        summary.add(&outcome("b"), false);
        assert!(!summary.is_covered(), "b is new");
        for _ in 0..FLAT_SEEDS {
            summary.add(&outcome("b"), false);
        }
        assert!(summary.is_covered());
        summary.add(&outcome("c"), false);
        assert!(!summary.is_covered(), "c is new, though nobody asked for it");
    }
}
