//! A measurement in a process of its own, which says where it is in lines; their times are taken by who reads them.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::{cloud, toy, turmoil_tcp};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a process of its own measures.
#[derive(Subcommand)]
pub(crate) enum Job {
    /// A cloud of so many hosts
    Cloud(cloud::Cloud),
    /// Calls between nodes of our own on a tier
    Toy(toy::Toy),
    /// Calls over turmoil's TCP
    TurmoilTcp,
}

impl Job {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Cloud(cloud) => cloud.run(),
            Self::Toy(toy) => toy.run(),
            Self::TurmoilTcp => turmoil_tcp::run(),
        }
    }
}

/// A line: where the measurement is.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// What is reached.
    at: String,
    /// Simulated seconds since the start.
    simulated_s: f64,
    /// What is counted so far.
    count: u64,
    /// Resident memory.
    bytes: u64,
}

/// Says what is reached.
pub(crate) fn say(at: &str, simulated: Duration, count: u64) -> Result<(), Failure> {
    let line = Line {
        at: at.to_owned(),
        simulated_s: simulated.as_secs_f64(),
        count,
        bytes: resident_bytes()?,
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&line)?)?;
    out.flush()?;
    Ok(())
}

/// Resident memory of this process.
fn resident_bytes() -> Result<u64, Failure> {
    const PAGE_BYTES: u64 = 4_096;
    let said = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = said.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * PAGE_BYTES)
}

/// A point that a measurement has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    simulated_s: f64,
    count: u64,
    pub(crate) bytes: u64,
}

/// What passed between two points.
pub(crate) struct Passed {
    pub(crate) real_s: f64,
    pub(crate) simulated_s: f64,
    pub(crate) count: f64,
}

/// The points of a measurement, by name.
pub(crate) struct Marks(BTreeMap<String, Mark>);

impl Marks {
    pub(crate) fn at(&self, name: &str) -> Result<Mark, Failure> {
        self.0.get(name).copied().ok_or_else(|| format!("it did not come to {name}").into())
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "counts are far below what a float holds exactly"
    )]
    pub(crate) fn between(&self, one: &str, other: &str) -> Result<Passed, Failure> {
        let (from, to) = (self.at(one)?, self.at(other)?);
        Ok(Passed {
            real_s: (to.at - from.at).as_secs_f64(),
            simulated_s: to.simulated_s - from.simulated_s,
            count: to.count.saturating_sub(from.count) as f64,
        })
    }
}

/// Measures in a process of its own, of this program.
pub(crate) fn measure(arguments: &[&str]) -> Result<Marks, Failure> {
    measure_by(&std::env::current_exe()?, arguments)
}

/// Measures by another program that writes the same lines.
#[allow(clippy::disallowed_methods, reason = "real time is what is measured")]
pub(crate) fn measure_by(program: &Path, arguments: &[&str]) -> Result<Marks, Failure> {
    let mut command = Command::new(program);
    let child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("{}: {error}", program.display()))?;
    let mut marks = BTreeMap::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let Ok(Line { at, simulated_s, count, bytes }) = serde_json::from_str(&line?) else {
            continue;
        };
        marks.insert(at, Mark { at: Instant::now(), simulated_s, count, bytes });
    }
    let ended = child.wait()?;
    if ended.success() { Ok(Marks(marks)) } else { Err(format!("it ended with {ended}").into()) }
}
