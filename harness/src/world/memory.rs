//! Tier 1: each node on a paused runtime of its own, frames over the in-memory switch.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use tokio::runtime::Runtime;
use updraft_runtime::{Env, env::BoxFuture};
use updraft_transport::{Incarnation, NodeId, PeerIdentity, mem::Switch};

use super::{
    Backend, Network,
    node::{Boot, Disk, NodeContext, SimWorld, host_seed},
};

struct Life {
    runtime: Runtime,
    handles: Disk,
}

/// A host and its present life, if it has one.
struct Host {
    identity: PeerIdentity,
    boot: Boot,
    seed: u64,
    incarnation: Incarnation,
    disk: Disk,
    skew_micros: Arc<AtomicI64>,
    life: Option<Life>,
}

/// Nodes over the in-memory switch.
pub(super) struct Memory {
    seed: u64,
    now: Duration,
    switch: Switch,
    network: Network,
    hosts: BTreeMap<NodeId, Host>,
}

/// How far a step goes at most while nothing is under way: what a timer's message may then be late by, the
/// largest latency of a link.
const STRIDE_MAX: Duration = Duration::from_millis(5);

impl Memory {
    /// Nothing arrives before the next frame that is under way, so until then the nodes have only their timers.
    fn stride(&self, tick: Duration) -> Duration {
        let due = self.switch.next_due().map(|due| due.saturating_sub(self.now));
        due.unwrap_or(STRIDE_MAX).clamp(tick, STRIDE_MAX)
    }

    pub(super) fn new(seed: u64, network: Network) -> Self {
        let switch = Switch::new();
        switch.set_fate(network.clone());
        Self { seed, now: Duration::ZERO, switch, network, hosts: BTreeMap::new() }
    }
}

impl Backend for Memory {
    fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        let node = identity.node.clone();
        let host = Host {
            seed: host_seed(self.seed, &node),
            identity,
            boot,
            incarnation: Incarnation(0),
            disk: Disk::default(),
            skew_micros: Arc::default(),
            life: None,
        };
        self.hosts.insert(node.clone(), host);
        self.start(&node);
    }

    fn start(&mut self, node: &NodeId) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.start(self.now, &self.switch);
        }
    }

    fn crash(&mut self, node: &NodeId) {
        if let Some(host) = self.hosts.get_mut(node) {
            self.switch.detach(node);
            host.life = None;
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.hosts.get(node).is_some_and(|host| host.life.is_some())
    }

    fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.hosts.get(node).map(|host| host.disk.clone())
    }

    fn handles(&self, node: &NodeId) -> Option<Disk> {
        Some(self.hosts.get(node)?.life.as_ref()?.handles.clone())
    }

    #[allow(clippy::disallowed_methods, reason = "the harness is what makes time pass")]
    fn step(&mut self, tick: Duration) -> Duration {
        let tick = self.stride(tick);
        self.now += tick;
        self.switch.advance(self.now);
        self.network.advance(self.now);
        for life in self.hosts.values().filter_map(|host| host.life.as_ref()) {
            // The timer belongs to the runtime that is entered, so it is made inside.
            life.runtime.block_on(async { tokio::time::sleep(tick).await });
        }
        self.now
    }

    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()> {
        self.hosts.get(node)?.life.as_ref()?.runtime.spawn(task);
        Some(())
    }

    fn partition(&mut self, one: &NodeId, other: &NodeId) {
        self.network.cut(one, other);
        self.network.cut(other, one);
    }

    fn heal(&mut self) {
        self.network.heal();
    }

    fn log(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Host {
    fn start(&mut self, now: Duration, switch: &Switch) {
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
        runtime.spawn(async move {
            let env = Env::new(SimWorld::new(seed, now, skew));
            let context = NodeContext {
                env,
                transport,
                events,
                incarnation,
                disk,
                handles: left,
                address_of: nowhere,
            };
            boot(context).await;
        });
        self.life = Some(Life { runtime, handles });
    }
}

/// The switch finds nodes by their ids; an address is a form to be filled in.
fn nowhere(_node: &NodeId) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
