//! A volume node: makes on its host the files that are wanted of volumes and snapshots.
//!
//! Owns what it was told, in its node-local store, fenced by generation also after a restart; and the host's
//! files through its driver. Promises that a file is told of only when it is whole and durable, that it says
//! *gone* only when nothing is left, and that two operations on one file never overlap. Never makes a file anew
//! that it has told of before: a file that is lost is lost, and it says so. A file is served to one attachment at most, and
//! what serves it is looked after for as long as it is wanted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use updraft_protocol::volume::{FileSource, FileWant, NODE, Node, Realize, Realized, Room, Survey};
use updraft_runtime::{
    Env,
    rows::Engine,
    rpc::{Ctx, Fault, FaultKind, Rpc, Service, TraceContext},
    store::{Shape, Store, StoreError},
    trace::{Step, StepKind, Tracer},
    transport::NodeId,
};
use uuid::Uuid;

use crate::driver::VolumeDriver;

mod fetch;
mod plan;
mod rows;

pub use plan::{Effect, Files, Learned, Next, Progress, next};
pub use rows::{FileRow, Refusal};

/// Prefix of the node's rows in the node-local store.
const PREFIX: &str = "volume-node/";

/// How long a caller is kept waiting for a file: most are made within it; of others the caller asks again.
const WAIT_MAX: Duration = Duration::from_millis(900);

/// How often a waiting caller's file is looked at, should the watch miss it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a host's agents are made from.
#[derive(Clone)]
pub struct AgentContext {
    /// The door to the world.
    pub env: Env,
    /// For sending.
    pub rpc: Rpc,
    /// The node's own store.
    pub store: Store,
    /// Where steps are recorded.
    pub tracer: Tracer,
    /// This host.
    pub host: NodeId,
}

/// The volume service's hands on one host; clones share it.
#[derive(Clone)]
pub struct VolumeAgent {
    shared: Arc<Shared>,
}

/// What every part of the node can see.
struct Shared {
    context: AgentContext,
    driver: Arc<dyn VolumeDriver>,
    engine: Engine<Files>,
    callers: Callers,
}

/// On whose behalf each file is made, for reading its image. Not kept on disk: whoever wants the file says it
/// again.
type Callers = Arc<Mutex<BTreeMap<Uuid, Caller>>>;

/// Who wants a file.
#[derive(Clone, Debug)]
struct Caller {
    context: Bytes,
    trace: TraceContext,
}

impl VolumeAgent {
    /// The agent; it does nothing by itself before [`VolumeAgent::start`].
    #[must_use]
    pub fn new(context: AgentContext, driver: Arc<dyn VolumeDriver>) -> Self {
        let context = AgentContext { store: context.store.scoped(PREFIX), ..context };
        let callers = Callers::default();
        let files = Files::new(&context, driver.clone(), callers.clone());
        // Every row of the node-local store is this node's.
        let engine = Engine::new(&context.env, context.store.clone(), files, Arc::new(|_| true));
        Self { shared: Arc::new(Shared { context, driver, engine, callers }) }
    }

    /// What answers the control nodes.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let (realizing, surveying) = (self.shared.clone(), self.shared.clone());
        vec![
            Service::of::<Node>()
                .call(move |ctx, Realize { want }: Realize| {
                    let shared = realizing.clone();
                    async move { shared.realize(ctx, want).await }
                })
                .call(move |_ctx, Survey: Survey| {
                    let shared = surveying.clone();
                    async move { shared.survey().await }
                })
                .into(),
        ]
    }

    /// Starts what goes on by itself.
    pub fn start(&self) {
        self.shared.engine.start();
    }

    /// The volumes and snapshots whose files this node was told to have, and that it has told of.
    pub async fn held(&self) -> Result<Vec<Uuid>, StoreError> {
        let rows = self.shared.context.store.read(|txn| txn.scan::<FileRow>(None, usize::MAX));
        let held = rows.await?.into_iter().filter(|row| row.path.is_some());
        Ok(held.map(|row| row.want.id).collect())
    }
}

