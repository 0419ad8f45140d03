//! One simulated host: a paused runtime, a disk, and the lives between crashes.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    folder::Files,
    node::{Parts, Prepared},
    rpc::Service,
    store::StoreFaults,
};
use updraft_transport::{Event, Incarnation, NodeId, Transport};

use super::{EPOCH, turn::Clock};
use crate::{
    campaign::isolate,
    disk::{Drive, Platter},
    fault::Faults,
    record::{Recorder, What},
    tcp::Tcp,
};

/// The only cell of a world.
const CELL: &str = "cell-1";

/// What outlives a crash: whatever a node puts there, by type. Of each type there is one value: a second one, such as
/// another store, needs a type of its own around it.
///
/// `node.disk.keep(|| Store::memory(node.env.clone()))` is the simplest store that a node finds again; what was committed
/// when the node crashed is there, and so it stands for one that is durable.
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

    /// The drive of the life of a node that begins now.
    pub(super) fn drive(&self, node: &NodeId, faults: &Faults) -> Drive {
        self.keep(Platter::default).begin_life(node.as_str(), faults)
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
    /// Its disk for files, which can fail.
    pub drive: Drive,
    /// What goes wrong, for whatever it simulates to ask.
    pub faults: Faults,
    pub(super) handles: Disk,
    pub(super) address_of: Arc<dyn Fn(&NodeId) -> SocketAddr + Send + Sync>,
    pub(super) tcp: Option<Tcp>,
}

impl NodeContext {
    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.transport.local().node.clone()
    }

    /// What goes wrong between this node and a database that it shares with others, for its handle on the store.
    #[must_use]
    pub fn store_faults(&self) -> Arc<dyn StoreFaults> {
        self.faults.of_database(&self.node())
    }

    /// Where a node of this world listens.
    #[must_use]
    pub fn address_of(&self, node: &NodeId) -> SocketAddr {
        (self.address_of)(node)
    }

    /// Its simulated TCP, where there is one: on tiers 2 and 3.
    #[must_use]
    pub fn tcp(&self) -> Option<Tcp> {
        self.tcp.clone()
    }

    /// What the node is made from, in the one cell of this world: it knows `seeds` from the start.
    #[must_use]
    pub fn parts(self, seeds: &[NodeId]) -> Parts {
        Parts {
            address: self.address_of(&self.node()),
            seeds: seeds.iter().map(|node| (node.clone(), self.address_of(node))).collect(),
            cell: CELL.to_owned(),
            env: self.env,
            transport: self.transport,
            events: self.events,
            incarnation: self.incarnation,
        }
    }

    /// Runs a node with these services, which knows `seeds` from the start, and leaves its
    /// [`Rpc`](updraft_runtime::rpc::Rpc) and its [`Node`](updraft_runtime::node::Node), in an `Arc`, for the test. A node
    /// that does not start leaves neither, and says why in the log.
    ///
    /// One that lets others have actors run here, or leaves more, is made of its [`parts`](Self::parts):
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use updraft_harness::world::NodeContext;
    /// # use updraft_runtime::{node::Prepared, spawn::Kinds, transport::NodeId};
    /// async fn boot(node: NodeContext, seeds: Vec<NodeId>, kinds: Kinds) {
    ///     let handles = node.handles();
    ///     let prepared = Prepared::new(node.parts(&seeds)).with_kinds(kinds);
    ///     match prepared.start(Vec::new()).await {
    ///         Ok(node) => drop(handles.keep(|| Arc::new(node))),
    ///         Err(error) => eprintln!("a node did not start: {error}"),
    ///     }
    /// }
    /// ```
    pub async fn serve(
        self,
        seeds: &[&str],
        services: impl FnOnce(&Prepared) -> Vec<Service> + Send,
    ) {
        let (name, handles) = (self.node(), self.handles());
        let seeds: Vec<_> = seeds.iter().filter_map(|seed| NodeId::new(seed).ok()).collect();
        let prepared = Prepared::new(self.parts(&seeds));
        let services = services(&prepared);
        match prepared.start(services).await {
            Ok(node) => {
                handles.keep(|| node.rpc().clone());
                handles.keep(|| Arc::new(node));
            }
            Err(error) => tracing::error!(node = %name, %error, "a node did not start"),
        }
    }

    /// Where this life leaves what the test shall find, such as a router; gone with the life.
    #[must_use]
    pub fn handles(&self) -> Disk {
        self.handles.clone()
    }
}

/// What a node does when it starts. It may return: what it started goes on until the node crashes.
pub type Boot = Arc<dyn Fn(NodeContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// The simulated machine behind an [`Env`].
pub(super) struct SimWorld {
    /// All nodes share the world's.
    clock: Clock,
    /// When the node started.
    boot_at: Duration,
    node: NodeId,
    drive: Drive,
    faults: Faults,
    recorder: Recorder,
    rng: Mutex<ChaCha8Rng>,
}

impl SimWorld {
    /// Of a node that starts now.
    pub(super) fn new(
        seed: u64,
        clock: Clock,
        node: NodeId,
        drive: Drive,
        faults: Faults,
        recorder: Recorder,
    ) -> Self {
        let (boot_at, rng) = (clock.now(), Mutex::new(ChaCha8Rng::seed_from_u64(seed)));
        Self { clock, boot_at, node, drive, faults, recorder, rng }
    }
}

impl World for SimWorld {
    fn now(&self) -> Duration {
        self.clock.now().saturating_sub(self.boot_at)
    }

    fn waits(&self, duration: Duration) {
        self.clock.note(duration);
    }

    fn wall(&self) -> UnixMicros {
        let true_time = self.clock.now();
        let wrong_micros = self.faults.wrong_micros(self.node.as_str(), true_time);
        UnixMicros(EPOCH.plus(true_time).0.saturating_add_signed(wrong_micros))
    }

    fn seed(&self, stream: &'static str) -> [u8; 32] {
        let entropy = isolate::draws();
        // By the world's clock: the node's is a part of a millisecond off, by as much as its runtime took to start.
        let at = self.recorder.now();
        self.recorder.tell_at(at, || What::Drawn { node: self.node.clone(), stream, entropy });
        let mut seed = [0; 32];
        self.rng.lock().fill_bytes(&mut seed);
        seed
    }

    #[allow(clippy::disallowed_methods, reason = "the simulated door opens on the node's runtime")]
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        if self.clock.may_begin(name) {
            tokio::spawn(task);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the simulated door opens on the node's runtime")]
    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        let (faults, node, clock) = (self.faults.clone(), self.node.clone(), self.clock.clone());
        Box::pin(async move {
            let done = work();
            let disk_took = faults.take_busy(node.as_str());
            if !disk_took.is_zero() {
                clock.note(disk_took);
                tokio::time::sleep(disk_took).await;
            }
            Ok(done)
        })
    }

    fn files(&self, folder: &Path) -> io::Result<Arc<dyn Files>> {
        Ok(self.drive.folder(&folder.to_string_lossy()))
    }
}

/// A stream of draws of its own for each host, whatever the others do.
pub(crate) fn host_seed(world_seed: u64, node: &str) -> u64 {
    node.bytes()
        .fold(world_seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
