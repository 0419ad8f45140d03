//! The command line of campaigns, for a program that has scenarios (feature `cli`).
//!
//! `main` of such a program is one call of [`main`]. Says on a terminal how the campaign goes, and in plain lines
//! where nobody watches. Ctrl-C ends a campaign in order, a second one at once.

mod logs;
mod show;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::{
    Failure, Misuse, Options, Plan, Scenarios, Settings, Summary, failure, process::Launch,
};
use crate::{record::Detail, world::Tier};

/// What everything below folder and time ends with: some seed failed.
const FAILED: u8 = 1;

/// The words on the command line make no sense, or a file cannot be used.
const MISUSED: u8 = 2;

/// Ctrl-C, twice.
const INTERRUPTED: i32 = 130;

/// Runs many seeds of a scenario under faults, and looks into those that fail
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    campaign: CampaignArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run one plan again and say what comes of it
    Replay {
        /// The folder that a failing seed left, or the file of a plan
        #[arg(value_name = "FOLDER_OR_PLAN")]
        plan: PathBuf,
        /// Write its log and its timeline into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Write down everything that happens in a few seeds, and compare it with what another process wrote down
    Logs(logs::Arguments),
    /// Say which scenarios there are
    List,
}

#[derive(Args)]
struct CampaignArguments {
    /// What to run; 'list' says what there is
    #[arg(long, default_value = "life")]
    scenario: String,
    /// How many seeds; without it 1000, or as many as fit into --time
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// This one seed
    #[arg(long, conflicts_with_all = ["seeds", "from", "time", "until_covered"])]
    seed: Option<u64>,
    /// How long at most, as in 90s, 15m or 8h
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    /// End once every mark was reached and nothing new shows any more
    #[arg(long)]
    until_covered: bool,
    /// How many seeds run at a time; without it one for each processor
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    jobs: Option<u16>,
    /// 1: an in-memory switch. 2: QUIC and TLS over simulated UDP. 3: the same, and stores on disks that fail
    #[arg(long, default_value = "1", value_parser = tier)]
    tier: Tier,
    /// Kinds of faults with commas between them, or 'all' or 'none'
    #[arg(long, value_delimiter = ',', default_value = "all")]
    faults: Vec<String>,
    /// Failing seeds to look into before it ends
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    failures: u16,
    /// Runs that a failing seed may take to become small
    #[arg(long, value_name = "RUNS", default_value_t = 500)]
    shrinks: u64,
    /// How long one run may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
    run_within: Duration,
    /// Where failing seeds leave their folders
    #[arg(long, value_name = "DIR", default_value = "failures")]
    out: PathBuf,
    /// Append the figures to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
}

fn tier(text: &str) -> Result<Tier, &'static str> {
    match text {
        "1" => Ok(Tier::Memory),
        "2" => Ok(Tier::Quic),
        "3" => Ok(Tier::Disks),
        _ => Err("it is 1, 2 or 3"),
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| "it is no number")?;
    let seconds = match unit {
        "s" | "" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3_600),
        _ => return Err("its unit is s, m or h"),
    };
    seconds.map(Duration::from_secs).ok_or("it is too long")
}

/// A line of the file of figures.
#[derive(Serialize)]
struct Figures<'a> {
    /// When the campaign ended, as Unix time.
    at_secs: u64,
    scenario: &'a str,
    tier: Tier,
    faults: &'a std::collections::BTreeSet<String>,
    jobs: usize,
    first_seed: u64,
    seeds_per_second: f64,
    failed_seeds: Vec<u64>,
    summary: &'a Summary,
}

