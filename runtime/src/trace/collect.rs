//! From every node's buffer to one log in the store.
//!
//! Owns the log: what is appended to it, and how much of it is kept. What a collector knows of it beside is read from
//! the log itself, so that a restart loses nothing and collectors on one store see each other's steps.

mod ledger;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::ledger::{BYTES_KEPT, Ledger};
use super::{Step, Tracer};
use crate::{
    Env, message, protocol,
    rpc::{Cx, Fault, Rpc, Service, TraceContext},
    store::{Store, StoreError},
};

/// The topic of the collectors, one on each control node.
pub const TOPIC: &str = "telemetry";

/// What collectors understand.
pub struct Telemetry;
protocol!(Telemetry = TOPIC);

/// The log's name below the store handle's prefix.
const LOG: &str = "telemetry/steps";

/// How many steps go in one message: some 200 bytes each, well below a frame's limit.
const BATCH_MAX: usize = 512;

/// How long steps wait for company.
const GATHER: Duration = Duration::from_millis(20);

/// How many batches arrive between two trims.
const TRIM_EVERY: usize = 1_000;

/// How many bytes arrive between two trims: little beside what is kept.
const TRIM_EVERY_BYTES: usize = BYTES_KEPT / 16;

/// How many batches are looked at in one go, before others have their turn.
const LOOKED_AT_ONCE: usize = 64;

/// "This happened here." Repeated to the same collector until it is taken, and taken once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ingest(pub Vec<Step>);
message!(call Ingest = Telemetry / "ingest", Deduplicated,
    from ["control", "compute"], to ["control"], reply ());

/// Sends a node's steps to any collector, for ever. Steps whose collector stays silent are lost: a trace
/// tells a story and decides nothing.
pub async fn ship_forever(tracer: Tracer, rpc: Rpc) {
    let (collector, cx) = (rpc.client::<Telemetry>(), Cx::new(TOPIC, TraceContext::default()));
    loop {
        tracer.ready().await;
        rpc.env().sleep(GATHER).await;
        loop {
            let steps = tracer.take(BATCH_MAX);
            if steps.is_empty() {
                break;
            }
            if let Err(error) = collector.call(&Ingest(steps), &cx).await {
                tracing::debug!(%error, "steps were lost");
            }
        }
    }
}

/// Keeps steps; cheap to clone.
#[derive(Clone)]
pub struct Collector {
    store: Store,
    arrived: Arc<Mutex<Arrived>>,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
}

/// What has arrived since the last trim.
struct Arrived {
    batches: usize,
    bytes: usize,
}

impl Collector {
    /// A collector that writes to this store, below `telemetry/`.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        // The log may be over its limits already: it is looked at when the first batch arrives.
        let arrived = Arc::new(Mutex::new(Arrived { batches: TRIM_EVERY, bytes: 0 }));
        Self { store: store.scoped("telemetry/"), arrived, ledger: Arc::default() }
    }

    /// The service to run.
    #[must_use]
    pub fn service(&self) -> Service {
        let collector = self.clone();
        let handlers = Service::of::<Telemetry>().call(move |_, Ingest(steps): Ingest| {
            let collector = collector.clone();
            async move { collector.keep(&steps).await }
        });
        handlers.into()
    }

    async fn keep(&self, steps: &[Step]) -> Result<(), Fault> {
        let batch =
            serde_json::to_vec(steps).map_err(|error| Fault::internal(error.to_string()))?;
        let bytes = batch.len();
        let mut txn = self.store.begin().await?;
        txn.relax();
        txn.append(LOG, batch.into())?;
        txn.commit().await?;
        if self.arrived.lock().note(bytes)
            && let Err(error) = self.trim().await
        {
            tracing::warn!(%error, "the log of steps is not trimmed");
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), StoreError> {
        let mut ledger = self.ledger.lock().await;
        self.catch_up(&mut ledger).await?;
        match ledger.surplus() {
            Some(up_to) => self.store.trim_log(LOG, up_to).await,
            None => Ok(()),
        }
    }

    /// Reads what the log has that the ledger does not know: all of it at first, and what is new from then on.
    async fn catch_up(&self, ledger: &mut Ledger) -> Result<(), StoreError> {
        loop {
            let entries = self.store.log_read(LOG, ledger.seen(), LOOKED_AT_ONCE).await?;
            if entries.is_empty() {
                return Ok(());
            }
            entries.iter().for_each(|entry| ledger.add(entry));
        }
    }

    /// Every step of these requests that is kept, by time. Reads only the batches that hold them.
    pub async fn steps(&self, traces: &[[u8; 16]]) -> Result<Vec<Step>, StoreError> {
        let batches = {
            let mut ledger = self.ledger.lock().await;
            self.catch_up(&mut ledger).await?;
            ledger.batches_of(traces)
        };
        let mut found = Vec::new();
        for sequence in batches {
            let entries = self.store.log_read(LOG, sequence - 1, 1).await?;
            // It may have been trimmed by now.
            for entry in entries.iter().filter(|entry| entry.sequence == sequence) {
                let steps: Vec<Step> = serde_json::from_slice(&entry.value).unwrap_or_default();
                found.extend(steps.into_iter().filter(|step| traces.contains(&step.trace_id)));
            }
        }
        found.sort_by_key(|step| step.at);
        Ok(found)
    }
}

impl Arrived {
    /// Counts a batch in; says whether it is time to trim.
    fn note(&mut self, bytes: usize) -> bool {
        self.batches += 1;
        self.bytes += bytes;
        let due = self.batches >= TRIM_EVERY || self.bytes >= TRIM_EVERY_BYTES;
        if due {
            *self = Self { batches: 0, bytes: 0 };
        }
        due
    }
}

/// Starts shipping the steps of a node.
pub fn start(env: &Env, tracer: Tracer, rpc: Rpc) {
    env.spawn("telemetry", ship_forever(tracer, rpc));
}

#[cfg(test)]
mod tests;
