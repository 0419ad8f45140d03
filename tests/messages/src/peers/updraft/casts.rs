//! Casts as fast as they are taken, counted where they arrive.

use std::time::Duration;

use bytes::Bytes;
use updraft_bench_load::{Failure, Load, Sample, cpu};
use updraft_runtime::{
    Env,
    rpc::{CallError, Refusal},
};

use super::{
    Client,
    messages::{Note, Notes},
};

/// Casts between two looks at the clock and at whatever else the node does.
const TURN: u32 = 64;

/// The pause when the queue to the server is full.
const FULL: Duration = Duration::from_micros(500);

/// The load runs for so long before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

pub(super) async fn send(client: &Client, load: &Load, others: &[i32]) -> Result<String, Failure> {
    let env = client.node.rpc().env().clone();
    let body = Bytes::from(vec![7; load.body_bytes]);
    let own = i32::try_from(std::process::id())?;
    let all = || others.iter().map(|process| cpu(*process)).sum::<Result<Duration, _>>();
    cast_for(&env, client, &body, WARM_UP).await?;
    let (begun, cpu_before, others_before) = (env.now(), cpu(own)?, all()?);
    let before = notes(client).await?;
    cast_for(&env, client, &body, Duration::from_secs_f64(load.seconds)).await?;
    let arrived = (notes(client).await? - before) as f64;
    let seconds = (env.now() - begun).as_secs_f64();
    let each_us = |used: Duration| used.as_secs_f64() * 1e6 / arrived;
    Ok(serde_json::to_string(&Sample {
        per_second: arrived / seconds,
        latency: None,
        caller_cpu_us: each_us(cpu(own)? - cpu_before),
        other_cpu_us: each_us(all()? - others_before),
    })?)
}

async fn notes(client: &Client) -> Result<u64, Failure> {
    Ok(client.node.rpc().call(&client.to, &Notes, &client.cx()).await?)
}

async fn cast_for(
    env: &Env,
    client: &Client,
    body: &Bytes,
    duration: Duration,
) -> Result<(), Failure> {
    let until = env.now() + duration;
    let (note, cx) = (Note(body.clone()), client.cx());
    while env.now() < until {
        for _ in 0..TURN {
            match client.node.rpc().cast(&client.to, &note, &cx) {
                Ok(()) => {}
                Err(CallError::Refused { refusal: Refusal::Busy(_), .. }) => {
                    env.sleep(FULL).await;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
