//! Tier 1: each node on a paused runtime of its own, frames over the in-memory switch.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use updraft_runtime::{Env, env::BoxFuture};
use updraft_transport::{Incarnation, NodeId, PeerIdentity, mem::Switch};

use super::{
    Backend, Network,
    node::{Boot, Disk, NodeContext, SimWorld, Time, host_seed},
    turn::{Clock, Turns},
};
use crate::{
    fault::{self, Faults},
    record::Recorder,
};

struct Life {
    turns: Turns,
    handles: Disk,
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
    /// How many turns it has had in all its lives.
    turns: u64,
}

/// Nodes over the in-memory switch.
pub(super) struct Memory {
    seed: u64,
    clock: Clock,
    switch: Switch,
    faults: Faults,
    recorder: Recorder,
    hosts: BTreeMap<NodeId, Host>,
}

/// How far a step goes at most while nothing is due: what a test that watches the time is late by.
const STRIDE_MAX: Duration = Duration::from_millis(5);

impl Memory {
    pub(super) fn new(seed: u64, network: Network, faults: Faults, recorder: Recorder) -> Self {
        let switch = Switch::new();
        switch.set_fate(network);
        Self { seed, clock: Clock::default(), switch, faults, recorder, hosts: BTreeMap::new() }
    }

    /// When a frame arrives or a node has something to do, in whole ticks from now: timers round up what is less.
    fn next(&self, tick: Duration) -> Duration {
        let now = self.clock.now();
        let last = now + STRIDE_MAX;
        let turns = self.hosts.values().filter_map(|host| host.due(now + tick));
        let due = turns.chain(self.switch.next_due()).min().map_or(last, |due| due.min(last));
        let ticks = due.saturating_sub(now).as_nanos().div_ceil(tick.as_nanos().max(1));
        now + tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX).max(1))
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
            turns: 0,
        };
        self.hosts.insert(node.clone(), host);
        self.start(&node);
    }

    fn start(&mut self, node: &NodeId) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.start(&self.clock, &self.switch, &self.faults, &self.recorder);
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

    fn turns(&self, node: &NodeId) -> Option<u64> {
        self.hosts.get(node).map(|host| host.turns)
    }

    fn live(&mut self, node: &NodeId, life: fault::Life) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.trouble = life;
        }
    }

    fn step(&mut self, tick: Duration) -> Duration {
        let now = self.next(tick);
        self.clock.set(now);
        self.switch.advance(now);
        for host in self.hosts.values_mut() {
            host.step(&self.clock);
        }
        now
    }

    fn skip(&mut self, by: Duration) -> Option<Duration> {
        // The nodes know of it when it is their turn.
        let now = self.clock.now() + by;
        self.clock.set(now);
        Some(now)
    }

    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()> {
        self.hosts.get(node)?.life.as_ref()?.turns.runtime().spawn(task);
        Some(())
    }
}

impl Host {
    fn start(&mut self, clock: &Clock, switch: &Switch, faults: &Faults, recorder: &Recorder) {
        if self.life.is_some() {
            return;
        }
        self.incarnation.0 += 1;
        let turns = Turns::new(clock.now());
        let time = Time::OfWorld { clock: clock.clone(), boot_at: clock.now() };
        let handles = Disk::default();
        let (transport, events) = switch.attach(self.identity.clone(), self.incarnation);
        let seed = self.seed.wrapping_add(self.incarnation.0);
        let (node, boot) = (self.identity.node.clone(), self.boot.clone());
        let (faults, recorder) = (faults.clone(), recorder.clone());
        let (disk, left, incarnation) = (self.disk.clone(), handles.clone(), self.incarnation);
        let drive = disk.drive(&node, &faults);
        turns.runtime().spawn(async move {
            let env = Env::new(SimWorld::new(seed, time, node, faults.clone(), recorder));
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
        self.life = Some(Life { turns, handles });
    }

    /// When it has something to do and may, which is not before `next`.
    fn due(&self, next: Duration) -> Option<Duration> {
        let life = self.life.as_ref().filter(|_| !self.trouble.paused)?;
        Some(self.trouble.turn_from(life.turns.due(next)))
    }

    /// Has its turn, if it is its turn.
    fn step(&mut self, clock: &Clock) {
        let now = clock.now();
        if self.due(now).is_some_and(|due| due <= now)
            && let Some(life) = &mut self.life
        {
            life.turns.take(clock);
            self.turns += 1;
        }
    }
}

/// The switch finds nodes by their ids; an address is a form to be filled in.
fn nowhere(_node: &NodeId) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
