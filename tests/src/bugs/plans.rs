//! The plan of a server alone, no nodes: what hosts report arrives in any order, any number of times, or never.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_compute::{
    plan::{self, Effect, Facts, Learned},
    rows::ServerRow,
};
use updraft_protocol::{
    compute::{BuildFault, Goal, Observation, Stage},
    hypervisor::PowerState,
};
use updraft_runtime::{env::UnixMicros, rows::Change};

use crate::rows;

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 60;

/// Where the server may be placed.
const HOSTS: [&str; 3] = ["one", "two", "three"];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The plan is asked, and a scheduler answers with this host if it is wanted.
    Plan(u8),
    /// The host that has the server sees something new: how far it is, and whether the guest runs.
    See(u8, bool),
    /// It sees that it cannot go on.
    Fail,
    /// One of the reports so far arrives, maybe not for the first time.
    Arrive(u8),
    /// The user deletes the server.
    Delete,
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_range(0..40) {
        0..14 => Step::Plan(rng.random_range(0..3)),
        14..23 => Step::See(rng.random_range(0..4), rng.random()),
        23..25 => Step::Fail,
        25..39 => Step::Arrive(rng.random()),
        _ => Step::Delete,
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// A report under way.
#[derive(Clone, Debug, PartialEq)]
struct Report {
    host: String,
    seen: Observation,
    arrived: bool,
}

struct Course {
    row: Option<ServerRow>,
    reports: Vec<Report>,
}

/// Runs a case.
///
/// # Panics
/// If a report counts that must not, or a host is left behind.
pub fn run(case: &Case) {
    let mut course = Course { row: Some(rows::server(UnixMicros(u64::MAX))), reports: Vec::new() };
    for step in &case.steps {
        course.take(*step);
        course.judge();
    }
}

impl Course {
    fn take(&mut self, step: Step) {
        match step {
            Step::Plan(host) => self.plan(HOSTS[usize::from(host)]),
            Step::See(stage, runs) => self.see(stage, runs, false),
            Step::Fail => self.see(0, false, true),
            Step::Arrive(which) => self.arrive(which),
            Step::Delete => {
                if let Some(row) = &mut self.row {
                    row.goal = Goal::Absent;
                }
            }
        }
    }

    /// Does what the plan says, until it says nothing more.
    fn plan(&mut self, host: &str) {
        while let Some(row) = self.row.take() {
            let plan = plan::plan(&row, &Facts::default(), UnixMicros(1));
            match plan.change {
                Change::Write(next) => {
                    self.leaves(&row, &next);
                    self.row = Some(next);
                }
                Change::Delete => return,
                Change::Keep => {
                    let looks = plan.effects.contains(&Effect::SelectHost);
                    let tried = row.tried.iter().any(|(tried, _)| tried == host);
                    let places = looks && !tried;
                    let next = if places { plan::placed(&row, host, Vec::new()) } else { row };
                    self.row = Some(next);
                    return;
                }
            }
        }
    }

    /// A host is left only when it has said that nothing is left there.
    fn leaves(&self, old: &ServerRow, new: &ServerRow) {
        let Some(placement) = &old.placement else { return };
        if new.placement.as_ref().is_some_and(|new| new.host == placement.host) {
            return;
        }
        let gone = self.reports.iter().any(|report| {
            report.arrived
                && report.host == placement.host
                && report.seen.generation == old.generation
                && report.seen.stage == Stage::Gone
        });
        assert!(gone, "no host is left before it has nothing: {} is", placement.host);
    }

    fn see(&mut self, stage: u8, runs: bool, fails: bool) {
        let Some(row) = &self.row else { return };
        let Some(placement) = &row.placement else { return };
        let stages =
            [Stage::Networking, Stage::BlockDeviceMapping, Stage::Spawning, Stage::Settled];
        let stage = match placement.goal {
            Goal::Absent => Stage::Gone,
            Goal::Present => stages[usize::from(stage)],
        };
        let fault = BuildFault { message: "it cannot".to_owned(), elsewhere: true };
        let seen = Observation {
            generation: row.generation,
            counter: self.reports.len() as u64 + 1,
            stage,
            power: if runs { PowerState::Running } else { PowerState::Shutdown },
            reboots: row.reboots,
            ports: Vec::new(),
            attached: Vec::new(),
            fault: (fails && placement.goal == Goal::Present).then_some(fault),
        };
        self.reports.push(Report { host: placement.host.clone(), seen, arrived: false });
    }

    fn arrive(&mut self, which: u8) {
        let Some(index) = usize::from(which).checked_rem(self.reports.len()) else { return };
        let report = &mut self.reports[index];
        if let Some(row) = &mut self.row {
            report.arrived = true;
            let (host, observation) = (report.host.clone(), report.seen.clone());
            plan::learn(row, Learned::Observed { host, observation });
        }
    }

    /// What is known of a host is the newest of what has arrived about what is wanted now.
    fn judge(&self) {
        let Some(row) = &self.row else { return };
        let (Some(placement), Some(known)) = (&row.placement, row.current()) else { return };
        let told = |report: &&Report| {
            report.arrived
                && report.host == placement.host
                && report.seen.generation == row.generation
        };
        let told: Vec<&Observation> =
            self.reports.iter().filter(told).map(|report| &report.seen).collect();
        assert!(
            told.contains(&known),
            "a report counts for its own generation: {known:?} does not"
        );
        let newest = told.iter().map(|seen| seen.counter).max();
        let is_newest = Some(known.counter) == newest;
        assert!(
            is_newest,
            "of two reports the newer counts: {} does, not {newest:?}",
            known.counter
        );
    }
}
