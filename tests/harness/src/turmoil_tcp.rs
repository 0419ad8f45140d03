//! The toy over turmoil's TCP, a connection for each caller and peer.
#![allow(
    clippy::disallowed_methods,
    reason = "this is turmoil alone, without an environment of ours"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    child::{Failure, say},
    toy::{BYTES, CALLERS, LASTS, NODES, SETTLE},
};

const PORT: u16 = 7_000;

fn name(number: usize) -> String {
    format!("node-{number}")
}

/// Measures, and says where it is.
pub(crate) fn run() -> Result<(), Failure> {
    let calls = Arc::new(AtomicU64::new(0));
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .tcp_capacity(1_024)
        .build();
    for number in 0..NODES {
        let calls = calls.clone();
        sim.host(name(number), move || node(number, calls.clone()));
    }
    while sim.elapsed() < SETTLE {
        step(&mut sim)?;
    }
    say("begin", sim.elapsed(), calls.load(Ordering::Relaxed))?;
    while sim.elapsed() < SETTLE + LASTS {
        step(&mut sim)?;
    }
    say("end", sim.elapsed(), calls.load(Ordering::Relaxed))
}

fn step(sim: &mut turmoil::Sim<'_>) -> Result<(), Failure> {
    // Its error may not be sent to other threads.
    sim.step().map(drop).map_err(|error| error.to_string().into())
}

async fn node(number: usize, calls: Arc<AtomicU64>) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    for caller in 0..CALLERS {
        tokio::spawn(call(number, number + caller, calls.clone()));
    }
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; BYTES];
    loop {
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&bytes).await?;
    }
}

/// Calls the others in turn.
async fn call(own: usize, mut turn: usize, calls: Arc<AtomicU64>) -> std::io::Result<()> {
    // Everybody listens by then.
    tokio::time::sleep(SETTLE / 2).await;
    let mut streams = Vec::new();
    for peer in (0..NODES).filter(|peer| *peer != own) {
        streams.push(TcpStream::connect((name(peer).as_str(), PORT)).await?);
    }
    let mut bytes = [7; BYTES];
    loop {
        turn += 1;
        let peers = streams.len();
        let stream = &mut streams[turn % peers];
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
}
