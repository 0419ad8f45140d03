//! A campaign over a toy: what it counts, what it finds, and what a failing seed leaves behind.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use updraft_harness::{
    campaign::{
        self, Ended, Failure, Options, Plan, Run, Scenario, Scenarios, Settings, Summary, Watcher,
        process::Launch, shrink,
    },
    record::Detail,
    world::{Tier, World},
};
use updraft_runtime::{always, sometimes};

/// Numbers, of which some must never come after others.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbers(Vec<u64>);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the numbers {:?}", self.0)
    }
}

/// What goes wrong in the toy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// A 3 after a 5 breaks a check.
    Order,
    /// A 3 ends the process.
    Abort,
    /// A 3 never ends.
    Hang,
    /// The first run of each process fails, and no other.
    First,
    /// What the code says of itself is not so.
    Never,
}

struct Toy(&'static str, Bug);

impl Scenario for Toy {
    type Case = Numbers;

    fn name(&self) -> &'static str {
        self.0
    }

    fn about(&self) -> &'static str {
        "numbers"
    }

    fn faults(&self) -> Vec<&'static str> {
        vec!["three", "five"]
    }

    fn marks(&self) -> &'static [&'static str] {
        &["a nine"]
    }

    fn covers(&self) -> &'static [&'static str] {
        if ["covering", "leaving"].contains(&self.0) { &["campaign"] } else { &[] }
    }

    fn leaves(&self) -> &'static [(&'static str, &'static str)] {
        let left = &[("more than a digit", "covering"), ("no 8 at all", "fine")];
        if self.0 == "leaving" { left } else { &[] }
    }

    fn draw(&self, seed: u64, options: &Options) -> Numbers {
        let all = (0..20).map(|at| (seed.wrapping_mul(6_364_136_223_846_793_005) >> (at * 3)) % 10);
        let may = |number: &u64| match number {
            3 => options.faults.contains("three"),
            5 => options.faults.contains("five"),
            _ => true,
        };
        Numbers(all.filter(may).collect())
    }

    fn run(&self, case: &Numbers, run: &Run) {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let runs = RUNS.fetch_add(1, Ordering::Relaxed);
        World::new(1).run_for(Duration::from_secs(2));
        let mut five = false;
        for number in &case.0 {
            run.count(&format!("number {number}"));
            sometimes!(*number == 7, "a seven");
            sometimes!(*number > 9, "more than a digit");
            if self.1 == Bug::Never {
                always!(*number != 8, "no 8 at all", "there is one among {:?}", case.0);
            }
            match (number, self.1) {
                (9, _) => run.reached("a nine"),
                (5, _) => five = true,
                (3, Bug::Order) if five => run.violated("no 3 after a 5", "there is one"),
                (3, Bug::Abort) => std::process::abort(),
                (3, Bug::Hang) => loop {
                    std::thread::park();
                },
                (3, _) => run.struck("three", 1),
                _ => {}
            }
        }
        assert!(self.1 != Bug::First || runs != 1, "the second run of this process");
    }

    fn smaller(&self, case: &Numbers) -> Vec<Numbers> {
        shrink::shorter(&case.0).into_iter().map(Numbers).collect()
    }
}

fn toys() -> Scenarios {
    Scenarios::new("toys::replay")
        .with(Toy("fine", Bug::None))
        .with(Toy("covering", Bug::None))
        .with(Toy("leaving", Bug::None))
        .with(Toy("order", Bug::Order))
        .with(Toy("abort", Bug::Abort))
        .with(Toy("hang", Bug::Hang))
        .with(Toy("first", Bug::First))
        .with(Toy("never", Bug::Never))
}

struct Unwatched;

impl Watcher for Unwatched {}