impl Shared {
    async fn survey(&self) -> Result<Room, Fault> {
        self.driver.room().await.map_err(|error| unavailable(error.to_string()))
    }

    async fn realize(&self, ctx: Ctx, want: FileWant) -> Result<Realized, Fault> {
        if matches!(want.source, FileSource::Image(_)) && !ctx.context.is_empty() {
            // A copy: what came shares the memory that it was read from, and this is kept for as long as the file is
            // being made.
            let context = Bytes::copy_from_slice(&ctx.context);
            let caller = Caller { context, trace: ctx.trace };
            self.callers.lock().insert(want.id, caller);
        }
        let row = self.fold(&want).await?;
        if answer(&row, &want).is_none() {
            self.record(&ctx, &want);
            self.engine.wake(&want.id.to_string());
        }
        let patience = ctx.expires.saturating_sub(self.context.env.now()).min(WAIT_MAX);
        let waiting = self.await_answer(&want);
        match self.context.env.timeout(patience, waiting).await {
            Some(answer) => answer,
            None => Err(unavailable(format!("the file of {} is still being made", want.id))),
        }
    }

    /// Writes down what is wanted, unless something newer is.
    async fn fold(&self, want: &FileWant) -> Result<FileRow, Fault> {
        let key = want.id.to_string();
        self.context
            .store
            .transact(|txn| {
                let known = txn.get::<FileRow>(&key)?;
                let row = FileRow::fold(known.clone(), want).map_err(|why| refused(want, why))?;
                if known.as_ref() != Some(&row) {
                    txn.put(&row)?;
                }
                Ok(row)
            })
            .await
    }

    async fn await_answer(&self, want: &FileWant) -> Result<Realized, Fault> {
        let key = want.id.to_string();
        let mut watch = self.context.store.watch(&format!("{}/{key}", rows::TABLE));
        loop {
            let row = self.context.store.read(|txn| txn.get::<FileRow>(&key)).await?;
            match row {
                Some(row) => {
                    if let Some(answer) = answer(&row, want) {
                        return answer;
                    }
                }
                None => return Err(unavailable(format!("{key} was forgotten"))),
            }
            self.context.env.timeout(LOOK_EVERY, watch.changed()).await;
        }
    }

    fn record(&self, ctx: &Ctx, want: &FileWant) {
        let here = self.context.host.to_string();
        self.context.tracer.record(Step {
            trace_id: ctx.trace.trace_id,
            at: self.context.env.wall(),
            kind: StepKind::Driver,
            name: if want.present { "volume/make" } else { "volume/remove" }.to_owned(),
            from: NODE.to_owned(),
            from_node: here.clone(),
            to: "volume.driver".to_owned(),
            to_node: here,
        });
    }
}

/// What is to be said of the want already.
#[must_use]
pub fn answer(row: &FileRow, want: &FileWant) -> Option<Result<Realized, Fault>> {
    if row.want.generation > want.generation {
        return Some(Err(refused(want, Refusal::Stale(row.want.generation))));
    }
    if row.served == want.generation {
        let (path, export) = (row.path.clone(), row.exported.clone());
        return Some(Ok(Realized { generation: row.served, path, export }));
    }
    let failure = row.failure.as_ref()?;
    Some(Err(Fault::new(FaultKind::Conflict, "VolumeBackendAPIException", failure.clone())))
}

fn refused(want: &FileWant, why: Refusal) -> Fault {
    let FileWant { id, generation, .. } = want;
    match why {
        Refusal::Stale(known) => {
            let words = format!(
                "generation {generation} of {id} is older than {known}, which this node was told before"
            );
            Fault::new(FaultKind::Stale, "StaleGeneration", words)
        }
        Refusal::Contradiction => {
            let words = format!("something else was wanted of {id} in generation {generation}");
            Fault::new(FaultKind::Invalid, "InvalidVolume", words)
        }
    }
}

fn unavailable(words: String) -> Fault {
    Fault::new(FaultKind::Unavailable, "VolumeBackendAPIException", words)
}

/// The kind of row that a node stores.
pub(crate) fn stored() -> Shape {
    Shape::of::<FileRow>()
}