/// Does what the program's arguments say. In a worker, it runs what the campaign's parent asks for.
#[must_use]
pub fn main(scenarios: &Scenarios) -> ExitCode {
    if scenarios.served() {
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => campaign(scenarios, arguments.campaign),
        Some(Command::Replay { plan, out }) => replay(scenarios, &plan, out.as_deref()),
        Some(Command::Logs(arguments)) => logs::write(scenarios, &arguments),
        Some(Command::List) => {
            show::out(&scenarios.list());
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(misuse) => {
            show::err(&misuse.to_string());
            ExitCode::from(MISUSED)
        }
    }
}

/// Whether no seed failed.
fn campaign(scenarios: &Scenarios, arguments: CampaignArguments) -> Result<bool, Misuse> {
    let figures = arguments.figures.clone();
    let settings = settings(scenarios, arguments)?;
    stop_on_signal(settings.stop.clone());
    if scenarios.interposer().is_none() {
        show::err(
            "Entropy and clock cannot be overridden here: what dependencies draw by themselves does not follow from \
             the seed.",
        );
    }
    let watcher = show::Watching::new(&settings);
    let (summary, failures) = super::run(scenarios, &settings, &Launch::with(&[]), &watcher)?;
    watcher.end();
    show::out(&summary.to_string());
    for failure in &failures {
        show::out(&format!("seed {}: {}\n", failure.plan.seed, failure.folder.display()));
    }
    if let Some(file) = figures {
        keep(&file, &settings, &summary, &failures)?;
    }
    Ok(summary.failed == 0)
}

fn settings(scenarios: &Scenarios, arguments: CampaignArguments) -> Result<Settings, Misuse> {
    let faults = scenarios.faults(&arguments.scenario, &arguments.faults)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let many = if arguments.time.is_some() || arguments.until_covered { u64::MAX } else { 1_000 };
    let (first, seeds) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.from, arguments.seeds.unwrap_or(many)),
    };
    Ok(Settings {
        scenario: arguments.scenario,
        options: Options { tier: arguments.tier, faults },
        first,
        seeds,
        time: arguments.time,
        until_covered: arguments.until_covered,
        jobs: arguments.jobs.map_or(processors, usize::from),
        failures_max: arguments.failures.into(),
        shrinks_max: arguments.shrinks,
        run_within: arguments.run_within,
        out: arguments.out,
        stop: Arc::new(AtomicBool::new(false)),
    })
}

/// Sets this at the first Ctrl-C or SIGTERM, and ends the program at the second.
#[allow(clippy::disallowed_methods, reason = "this thread only waits for signals")]
fn stop_on_signal(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while signal().await.is_ok() {
                if stop.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
                show::err("It ends when the runs under way have ended; Ctrl-C again ends it now.");
            }
        });
    });
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[allow(clippy::disallowed_methods, reason = "when a campaign ended is no part of any run")]
fn unix_secs() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Appends a line to the file of figures.
fn keep(
    file: &Path,
    settings: &Settings,
    summary: &Summary,
    failures: &[Failure],
) -> Result<(), Misuse> {
    let figures = Figures {
        at_secs: unix_secs(),
        scenario: &settings.scenario,
        tier: settings.options.tier,
        faults: &settings.options.faults,
        jobs: settings.jobs,
        first_seed: settings.first,
        seeds_per_second: summary.seeds_per_second(),
        failed_seeds: failures.iter().map(|failure| failure.plan.seed).collect(),
        summary,
    };
    let line = serde_json::to_string(&figures)
        .map_err(|error| Misuse::NoPlan("the figures".to_owned(), error))?;
    let open = std::fs::OpenOptions::new().create(true).append(true).open(file);
    open.and_then(|mut file| writeln!(file, "{line}")).map_err(Misuse::of(file))
}

/// Whether the plan passes.
fn replay(scenarios: &Scenarios, path: &Path, out: Option<&Path>) -> Result<bool, Misuse> {
    let plan = Plan::read(path)?;
    let detail = out.map_or(Detail::Nothing, |_| Detail::Everything);
    let ran = scenarios.run_here(&plan, detail)?;
    let mut summary = Summary::default();
    summary.add(&ran.outcome, ran.failed.is_some());
    show::out(&format!("{} on {}\n", plan.name(), plan.tier));
    show::out(&show::seen(&summary));
    if let Some(folder) = out {
        failure::write_down(scenarios, &plan, &ran, folder)?;
        show::out(&format!("written down in {}\n", folder.display()));
    }
    match &ran.failed {
        None => show::out("It passes.\n"),
        Some(why) => show::out(&format!("It fails:\n{why}\n")),
    }
    Ok(ran.failed.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("8h"), Ok(Duration::from_secs(28_800)));
        for wrong in ["", "m", "5d", "-1s", "1.5h", "99999999999999999999"] {
            assert!(duration(wrong).is_err(), "{wrong} is taken");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