fn settings(scenario: &str, out: &Path) -> Settings {
    Settings {
        scenario: scenario.to_owned(),
        options: Options {
            tier: Tier::Memory,
            faults: toys().faults(scenario, &["all".to_owned()]).unwrap(),
        },
        first: 1,
        seeds: 40,
        time: None,
        until_covered: false,
        jobs: 2,
        failures_max: 2,
        shrinks_max: 500,
        run_within: Duration::from_secs(60),
        out: out.to_owned(),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

fn run(settings: &Settings) -> (Summary, Vec<Failure>) {
    campaign::run(&toys(), settings, &Launch::test("worker"), &Unwatched).unwrap()
}

/// Where workers come to.
#[test]
fn worker() {
    let _ = toys().served();
}

#[test]
fn every_seed_runs_once_and_everything_is_added_up() {
    let out = tempfile::tempdir().unwrap();
    let (summary, failures) = run(&settings("fine", out.path()));
    assert_eq!((summary.runs, summary.failed, failures.len()), (40, 0, 0));
    assert_eq!(summary.ended, Some(Ended::Seeds));
    assert_eq!(summary.simulated, Duration::from_secs(80));
    let numbers = |seed| toys_draw(seed).iter().filter(|number| **number == 3).count() as u64;
    assert_eq!(summary.struck["three"], (1..=40).map(numbers).sum::<u64>());
    assert!(summary.missing.is_empty(), "{summary}");
}

#[test]
fn the_marks_of_what_is_covered_are_wanted_without_being_listed_anywhere() {
    let out = tempfile::tempdir().unwrap();
    let (summary, _) = run(&settings("covering", out.path()));
    assert!(summary.marks.contains_key("a nine") && summary.marks.contains_key("a seven"));
    let missing = ["more than a digit", "no 8 at all"].map(str::to_owned);
    assert_eq!(summary.missing, missing.into(), "{summary}");
}

#[test]
fn what_a_scenario_leaves_to_another_does_not_hold_it_up_and_is_said() {
    let out = tempfile::tempdir().unwrap();
    let (summary, _) = run(&settings("leaving", out.path()));
    assert!(summary.missing.is_empty(), "{summary}");
    let said = "sought by the scenario covering: more than a digit\n";
    assert!(summary.to_string().contains(said), "{summary}");
    assert_eq!(
        toys().left_by_all(),
        ["leaving leaves to fine: no 8 at all"],
        "fine seeks no marks"
    );
}

#[test]
fn what_the_code_says_must_always_be_so_is_a_check_of_every_run() {
    let out = tempfile::tempdir().unwrap();
    let (_, failures) = run(&settings("never", out.path()));
    let violation = failures[0].violation.as_ref().unwrap();
    assert_eq!(violation.check, "no 8 at all");
    assert!(violation.words.starts_with("there is one among ["), "{}", violation.words);
    let shrunk = failures.iter().filter_map(|failure| failure.shrunk.as_ref());
    assert!(shrunk.map(|plan| &plan.case).any(|case| *case == serde_json::json!([8])));
}

fn toys_draw(seed: u64) -> Vec<u64> {
    let faults = ["three", "five"].map(str::to_owned).into();
    Toy("fine", Bug::None).draw(seed, &Options { tier: Tier::Memory, faults }).0
}

#[test]
fn a_failing_seed_is_made_small_and_leaves_all_that_is_needed_to_see_it_again() {
    let out = tempfile::tempdir().unwrap();
    let (summary, failures) = run(&settings("order", out.path()));
    assert_eq!(summary.ended, Some(Ended::Failures));
    assert_eq!(failures.len(), 2);
    let first = failures.iter().find(|failure| failure.shrinks > 0).unwrap();
    assert_eq!(first.violation.as_ref().unwrap().check, "no 3 after a 5");
    assert_eq!(first.shrunk.as_ref().unwrap().case, serde_json::json!([5, 3]));
    let read = |name: &str| std::fs::read_to_string(first.folder.join(name)).unwrap();
    assert!(read("why.txt").contains("the numbers [5, 3]"), "{}", read("why.txt"));
    assert!(read("regression.rs").contains("toys::replay("), "{}", read("regression.rs"));
    let (shrunk, plan) = (Plan::read(&first.folder), Plan::read(&first.folder.join("plan.json")));
    assert_eq!(Some(shrunk.unwrap()), first.shrunk);
    let plan = plan.unwrap();
    assert_eq!(plan, first.plan);
    let ran = toys().run_here(&plan, Detail::Nothing).unwrap();
    assert!(ran.failed.unwrap().starts_with("no 3 after a 5: there is one"));
    assert!(read("log.txt").ends_with("2000000 violated: no 3 after a 5: there is one\n"));
    assert!(read("timeline.html").contains("no 3 after a 5"), "the timeline does not say why");
    // The other fails the same check: that one was made small is enough.
    assert_eq!(failures.iter().filter(|failure| failure.shrinks > 0).count(), 1);
}

#[test]
fn a_process_that_dies_or_hangs_is_a_failure_of_its_seed() {
    let out = tempfile::tempdir().unwrap();
    let (_, failures) = run(&settings("abort", out.path()));
    assert!(failures[0].why.contains("ended without an answer"), "{}", failures[0].why);
    let once = |list: &serde_json::Value| *list == serde_json::json!([3]);
    let shrunk = failures.iter().filter_map(|failure| failure.shrunk.as_ref());
    assert!(shrunk.map(|plan| &plan.case).any(once), "{failures:?}");
    let within = Duration::from_millis(500);
    let hanging = Settings { run_within: within, shrinks_max: 0, ..settings("hang", out.path()) };
    let (_, failures) = run(&hanging);
    assert!(failures[0].why.contains("has not answered within 500ms"), "{}", failures[0].why);
}

#[test]
fn a_failure_that_depends_on_the_process_is_told_from_one_that_follows_from_the_seed() {
    let out = tempfile::tempdir().unwrap();
    let (_, failures) = run(&Settings { jobs: 1, ..settings("first", out.path()) });
    assert_eq!(failures[0].shrunk, None);
    let why = std::fs::read_to_string(failures[0].folder.join("why.txt")).unwrap();
    assert!(why.contains("not a function of its seed"), "{why}");
}

#[test]
fn it_ends_when_it_is_stopped_when_its_time_is_over_or_when_there_is_nothing_new() {
    let out = tempfile::tempdir().unwrap();
    let stopped = settings("fine", out.path());
    stopped.stop.store(true, Ordering::Relaxed);
    let (summary, _) = run(&stopped);
    assert_eq!((summary.runs, summary.ended), (0, Some(Ended::Stopped)));
    let endless = Settings { seeds: u64::MAX, ..settings("fine", out.path()) };
    let (summary, _) = run(&Settings { time: Some(Duration::ZERO), ..endless.clone() });
    assert_eq!((summary.runs, summary.ended), (0, Some(Ended::Time)));
    let (summary, _) = run(&Settings { until_covered: true, ..endless });
    assert_eq!(summary.ended, Some(Ended::Covered));
    assert!(summary.runs >= 500, "only {}", summary.runs);
}

#[test]
fn what_is_not_known_is_said_with_what_is() {
    let scenarios = toys();
    let none = scenarios.plan("storm", 1, &Options::default()).unwrap_err().to_string();
    assert!(none.contains("no scenario storm") && none.contains("order"), "{none}");
    let none = scenarios.faults("fine", &["four".to_owned()]).unwrap_err().to_string();
    assert!(none.contains("no fault four") && none.contains("three, five"), "{none}");
    assert_eq!(scenarios.faults("fine", &["none".to_owned()]).unwrap().len(), 0);
    assert!(Plan::read(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
}
