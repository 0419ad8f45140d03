//! One simulated host: a paused runtime, a disk, and the lives between crashes.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{runtime::Runtime, sync::mpsc, time::Instant};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
};
use updraft_transport::{Event, Incarnation, NodeId, PeerIdentity, Transport, mem::Switch};

use super::EPOCH;

/// What outlives a crash: whatever a node puts there, by type.
#[derive(Clone, Default)]
pub struct Disk {
    kept: Arc<Mutex<BTreeMap<TypeId, Box<dyn Any + Send>>>>,
}

impl Disk {
    /// What was kept, or what `make` makes now.
    pub fn keep<T: Any + Clone + Send>(&self, make: impl FnOnce() -> T) -> T {
        let mut kept = self.kept.lock();
        let entry = kept.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(make()));
        match entry.downcast_ref::<T>() {
            Some(value) => value.clone(),
            None => unreachable!("entries are kept under their own type"),
        }
    }

    /// What was kept, if it was.
    #[must_use]
    pub fn get<T: Any + Clone>(&self) -> Option<T> {
        self.kept.lock().get(&TypeId::of::<T>())?.downcast_ref().cloned()
    }
}

/// What a node's boot is given.
pub struct NodeContext {
    /// Its door to the world.
    pub env: Env,
    /// What carries its frames.
    pub transport: Arc<dyn Transport>,
    /// What the transport hands up.
    pub events: mpsc::Receiver<Event>,
    /// How often it has started.
    pub incarnation: Incarnation,
    /// What it left in former lives.
    pub disk: Disk,
    handles: Disk,
}

impl NodeContext {
    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.transport.local().node.clone()
    }

    /// Gives the test something of this life, such as a router.
    pub fn publish<T: Any + Clone + Send>(&self, handle: T) {
        self.handles.keep(|| handle);
    }
}

/// What a node does when it starts.
pub type Boot = Arc<dyn Fn(NodeContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// The simulated machine behind an [`Env`].
pub struct SimWorld {
    started: Instant,
    boot_at: Duration,
    skew_micros: Arc<AtomicI64>,
    rng: Mutex<ChaCha8Rng>,
}

impl SimWorld {
    /// A machine that was started at this simulated time; call it inside its runtime.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "the simulated door opens on tokio's paused clock"
    )]
    pub fn new(seed: u64, boot_at: Duration, skew_micros: Arc<AtomicI64>) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Self { started: Instant::now(), boot_at, skew_micros, rng }
    }
}

impl World for SimWorld {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        let true_time = EPOCH.plus(self.boot_at + self.now());
        UnixMicros(true_time.0.saturating_add_signed(self.skew_micros.load(Ordering::Relaxed)))
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.lock().fill_bytes(&mut seed);
        seed
    }

    #[allow(clippy::disallowed_methods, reason = "the simulated door opens on the node's runtime")]
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

struct Life {
    runtime: Runtime,
    handles: Disk,
}

/// A host and its present life, if it has one.
pub(super) struct Host {
    identity: PeerIdentity,
    boot: Boot,
    seed: u64,
    incarnation: Incarnation,
    disk: Disk,
    skew_micros: Arc<AtomicI64>,
    life: Option<Life>,
}

impl Host {
    pub(super) fn new(identity: PeerIdentity, boot: Boot, world_seed: u64) -> Self {
        // Each host draws from a stream of its own, whatever the others do.
        let name =
            identity.node.as_str().bytes().fold(world_seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self {
            identity,
            boot,
            seed: name,
            incarnation: Incarnation(0),
            disk: Disk::default(),
            skew_micros: Arc::default(),
            life: None,
        }
    }

    pub(super) fn start(&mut self, now: Duration, switch: &Switch) {
        if self.life.is_some() {
            return;
        }
        self.incarnation.0 += 1;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let Ok(runtime) = runtime else { unreachable!("a runtime without drivers needs nothing") };
        let handles = Disk::default();
        let (transport, events) = switch.attach(self.identity.clone(), self.incarnation);
        let seed = self.seed.wrapping_add(self.incarnation.0);
        let (skew, boot) = (self.skew_micros.clone(), self.boot.clone());
        let (disk, left, incarnation) = (self.disk.clone(), handles.clone(), self.incarnation);
        let task = async move {
            let env = Env::new(SimWorld::new(seed, now, skew));
            boot(NodeContext { env, transport, events, incarnation, disk, handles: left }).await;
        };
        runtime.spawn(task);
        self.life = Some(Life { runtime, handles });
    }

    pub(super) fn crash(&mut self) {
        self.life = None;
    }

    pub(super) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    pub(super) fn handle<T: Any + Clone>(&self) -> Option<T> {
        self.life.as_ref()?.handles.get()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<()> {
        self.life.as_ref()?.runtime.spawn(task);
        Some(())
    }

    #[allow(clippy::disallowed_methods, reason = "the harness is what makes time pass")]
    pub(super) fn step(&mut self, tick: Duration) {
        if let Some(life) = &self.life {
            life.runtime.block_on(tokio::time::sleep(tick));
        }
    }
}
