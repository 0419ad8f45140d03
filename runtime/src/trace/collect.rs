//! From every node's buffer to one log in the store.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Step, Tracer};
use crate::{
    Env, message,
    rpc::{Address, Cx, Fault, Rpc, Service, TraceContext},
    store::{Store, StoreError},
};

/// The topic of the collectors, one on each control node.
pub const TOPIC: &str = "telemetry";

/// The log's name below the store handle's prefix.
const LOG: &str = "telemetry/steps";

/// How many steps go in one message: some 200 bytes each, well below a frame's limit.
const BATCH_MAX: usize = 512;

/// How long steps wait for company.
const GATHER: Duration = Duration::from_millis(20);

/// How many batches the log keeps; older ones are trimmed.
const BATCHES_KEPT: usize = 20_000;

/// How many batches arrive between two trims.
const TRIM_EVERY: usize = 1_000;

/// "This happened here." Repeated to the same collector until it is taken, and taken once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ingest(pub Vec<Step>);
message!(call Ingest = "telemetry" / "ingest", Deduplicated,
    from ["control", "compute"], to ["control"], reply ());

/// Sends a node's steps to any collector, for ever. Steps whose collector stays silent are lost: a trace
/// tells a story and decides nothing.
pub async fn ship_forever(tracer: Tracer, rpc: Rpc) {
    let cx = Cx::new(TOPIC, TraceContext::default());
    loop {
        tracer.ready().await;
        rpc.env().sleep(GATHER).await;
        loop {
            let steps = tracer.take(BATCH_MAX);
            if steps.is_empty() {
                break;
            }
            if let Err(error) = rpc.call(&Address::any(), &Ingest(steps), &cx).await {
                tracing::debug!(%error, "steps were lost");
            }
        }
    }
}

/// Keeps steps; cheap to clone.
#[derive(Clone)]
pub struct Collector {
    store: Store,
    arrived: Arc<Mutex<Window>>,
}

#[derive(Default)]
struct Window {
    since_trim: usize,
    sequences: std::collections::VecDeque<u64>,
}

impl Collector {
    /// A collector that writes to this store, below `telemetry/`.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.scoped("telemetry/"), arrived: Arc::default() }
    }

    /// The service to run.
    #[must_use]
    pub fn service(&self) -> Service {
        let collector = self.clone();
        Service::new(TOPIC).call(move |_, Ingest(steps): Ingest| {
            let collector = collector.clone();
            async move { collector.keep(&steps).await }
        })
    }

    async fn keep(&self, steps: &[Step]) -> Result<(), Fault> {
        let batch =
            serde_json::to_vec(steps).map_err(|error| Fault::internal(error.to_string()))?;
        let mut txn = self.store.begin().await?;
        txn.relax();
        txn.append(LOG, batch.into())?;
        let sequence = txn.commit().await?;
        let trim = self.arrived.lock().note(sequence);
        if let Some(up_to) = trim {
            self.store.trim_log(LOG, up_to).await?;
        }
        Ok(())
    }

    /// Every step of these requests that is kept, by time.
    pub async fn steps(&self, traces: &[[u8; 16]]) -> Result<Vec<Step>, StoreError> {
        let mut found = Vec::new();
        let mut after = 0;
        loop {
            let entries = self.store.log_read(LOG, after, BATCHES_KEPT).await?;
            let Some(last) = entries.last() else { break };
            after = last.sequence;
            for entry in &entries {
                let steps: Vec<Step> = serde_json::from_slice(&entry.value).unwrap_or_default();
                found.extend(steps.into_iter().filter(|step| traces.contains(&step.trace_id)));
            }
        }
        found.sort_by_key(|step| step.at);
        Ok(found)
    }
}

impl Window {
    /// Counts a batch in; says up to where the log may be trimmed, now and then.
    fn note(&mut self, sequence: u64) -> Option<u64> {
        self.sequences.push_back(sequence);
        self.since_trim += 1;
        let surplus = self.sequences.len().checked_sub(BATCHES_KEPT)?;
        if self.since_trim < TRIM_EVERY || surplus == 0 {
            return None;
        }
        self.since_trim = 0;
        self.sequences.drain(..surplus).next_back()
    }
}

/// Starts shipping the steps of a node.
pub fn start(env: &Env, tracer: Tracer, rpc: Rpc) {
    env.spawn("telemetry", ship_forever(tracer, rpc));
}
