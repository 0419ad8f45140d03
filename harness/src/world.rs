//! A world of hosts whose time, entropy and network come from a seed.
//!
//! Owns simulated time. Each node is a runtime of its own, paused, stepped by [`World::step`]; a crash drops
//! it with every task. What a node leaves on its [`Disk`] outlives it, and so does whatever a test shares
//! between nodes, such as a store that stands for a database. Knows nothing of what the nodes do.

mod network;
mod node;

use std::{any::Any, collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;
use updraft_runtime::env::UnixMicros;
use updraft_transport::{NodeId, PeerIdentity, mem::Switch};

pub use network::{Links, Network, Verdict};
pub use node::{Boot, Disk, NodeContext, SimWorld};

use node::Host;

/// Simulated wall-clock time at the start: 2027-01-15 08:00:00 UTC.
pub const EPOCH: UnixMicros = UnixMicros(1_800_000_000_000_000);

/// How far a step goes. Links are never faster, so no message arrives late for its order.
pub const TICK: Duration = Duration::from_millis(1);

/// The world.
pub struct World {
    seed: u64,
    now: Duration,
    switch: Arc<Switch>,
    network: Network,
    hosts: BTreeMap<NodeId, Host>,
    events: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// A world without hosts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let switch = Arc::new(Switch::new());
        let events = Arc::new(Mutex::new(Vec::new()));
        let network = Network::new(ChaCha8Rng::seed_from_u64(seed ^ 0x006e_6574), events.clone());
        switch.set_fate(network.clone());
        Self { seed, now: Duration::ZERO, switch, network, hosts: BTreeMap::new(), events }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Simulated time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The network between the hosts, for faults.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Adds a node and starts it. `boot` runs at every start, on the node's own runtime.
    pub fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        let node = identity.node.clone();
        let host = Host::new(identity, boot, self.seed);
        self.hosts.insert(node.clone(), host);
        self.start(&node);
    }

    /// Starts a node that has crashed, with a higher incarnation.
    pub fn start(&mut self, node: &NodeId) {
        let now = self.now;
        if let Some(host) = self.hosts.get_mut(node) {
            host.start(now, &self.switch);
            self.log(&format!("start {node}"));
        }
    }

    /// Drops a node as if its power had failed.
    pub fn crash(&mut self, node: &NodeId) {
        if let Some(host) = self.hosts.get_mut(node) {
            self.switch.detach(node);
            host.crash();
            self.log(&format!("crash {node}"));
        }
    }

    /// Whether the node runs.
    #[must_use]
    pub fn is_up(&self, node: &NodeId) -> bool {
        self.hosts.get(node).is_some_and(Host::is_up)
    }

    /// What is left of a node between its lives.
    #[must_use]
    pub fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.hosts.get(node).map(Host::disk)
    }

    /// Moves every clock one tick on.
    pub fn step(&mut self) {
        self.now += TICK;
        self.switch.advance(self.now);
        self.network.advance(self.now);
        for host in self.hosts.values_mut() {
            host.step(TICK);
        }
    }

    /// Steps for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    /// Steps until the condition holds; `false` if it does not within the limit.
    pub fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.step();
        }
        true
    }

    /// Runs work on a node's runtime and steps the world until it ends; `None` if the node dies or the
    /// limit passes first.
    pub fn on<T: Send + 'static>(
        &mut self,
        node: &NodeId,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut receiver = self.begin(node, work)?;
        let mut result = None;
        self.run_until(limit, |_| match receiver.try_recv() {
            Ok(value) => {
                result = Some(value);
                true
            }
            Err(oneshot::error::TryRecvError::Closed) => true,
            Err(oneshot::error::TryRecvError::Empty) => false,
        });
        result
    }

    /// Starts work on a node's runtime; its result arrives while the world steps.
    pub fn begin<T: Send + 'static>(
        &mut self,
        node: &NodeId,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        self.hosts.get(node)?.spawn(async move {
            // Nobody waits any longer: then nobody misses it.
            let _ = sender.send(work.await);
        })?;
        Some(receiver)
    }

    /// What a node's boot left for the test, such as its router.
    #[must_use]
    pub fn handle<T: Any + Clone>(&self, node: &NodeId) -> Option<T> {
        self.hosts.get(node)?.handle()
    }

    /// Adds a line to the log of events.
    pub fn log(&self, line: &str) {
        self.events.lock().push(format!("{:>10} {line}", self.now.as_micros()));
    }

    /// Everything that happened, a line each: the same for the same seed.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.events.lock().clone()
    }
}
