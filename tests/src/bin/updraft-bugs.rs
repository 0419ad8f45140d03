//! Hunts planted bugs, and writes down what was found and what was not.
//!
//! `updraft-bugs [--seeds N] [--shrinks N] [--jobs N] [--scenario NAME ...] [--write FILE] [--book PAGE] [BUG ...]` hunts
//! these bugs, or all, in those of these scenarios that reach them, or in all that do, and prints a table. What `--write`
//! and `--book` name is written after every bug.
//! `updraft-bugs --clean N [--from SEED] [--jobs N] [--scenario NAME ...]` runs N seeds of these scenarios, or all,
//! without a bug: no check may speak.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{fs, num::NonZeroUsize, process::ExitCode};

use updraft_harness::campaign::process::{self, Launch};
use updraft_tests::bugs::{
    SCENARIOS,
    hunt::{self, Found, Hunter, Known, Missed},
    reaching,
};
use updraft_transport::planted::Bug;

/// The first lines of the table.
const HEAD: &str = "\
| bug | what it does | law | scenario | seeds | the check that spoke | steps |
| --- | --- | --- | --- | --: | --- | --: |
";

/// Where the table is in the page.
const BEGIN: &str = "<!-- the table -->";
const END: &str = "<!-- the end of the table -->";

/// Most seeds of each scenario that a bug is hunted with.
const SEEDS: u64 = 10_000;

/// Simpler cases that are tried for a bug.
const SHRINKS: usize = 120;

struct Wanted {
    hunter: Hunter,
    clean: bool,
    from: u64,
    write: Option<String>,
    book: Option<String>,
    scenarios: Vec<String>,
    bugs: Vec<Bug>,
}

impl Wanted {
    fn chooses(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|wanted| wanted == scenario)
    }
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let hunter = Hunter { launch: Launch::with(&[]), workers, seeds: SEEDS, shrinks: SHRINKS };
    let (clean, from, scenarios, bugs) = (false, 0, Vec::new(), Vec::new());
    let mut wanted = Wanted { hunter, clean, from, write: None, book: None, scenarios, bugs };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seeds" => wanted.hunter.seeds = number(&value()?)?,
            "--shrinks" => wanted.hunter.shrinks = number(&value()?)?,
            "--jobs" => wanted.hunter.workers = number(&value()?)?,
            "--clean" => (wanted.clean, wanted.hunter.seeds) = (true, number(&value()?)?),
            "--from" => wanted.from = number(&value()?)?,
            "--write" => wanted.write = Some(value()?),
            "--book" => wanted.book = Some(value()?),
            "--scenario" => wanted.scenarios.push(value()?),
            bug => wanted.bugs.push(bug.parse().map_err(|error| format!("{error}"))?),
        }
    }
    Ok(wanted)
}

fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn main() -> ExitCode {
    if process::is_worker() {
        process::serve(hunt::work);
        return ExitCode::SUCCESS;
    }
    let done = wanted(std::env::args().skip(1))
        .and_then(|wanted| if wanted.clean { Ok(clean(&wanted)) } else { hunt_all(&wanted) });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Whether no check spoke.
fn clean(wanted: &Wanted) -> bool {
    let mut silent = true;
    for scenario in SCENARIOS.iter().filter(|scenario| wanted.chooses(scenario.name)) {
        match wanted.hunter.search(None, &[scenario.name], wanted.from) {
            None => println!("{}: {} seeds, no check spoke", scenario.name, wanted.hunter.seeds),
            Some(failed) => {
                silent = false;
                println!("{}: seed {} without a bug: {}", scenario.name, failed.seed, failed.why);
            }
        }
    }
    silent
}

/// Whether all were found.
fn hunt_all(wanted: &Wanted) -> Result<bool, String> {
    let bugs = if wanted.bugs.is_empty() { Bug::ALL } else { &wanted.bugs };
    let mut known = match &wanted.write {
        Some(file) => read(file)?,
        None => Known::default(),
    };
    let mut count = 0;
    print!("{HEAD}");
    for bug in bugs {
        let reaching = reaching(*bug).iter().copied().filter(|name| wanted.chooses(name));
        let hunted = wanted.hunter.hunt(*bug, &reaching.collect::<Vec<_>>());
        count += usize::from(hunted.is_ok());
        known.learn(*bug, hunted);
        println!("{}", line(*bug, &known));
        if let Some(file) = &wanted.write {
            let text = serde_json::to_string_pretty(&known).map_err(|error| error.to_string())?;
            fs::write(file, text + "\n").map_err(|error| format!("{file}: {error}"))?;
        }
        if let Some(page) = &wanted.book {
            put_into(page, &known)?;
        }
    }
    println!("\n{count} of {} bugs were found.", bugs.len());
    Ok(count == bugs.len())
}

fn read(file: &str) -> Result<Known, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))
}

/// The line of a bug in the table.
fn line(bug: Bug, known: &Known) -> String {
    let (name, does, law) = (bug.name(), bug.description(), bug.law());
    let found = known.found.iter().find(|found| found.bug == name);
    let missed = known.missed.iter().find(|missed| missed.bug == name);
    let last = match (found, missed) {
        (Some(found), _) => {
            let Found { scenario, seed, check, .. } = found;
            format!("{scenario} | {} | {check} | {}", seed + 1, found.steps())
        }
        (None, Some(Missed { scenarios, seeds, .. })) if *seeds > 0 => {
            format!("{} | {seeds} of each | **not found yet** | –", scenarios.join(", "))
        }
        (None, _) => "– | – | **not hunted yet** | –".to_owned(),
    };
    format!("| `{name}` | {does} | {law} | {last} |")
}

/// Replaces the table of the book's page.
fn put_into(page: &str, known: &Known) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{page}: {error}");
    let text = fs::read_to_string(page).map_err(failed)?;
    let parts =
        text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| format!("{page} has no place for a table"))?;
    let table: String = Bug::ALL.iter().map(|bug| line(*bug, known) + "\n").collect();
    fs::write(page, format!("{head}{BEGIN}\n\n{HEAD}{table}\n{END}{tail}")).map_err(failed)
}
