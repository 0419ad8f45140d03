//! The logs of a few seeds, for whoever doubts that a seed is a run.
//!
//! Owns the files, one for each scenario, tier and seed, and their comparison with those of another process: best one
//! that ran at another time, since a clock that leaks in shows only then.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{super::failure::Plan, Misuse, Options, Scenarios, show, tier};
use crate::{
    record::{Detail, difference},
    world::Tier,
};

/// Which seeds, and where their logs are.
#[derive(Args)]
pub(super) struct Arguments {
    /// What to run
    #[arg(long, default_value = "life")]
    scenario: String,
    /// How many seeds of each tier
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    seeds: u64,
    /// The tiers, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "1,2,3", value_parser = tier)]
    tier: Vec<Tier>,
    /// Write the logs into this folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Compare them with those in this folder
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

/// Whether each log is the same as the other process's, where there is one to compare it with.
pub(super) fn write(scenarios: &Scenarios, arguments: &Arguments) -> Result<bool, Misuse> {
    let faults = scenarios.faults(&arguments.scenario, &["all".to_owned()])?;
    fs::create_dir_all(&arguments.out).map_err(Misuse::of(&arguments.out))?;
    let mut all_same = true;
    for tier in &arguments.tier {
        let options = Options { tier: *tier, faults: faults.clone() };
        for seed in 1..=arguments.seeds {
            let plan = scenarios.plan(&arguments.scenario, seed, &options)?;
            all_same &= of_a_seed(scenarios, arguments, &plan)?;
        }
    }
    Ok(all_same)
}

fn of_a_seed(scenarios: &Scenarios, arguments: &Arguments, plan: &Plan) -> Result<bool, Misuse> {
    let lines = scenarios.run_here(plan, Detail::Events)?.recorder.lines();
    let name = format!("{}-{:?}-{}.log", plan.scenario, plan.tier, plan.seed).to_lowercase();
    let path = arguments.out.join(&name);
    fs::write(&path, lines.join("\n")).map_err(Misuse::of(&path))?;
    let Some(folder) = &arguments.against else {
        show::out(&format!("{name}: {} lines\n", lines.len()));
        return Ok(true);
    };
    let path = folder.join(&name);
    let other = fs::read_to_string(&path).map_err(Misuse::of(&path))?;
    let other: Vec<String> = other.lines().map(str::to_owned).collect();
    let difference = difference(&other, &lines);
    match &difference {
        None => show::out(&format!("{name}: {} lines, all the same\n", lines.len())),
        Some(difference) => show::out(&format!("{name}: {difference}\n")),
    }
    Ok(difference.is_none())
}
