//! The compute node's actor: takes messages, and follows the hypervisor.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use updraft_protocol::{
    compute::{
        ConsoleLog, Converge, CopyDisk, DescribeDisk, NetworkReady, Node, OpenConsole, Screenshot,
    },
    hypervisor::{Answer, DriverError, GuestEvent, GuestRef, GuestReport, Op, PowerState},
};
use updraft_runtime::{
    Env,
    rows::Engine,
    rpc::{Rpc, Service, TraceContext},
    store::{Store, StoreError},
    trace::Tracer,
};
use uuid::Uuid;

use super::{guest::GuestRow, perform::Guests, plan::Learned, report, turns::Turns};
use crate::{
    disks::{Bounded, Disks},
    hypervisor::Hypervisor,
};

/// How long a look at guests may take.
const LOOK: Duration = Duration::from_secs(5);

/// How often the host is reported though nothing changed.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What may differ between compute nodes.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// How often the host is reported though nothing changed.
    pub report_every: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self { report_every: REPORT_EVERY }
    }
}

/// Makes servers on one host; cheap to clone.
#[derive(Clone)]
pub struct ComputeNode {
    pub(super) env: Env,
    pub(super) rpc: Rpc,
    pub(super) store: Store,
    pub(super) engine: Engine<Guests>,
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    pub(super) disks: Arc<dyn Disks>,
    pub(super) config: NodeConfig,
    turns: Arc<Turns>,
    heard: Arc<AtomicBool>,
    lives: u64,
}

impl ComputeNode {
    /// A compute node that keeps what it is told in this node-local store.
    pub fn new(
        rpc: Rpc,
        store: Store,
        tracer: Tracer,
        hypervisor: Arc<dyn Hypervisor>,
        disks: Arc<dyn Disks>,
        config: NodeConfig,
    ) -> Self {
        let env = rpc.env().clone();
        let lives = rpc.incarnation().0;
        let (turns, heard) = (Arc::new(Turns::new(lives)), Arc::<AtomicBool>::default());
        let disks: Arc<dyn Disks> = Arc::new(Bounded::new(&env, disks));
        let guests = Guests {
            env: env.clone(),
            rpc: rpc.clone(),
            store: store.clone(),
            tracer,
            hypervisor: hypervisor.clone(),
            disks: disks.clone(),
            turns: turns.clone(),
            heard: heard.clone(),
            fetching: updraft_runtime::turns::Turns::default(),
        };
        let engine = Engine::new(&env, store.clone(), guests, Arc::new(|_| true));
        Self { env, rpc, store, engine, hypervisor, disks, config, turns, heard, lives }
    }

    /// The service to run.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let [converge, console, ready, open, shot, describe, copy] =
            std::array::from_fn(|_| self.clone());
        let service =
            Service::of::<Node>()
                .cast(move |_, message: Converge| {
                    let node = converge.clone();
                    async move {
                        Ok(node.heard(message.server, message.generation, message.trace).await?)
                    }
                })
                .cast(move |_, message: NetworkReady| {
                    let node = ready.clone();
                    async move {
                        let learned = Learned::Ports(message.ports);
                        node.engine.learn(&message.server.to_string(), learned).await?;
                        Ok(())
                    }
                })
                .call(move |_, message: ConsoleLog| {
                    let node = console.clone();
                    async move { node.console_log(message).await }
                })
                .tunnel(&self.rpc, move |_, message: OpenConsole| {
                    let node = open.clone();
                    async move { node.open_console(message).await }
                })
                .body(&self.rpc, move |_, message: Screenshot| {
                    let node = shot.clone();
                    async move { node.screenshot(message).await }
                })
                .call(move |ctx, message: DescribeDisk| {
                    let node = describe.clone();
                    async move { node.describe_disk(&ctx, &message).await }
                })
                .body(&self.rpc, move |ctx, message: CopyDisk| {
                    let node = copy.clone();
                    async move { node.copy_disk(&ctx, &message).await }
                })
                .into();
        vec![service]
    }

    /// Begins to plan, to report and to follow the hypervisor.
    pub fn start(&self) {
        self.engine.start();
        self.env.spawn("compute.node.report", report::forever(self.clone()));
        self.env.spawn("compute.node.events", self.clone().follow_events());
    }

    /// Notes that a generation is wanted of a server; the plan asks a conductor for the rest.
    pub(super) async fn heard(
        &self,
        server: Uuid,
        generation: u64,
        trace: TraceContext,
    ) -> Result<(), StoreError> {
        let key = server.to_string();
        let (counter, now) = (self.lives << 32, self.env.wall());
        self.store
            .transact(|txn| {
                if txn.get::<GuestRow>(&key)?.is_none() {
                    txn.relax();
                    txn.put(&GuestRow::heard_of(server, generation, counter, trace, now))?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        self.engine.learn(&key, Learned::Wanted(generation)).await?;
        Ok(())
    }

    /// Notes that what is wanted of the host is known to this life of its node: guests may run from now on.
    pub(super) fn has_heard(&self) {
        if !self.heard.swap(true, Ordering::AcqRel) {
            self.engine.wake_all();
        }
    }

    async fn follow_events(self) {
        loop {
            match self.hypervisor.next_event().await {
                GuestEvent::Power { guest, .. } | GuestEvent::DiskRemoved { guest, .. } => {
                    self.look_at(guest).await;
                }
                GuestEvent::Hypervisor { available, reason } => {
                    tracing::info!(available, reason, "the hypervisor");
                    if available {
                        self.look_at_all().await;
                    }
                }
            }
        }
    }

    /// Asks the hypervisor about one guest, since an event says only that something changed.
    async fn look_at(&self, guest: Uuid) {
        let turn = self.turns.take(guest).await;
        let report = match self.hypervisor.perform(Op::Describe { guest }, LOOK).await {
            Ok(Answer::Guest(report)) => report,
            Err(DriverError::NoGuest(_)) => absent(guest),
            Ok(_) | Err(_) => return,
        };
        let learned = Learned::Guest { turn: turn.number, report, defined: None, reboots: None };
        if let Err(error) = self.engine.learn(&guest.to_string(), learned).await {
            tracing::warn!(server = %guest, %error, "what the hypervisor says is not kept");
        }
    }

    /// Asks the hypervisor about everything: at a start, after a break, and now and then. The list says
    /// only where to look, since by the time it is read it is old.
    pub(super) async fn look_at_all(&self) {
        let Ok(Answer::Guests(reports)) = self.hypervisor.perform(Op::List, LOOK).await else {
            return;
        };
        let reports: BTreeMap<Uuid, GuestReport> =
            reports.into_iter().map(|report| (report.guest.guest, report)).collect();
        let Ok(rows) = report::rows(self).await else { return };
        for row in rows {
            let found = reports.get(&row.server);
            // A guest that was once defined and is not listed is as worth a look as one that changed.
            if row.guest.is_some_and(|known| found != Some(&known)) {
                self.look_at(row.server).await;
            }
        }
    }
}

/// A guest that the hypervisor does not know.
pub(super) fn absent(guest: Uuid) -> GuestReport {
    GuestReport {
        guest: GuestRef { guest, generation: 0 },
        power: PowerState::Absent,
        disks: Vec::new(),
        mac_addresses: Vec::new(),
    }
}
