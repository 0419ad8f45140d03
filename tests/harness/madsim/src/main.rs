//! The toy of `bench-harness` in madsim: five nodes, sixteen callers on each, who call the others in turn with 128 bytes
//! that come back, over links of one to five milliseconds.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use madsim::{
    Config, Request,
    net::Endpoint,
    runtime::{Handle, Runtime},
    task, time,
};
use serde::{Deserialize, Serialize};

const NODES: usize = 5;
const CALLERS: usize = 16;
const BYTES: usize = 128;
const SETTLE: Duration = Duration::from_secs(2);
const LASTS: Duration = Duration::from_secs(20);

/// "Say it again."
#[derive(Serialize, Deserialize, Request)]
#[rtype("Vec<u8>")]
struct Again(Vec<u8>);

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(number + 1).unwrap_or_default()], 7_000))
}

fn main() {
    let mut config = Config::default();
    config.net.send_latency = Duration::from_millis(1)..Duration::from_millis(5);
    let calls = Arc::new(AtomicU64::new(0));
    Runtime::with_seed_and_config(1, config).block_on(play(calls));
}

async fn play(calls: Arc<AtomicU64>) {
    for number in 0..NODES {
        let node = Handle::current().create_node().ip(address(number).ip()).build();
        let calls = calls.clone();
        node.spawn(async move { serve(number, calls).await });
    }
    time::sleep(SETTLE).await;
    say("begin", SETTLE, &calls);
    time::sleep(LASTS).await;
    say("end", SETTLE + LASTS, &calls);
}

async fn serve(number: usize, calls: Arc<AtomicU64>) {
    let endpoint = Arc::new(Endpoint::bind(address(number)).await.expect("an address of its own"));
    endpoint.add_rpc_handler(|Again(bytes)| async move { bytes });
    // Everybody listens by then.
    time::sleep(SETTLE / 2).await;
    for caller in 0..CALLERS {
        task::spawn(call(endpoint.clone(), number + caller, number, calls.clone()));
    }
    std::future::pending::<()>().await;
}

/// Calls the others in turn.
async fn call(endpoint: Arc<Endpoint>, mut turn: usize, own: usize, calls: Arc<AtomicU64>) {
    loop {
        turn += 1;
        if turn % NODES == own {
            continue;
        }
        if endpoint.call(address(turn % NODES), Again(vec![7; BYTES])).await.is_ok() {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A line for who measures.
fn say(at: &str, simulated: Duration, calls: &AtomicU64) {
    let (simulated, count) = (simulated.as_secs_f64(), calls.load(Ordering::Relaxed));
    let mut out = std::io::stdout().lock();
    let line = format!(
        "{{\"at\":\"{at}\",\"simulated_s\":{simulated:.3},\"count\":{count},\"bytes\":0}}\n"
    );
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("somebody reads it");
}
