//! Tier 1: each node on a paused runtime of its own, frames over the in-memory switch.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::runtime::Runtime;
use updraft_runtime::{Env, env::BoxFuture};
use updraft_transport::{Incarnation, NodeId, PeerIdentity, mem::Switch};

use super::{
    Backend, Network,
    node::{Boot, Disk, NodeContext, SimWorld, host_seed},
};
use crate::{
    fault::{self, Faults},
    record::Recorder,
};

struct Life {
    runtime: Runtime,
    handles: Disk,
    /// How much time has passed that it does not know of yet.
    behind: Duration,
}

/// A host and its present life, if it has one.
struct Host {
    identity: PeerIdentity,
    boot: Boot,
    seed: u64,
    incarnation: Incarnation,
    disk: Disk,
    /// What is wrong with how it lives.
    trouble: fault::Life,
    life: Option<Life>,
}

/// Nodes over the in-memory switch.
pub(super) struct Memory {
    seed: u64,
    now: Duration,
    switch: Switch,
    faults: Faults,
    steps: u64,
    recorder: Recorder,
    hosts: BTreeMap<NodeId, Host>,
}

/// How far a step goes at most while nothing is under way: what a timer's message may then be late by, the
/// largest latency of a link.
const STRIDE_MAX: Duration = Duration::from_millis(5);

impl Memory {
    /// Nothing arrives before the next frame that is under way, so until then the nodes have only their timers.
    fn stride(&self, tick: Duration) -> Duration {
        let Some(due) = self.switch.next_due() else { return STRIDE_MAX };
        // In whole ticks: a runtime's timer rounds what is less, and its clock would gain on the world's.
        let ticks = due.saturating_sub(self.now).as_nanos().div_ceil(tick.as_nanos().max(1));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        tick.saturating_mul(ticks).clamp(tick, STRIDE_MAX)
    }

    pub(super) fn new(seed: u64, network: Network, faults: Faults, recorder: Recorder) -> Self {
        let switch = Switch::new();
        switch.set_fate(network);
        let hosts = BTreeMap::new();
        Self { seed, now: Duration::ZERO, switch, faults, steps: 0, recorder, hosts }
    }
}

impl Backend for Memory {
    fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        let node = identity.node.clone();
        let host = Host {
            seed: host_seed(self.seed, node.as_str()),
            identity,
            boot,
            incarnation: Incarnation(0),
            disk: Disk::default(),
            trouble: fault::Life::default(),
            life: None,
        };
        self.hosts.insert(node.clone(), host);
        self.start(&node);
    }

    fn start(&mut self, node: &NodeId) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.start(self.now, &self.switch, &self.faults, &self.recorder);
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

    fn live(&mut self, node: &NodeId, life: fault::Life) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.trouble = life;
        }
    }

    fn step(&mut self, tick: Duration) -> Duration {
        let tick = self.stride(tick);
        self.now += tick;
        self.switch.advance(self.now);
        self.steps += 1;
        for host in self.hosts.values_mut() {
            host.step(tick, self.steps);
        }
        self.now
    }

    fn skip(&mut self, by: Duration) -> Option<Duration> {
        self.now += by;
        for life in self.hosts.values_mut().filter_map(|host| host.life.as_mut()) {
            life.behind += by;
        }
        Some(self.now)
    }

    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()> {
        self.hosts.get(node)?.life.as_ref()?.runtime.spawn(task);
        Some(())
    }
}

impl Host {
    fn start(&mut self, now: Duration, switch: &Switch, faults: &Faults, recorder: &Recorder) {
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
        let (node, boot) = (self.identity.node.clone(), self.boot.clone());
        let (faults, recorder) = (faults.clone(), recorder.clone());
        let (disk, left, incarnation) = (self.disk.clone(), handles.clone(), self.incarnation);
        let drive = disk.drive(&node, &faults);
        runtime.spawn(async move {
            let env = Env::new(SimWorld::new(seed, now, node, faults.clone(), recorder));
            let context = NodeContext {
                env,
                transport,
                events,
                incarnation,
                disk,
                drive,
                faults,
                handles: left,
                address_of: nowhere,
            };
            boot(context).await;
        });
        self.life = Some(Life { runtime, handles, behind: Duration::ZERO });
    }

    /// Lets so much time pass for it, if it is not held up.
    fn step(&mut self, tick: Duration, step: u64) {
        let trouble = self.trouble;
        let waits = !step.is_multiple_of(u64::from(trouble.every.max(1)));
        let Some(life) = &mut self.life else { return };
        if trouble.paused || waits {
            life.behind += tick;
            return;
        }
        life.go_on(tick);
    }
}

impl Life {
    /// The clock jumps over what was missed; what was due meanwhile is due at once.
    #[allow(clippy::disallowed_methods, reason = "the harness is what makes time pass")]
    fn go_on(&mut self, tick: Duration) {
        let missed = std::mem::take(&mut self.behind);
        // Timers belong to the runtime that is entered, so they are made inside.
        self.runtime.block_on(async {
            if !missed.is_zero() {
                tokio::time::advance(missed).await;
            }
            tokio::time::sleep(tick).await;
        });
    }
}

/// The switch finds nodes by their ids; an address is a form to be filled in.
fn nowhere(_node: &NodeId) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
