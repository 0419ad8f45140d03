//! A work queue: jobs go to whichever of three workers has the least to do, one worker dies, and no job is lost.
//!
//! Each job is a call that may be repeated (`Fenced`): its number makes doing it again harmless, so the runtime asks
//! another worker when one falls silent. `--real`, `--quic` and `--seed NUMBER` choose where it runs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    message, protocol,
    rpc::{CallError, Cx, Rpc, Service, TraceContext},
};

/// What workers do.
struct Work;
protocol!(Work = "work");

/// "Do job `number`."
#[derive(Serialize, Deserialize)]
struct Job {
    number: u64,
}
message!(call Job = Work / "job", Fenced, from ["control"], to ["worker"], reply Done, deadline_ms 20_000);

/// What came of a job, and who did it.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    square: u64,
    worker: String,
}

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
const JOBS: u64 = 60;

async fn worker(node: NodeContext) {
    let (name, env) = (node.node().to_string(), node.env.clone());
    let handlers = Service::of::<Work>().call(move |_, Job { number }| {
        let (worker, env) = (name.clone(), env.clone());
        async move {
            env.sleep(Duration::from_millis(20 + number % 7 * 10)).await;
            Ok(Done { square: number * number, worker })
        }
    });
    node.serve(&["producer"], |_| vec![handlers.into()]).await;
}

async fn do_all(rpc: Rpc, ended: Arc<AtomicU64>) -> Vec<Result<Done, CallError>> {
    rpc.directory().wait_for::<Job>(WORKERS.len()).await;
    let (workers, cx) = (rpc.client::<Work>(), Cx::new("producer", TraceContext::default()));
    let jobs = (0..JOBS).map(|number| {
        let (env, workers) = (rpc.env().clone(), workers.clone());
        let (cx, ended) = (cx.clone(), ended.clone());
        async move {
            env.sleep(Duration::from_millis(number * 10)).await;
            let done = workers.call(&Job { number }, &cx).await;
            ended.fetch_add(1, Ordering::Relaxed);
            done
        }
    });
    futures_util::future::join_all(jobs).await
}

fn main() {
    let mut world = World::from_args();
    let producer = world.node("producer", &["control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    });
    let [unlucky, ..] = WORKERS.map(|name| world.node(name, &["worker"], worker));
    let minute = Duration::from_secs(60);
    world.run_until(minute, |world| world.handle::<Rpc>(&producer).is_some());
    let rpc: Rpc = world.handle(&producer).expect("the producer runs");
    let ended = Arc::new(AtomicU64::new(0));
    let mut all = world.begin(&producer, do_all(rpc, ended.clone())).expect("the producer runs");
    // In the middle of the work.
    world.run_until(minute, |_| ended.load(Ordering::Relaxed) >= JOBS / 4);
    world.crash(&unlucky);
    let mut done = None;
    world.run_until(minute, |_| {
        done = all.try_recv().ok();
        done.is_some()
    });
    let mut by_worker = BTreeMap::<String, u64>::new();
    for (number, outcome) in (0..).zip(done.expect("it ends")) {
        let done = outcome.expect("every job is done");
        assert_eq!(done.square, number * number);
        *by_worker.entry(done.worker).or_default() += 1;
    }
    assert_eq!(by_worker.values().sum::<u64>(), JOBS);
    println!("{JOBS} jobs, one worker killed, none lost");
    for (worker, jobs) in by_worker {
        println!("  {worker} did {jobs}");
    }
}
