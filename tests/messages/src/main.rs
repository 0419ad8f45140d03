//! `bench-messages`: what a message costs over Updraft, beside what else carries messages, in one table.
//!
//! Owns the run: which peers, which cases, how often, and how it is told. Every figure comes from processes of their
//! own, which this program starts from itself and ends with itself, brokers included. Rounds are interleaved, so that
//! whatever else the machine does hits all peers alike; each figure is the median of its rounds. A peer that cannot
//! run has a row that says why.

mod aims;
mod broker;
mod bulk;
mod case;
mod peers;
mod process;
mod round;
mod table;
mod tasks;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser};
use mimalloc::MiMalloc;
use updraft_bench_load::{Failure, Main, block_on};

use crate::case::PEERS;

/// The allocator of the `updraft` command, for whoever is measured here.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measure what a message costs over Updraft and over what else carries messages, and print a table
#[derive(Parser)]
#[command(name = "bench-messages", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Main>,
    #[command(flatten)]
    options: Options,
}

/// How to measure.
#[derive(Args)]
struct Options {
    /// How long each load is measured in each round, in seconds
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often everything is measured; each figure is the median
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The peers to measure, with plain TCP always among them
    #[arg(long, value_delimiter = ',', value_parser = PEERS)]
    only: Vec<String>,
    /// One short round: whether everything runs, and not what it costs
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,
    /// Where the table goes as JSON
    #[arg(long, default_value = "target/bench-messages.json")]
    json: PathBuf,
    /// The program that measures ractor_cluster, which cannot be linked into this one
    #[arg(long, default_value = "target/ractor-cluster/release/bench-ractor-cluster")]
    ractor_cluster: PathBuf,
}

impl Options {
    fn wants(&self, peer: &str) -> bool {
        peer == case::FLOOR || self.only.is_empty() || self.only.iter().any(|name| name == peer)
    }
}

fn main() -> ExitCode {
    let Arguments { child, options } = Arguments::parse();
    if let Some(child) = child {
        return child.run(peers::serve, peers::ask);
    }
    match block_on(measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Who closes it does not want to be told.
            let _ = writeln!(io::stderr().lock(), "bench-messages: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<(), Failure> {
    let rows = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => return Err("it was told to end".into()),
        rows = round::all(options) => rows?,
    };
    let aims = aims::of(&rows);
    let json = serde_json::to_vec_pretty(&table::json(&rows, &aims))?;
    std::fs::write(&options.json, json)
        .map_err(|error| format!("{} cannot be written: {error}", options.json.display()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", table::text(&rows))?;
    aims.iter().try_for_each(|aim| writeln!(out, "{aim}"))?;
    Ok(())
}
