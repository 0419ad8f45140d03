//! The rounds: every case over every peer in turn, again and again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use updraft_bench_load::{Drive, Failure, Idle, Job, Sample, Serve, SetUp};
use updraft_runtime::Env;

use crate::{
    Options,
    broker::Broker,
    case::{self, Case, PEERS},
    process::{self, Server},
    table::{Column, Row},
};

/// A peer that runs, or why it does not.
struct Peer {
    program: PathBuf,
    running: Result<Running, String>,
}

struct Running {
    broker: Option<Broker>,
    server: Server,
}

impl Running {
    async fn end(mut self) -> Result<(), Failure> {
        self.server.end().await?;
        match &mut self.broker {
            Some(broker) => broker.end().await,
            None => Ok(()),
        }
    }

    /// Every process on the other side of the one that measures.
    fn processes(&self) -> Result<Vec<i32>, Failure> {
        let broker = self.broker.as_ref().map(Broker::processes).transpose()?;
        Ok([vec![self.server.id()?], broker.unwrap_or_default()].concat())
    }
}

/// What was seen of one case over one peer, round by round.
type Seen = Result<Vec<BTreeMap<Column, f64>>, String>;

/// Measures everything.
pub(crate) async fn all(options: &Options) -> Result<Vec<Row>, Failure> {
    let env = Env::real();
    let folder = tempfile::tempdir()?;
    let cases = case::all(options);
    let rounds = if options.quick { 1 } else { options.rounds };
    let progress = progress(&cases, rounds)?;
    let peers = start(&env, options, folder.path(), &progress).await?;
    let mut seen: Vec<BTreeMap<&str, Seen>> = vec![BTreeMap::new(); cases.len()];
    for round in 0..rounds {
        for (case, seen) in cases.iter().zip(&mut seen).filter(|(case, _)| round == 0 || !case.once)
        {
            for name in &case.peers {
                progress.set_message(format!("{} over {name}", case.name));
                let figures = one(&env, name, &peers, case, folder.path()).await;
                add(seen.entry(name).or_insert_with(|| Ok(Vec::new())), figures);
                progress.inc(1);
            }
        }
    }
    for running in peers.into_values().filter_map(|peer| peer.running.ok()) {
        running.end().await?;
    }
    progress.finish_and_clear();
    let rows = cases.iter().zip(seen).flat_map(|(case, seen)| rows(case, seen));
    Ok(rows.collect())
}

fn progress(cases: &[Case], rounds: u32) -> Result<ProgressBar, Failure> {
    let times = |case: &Case| if case.once { 1 } else { u64::from(rounds) };
    let steps = cases.iter().map(|case| case.peers.len() as u64 * times(case)).sum();
    let bar = ProgressBar::new(steps);
    bar.set_style(ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg} ({elapsed})")?);
    Ok(bar)
}

async fn start(
    env: &Env,
    options: &Options,
    folder: &Path,
    progress: &ProgressBar,
) -> Result<BTreeMap<&'static str, Peer>, Failure> {
    let mut peers = BTreeMap::new();
    for name in PEERS.into_iter().filter(|name| options.wants(name)) {
        progress.set_message(format!("starting {name}"));
        let program = match name {
            "ractor-cluster" => options.ractor_cluster.clone(),
            _ => process::this_program()?,
        };
        let running = start_one(env, name, &program, folder).await;
        peers.insert(name, Peer { program, running: running.map_err(|error| error.to_string()) });
    }
    Ok(peers)
}

async fn start_one(
    env: &Env,
    name: &str,
    program: &Path,
    folder: &Path,
) -> Result<Running, Failure> {
    let broker = Broker::of(env, name, folder).await?;
    let order = Serve {
        peer: name.to_owned(),
        broker: broker.as_ref().map(|broker| broker.address.clone()),
        folder: folder.display().to_string(),
    };
    let server = Server::start(env, program, &order).await?;
    Ok(Running { broker, server })
}

async fn one(
    env: &Env,
    name: &str,
    peers: &BTreeMap<&str, Peer>,
    case: &Case,
    folder: &Path,
) -> Result<BTreeMap<Column, f64>, Failure> {
    let Peer { program, running } = peers.get(name).ok_or("it was not started")?;
    let running = running.as_ref().map_err(Clone::clone)?;
    if case.alone && running.broker.is_none() {
        // What a server leaves in its folder for its callers must not reach those of another.
        let folder = tempfile::tempdir_in(folder)?;
        let running = start_one(env, name, program, folder.path()).await?;
        let seen = with(env, name, program, &running, case, folder.path()).await;
        running.end().await?;
        return seen;
    }
    with(env, name, program, running, case, folder).await
}

async fn with(
    env: &Env,
    name: &str,
    program: &Path,
    running: &Running,
    case: &Case,
    folder: &Path,
) -> Result<BTreeMap<Column, f64>, Failure> {
    let order = Drive {
        peer: name.to_owned(),
        address: running.server.address.clone(),
        folder: folder.display().to_string(),
        processes: running.processes()?,
        job: case.job.clone(),
    };
    figures(&case.job, &process::job(env, program, &order).await?)
}

/// What a measuring process has said, by column.
fn figures(job: &Job, said: &str) -> Result<BTreeMap<Column, f64>, Failure> {
    Ok(match job {
        Job::Load(_) | Job::Casts(_) | Job::Bulk { .. } => {
            let sample: Sample = serde_json::from_str(said)?;
            let mut figures = BTreeMap::from([
                (Column::PerSecond, sample.per_second),
                (Column::CallerCpuUs, sample.caller_cpu_us),
                (Column::CpuUs, sample.cpu_us()),
            ]);
            if let Some(latency) = sample.latency {
                figures.insert(Column::P50Us, latency.p50_us);
                figures.insert(Column::P99Us, latency.p99_us);
                figures.insert(Column::P999Us, latency.p999_us);
            }
            figures
        }
        Job::SetUp { .. } => {
            let set_up: SetUp = serde_json::from_str(said)?;
            [(Column::P50Us, set_up.p50_us), (Column::P99Us, set_up.p99_us)].into()
        }
        Job::Idle { .. } | Job::Actors { .. } => {
            let idle: Idle = serde_json::from_str(said)?;
            let own = idle.maker_bytes.map(|bytes| (Column::CallerBytes, bytes));
            own.into_iter().chain([(Column::Bytes, idle.bytes)]).collect()
        }
    })
}

/// One round more; a peer that has failed once has failed.
fn add(seen: &mut Seen, figures: Result<BTreeMap<Column, f64>, Failure>) {
    match (seen.as_mut(), figures) {
        (Ok(rounds), Ok(figures)) => rounds.push(figures),
        (Ok(_), Err(error)) => *seen = Err(error.to_string()),
        (Err(_), _) => {}
    }
}

fn rows(case: &Case, mut seen: BTreeMap<&str, Seen>) -> Vec<Row> {
    let take = |peer: &&'static str| {
        let seen = seen.remove(peer).unwrap_or_else(|| Err("it was not measured".to_owned()));
        Row::new(&case.name, peer, seen)
    };
    let mut rows: Vec<Row> = case.peers.iter().map(take).collect();
    Row::compare(&mut rows);
    rows
}
