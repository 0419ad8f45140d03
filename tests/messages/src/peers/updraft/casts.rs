//! Casts as fast as they are taken, counted where they arrive.

use std::time::Duration;

use bytes::Bytes;
use updraft_bench_load::{Costs, Failure, Load};
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
    let env = client.rpc().env().clone();
    let body = Bytes::from(vec![7; load.body_bytes]);
    cast_for(&env, client, &body, WARM_UP).await?;
    let (begun, costs) = (env.now(), Costs::since_now(others));
    let before = notes(client).await?;
    cast_for(&env, client, &body, Duration::from_secs_f64(load.seconds)).await?;
    let arrived = (notes(client).await? - before) as f64;
    let sample = costs.sample(arrived, env.now() - begun, None);
    Ok(serde_json::to_string(&sample)?)
}

async fn notes(client: &Client) -> Result<u64, Failure> {
    Ok(client.server.call(&Notes, &client.cx()).await?)
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
            match client.server.cast(&note, &cx) {
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
