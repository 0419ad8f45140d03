//! One load, measured alike over whatever carries messages.
//!
//! Owns what a measuring process is told and what it answers, the load itself, and the reading of processors' time
//! and memory. Promises that every carrier is asked in the same way: so many tasks on one thread, each of which waits
//! for an answer before it asks again. Knows no carrier: it is given a [`Caller`].
#![allow(
    clippy::disallowed_methods,
    reason = "it measures the machine: its clocks and its tasks are what is meant"
)]

mod child;
mod load;
mod order;
mod process;

use std::future::Future;

use bytes::Bytes;

pub use child::{Main, announce, block_on, run};
pub use order::{Drive, Idle, Job, Latency, Load, Sample, Serve, SetUp};
pub use process::{Costs, resident_bytes};

/// An error for whoever reads the table.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Something that carries a body to another process and brings one of the same size back.
pub trait Caller: Clone + Send + Sync + 'static {
    /// One call, from the question to its answer.
    fn call(&self, body: Bytes) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}

/// Does one job with connections that `connect` makes; each has a number of its own.
pub async fn drive<C: Caller>(
    order: &Drive,
    connect: impl AsyncFn(u32) -> Result<C, Failure>,
) -> Result<String, Failure> {
    Ok(match &order.job {
        Job::Load(load) => {
            let caller = connect(0).await?;
            serde_json::to_string(&load::under_load(caller, load, &order.processes).await?)?
        }
        Job::SetUp { times } => serde_json::to_string(&load::set_up(*times, connect).await?)?,
        Job::Idle { count } => {
            serde_json::to_string(&load::idle(*count, &order.processes, connect).await?)?
        }
        other => return Err(format!("nobody does {other:?} over {}", order.peer).into()),
    })
}
