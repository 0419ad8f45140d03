//! `bench-harness`: how fast the simulator is, and how that grows with the cloud in it, in one table.
//!
//! Owns the run: what is measured, in which order, and how it is told. Each measurement is a process of its own, this
//! program started again, so that its memory is its own; what passes in real time is taken by this one, from the lines that
//! the other writes. A measurement that cannot be made has a row that says why.

mod child;
mod cloud;
mod plot;
mod seeds;
mod table;
mod toy;
mod turmoil_tcp;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser};

use crate::{
    child::{Failure, Job},
    table::Row,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure how fast the simulator is, and print a table
#[derive(Parser)]
#[command(name = "bench-harness", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    job: Option<Job>,
    #[command(flatten)]
    options: Options,
}

/// How to measure.
#[derive(Args)]
struct Options {
    /// Numbers of hosts on tier 1
    #[arg(long, value_delimiter = ',', default_values_t = [5, 50, 250, 1_000, 10_000])]
    hosts: Vec<usize>,
    /// Numbers of hosts on tier 2
    #[arg(long, value_delimiter = ',', default_values_t = [5, 50, 250])]
    quic_hosts: Vec<usize>,
    /// How many servers are placed in each cloud of tier 1, if its hosts have room for them
    #[arg(long, default_value_t = 1_000)]
    servers: usize,
    /// How long seeds are run on each tier, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many seeds at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Where the table goes as JSON
    #[arg(long, default_value = "target/bench-harness.json")]
    json: PathBuf,
    /// A folder for plots of how the figures grow
    #[arg(long)]
    plots: Option<PathBuf>,
    /// The program that measures madsim, which is built with a flag of its own
    #[arg(long, default_value = "target/bench-madsim/release/bench-madsim")]
    madsim: PathBuf,
}

fn main() -> ExitCode {
    if seeds::served() {
        return ExitCode::SUCCESS;
    }
    let Arguments { job, options } = Arguments::parse();
    let done = match job {
        Some(job) => job.run(),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Who closes it does not want to be told.
            let _ = writeln!(io::stderr().lock(), "bench-harness: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Failure> {
    let rows = rows(options);
    std::fs::write(&options.json, serde_json::to_vec_pretty(&rows)?)
        .map_err(|error| format!("{} cannot be written: {error}", options.json.display()))?;
    if let Some(folder) = &options.plots {
        plot::all(&rows, folder)?;
    }
    writeln!(io::stdout().lock(), "{}", table::text(&rows))?;
    Ok(())
}

fn rows(options: &Options) -> Vec<Row> {
    let time = Duration::from_secs(options.seconds);
    let mut rows = vec![seeds::memory(time, options.jobs), seeds::quic(time, options.jobs)];
    for hosts in &options.hosts {
        rows.push(cloud::row(1, *hosts, options.servers));
    }
    for hosts in &options.quic_hosts {
        rows.push(cloud::row(2, *hosts, 0));
    }
    rows.extend(toy::rows(&options.madsim));
    rows
}
