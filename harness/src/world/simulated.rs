//! Nodes in a simulation, each on a paused runtime of its own, over whatever carries their messages.
//!
//! Owns the lives of nodes and whose turn it is: a node that has nothing to do costs nothing, and one that is paused or
//! slow is not polled. A crash drops its runtime, and with it every task, alone.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use updraft_runtime::{Env, env::BoxFuture};
use updraft_transport::{Event, Incarnation, NodeId, PeerIdentity, Transport};

use super::{
    Backend,
    node::{Boot, Disk, NodeContext, SimWorld, host_seed},
    turn::{Alarms, Clock, Turns},
};
use crate::{
    fault::{self, Faults},
    record::Recorder,
    tcp::Tcp,
};

/// Why a node has no place among the others.
pub(super) type Unborn = Box<dyn std::error::Error>;

/// A life that begins.
pub(super) struct Birth {
    pub(super) identity: PeerIdentity,
    pub(super) incarnation: Incarnation,
    /// Whatever it draws follows from this.
    pub(super) seed: u64,
    pub(super) former_wire: bool,
    pub(super) clock: Clock,
    pub(super) alarms: Alarms,
}

/// What carries messages between the nodes of a simulation. Its time is the simulation's.
pub(super) trait Carrier {
    /// Gives a life of a node its place among the others. It is called within the node's runtime.
    fn attach(&self, birth: Birth) -> Result<(Arc<dyn Transport>, mpsc::Receiver<Event>), Unborn>;
    /// A node has crashed: it says nothing more, and nothing reaches it.
    fn detach(&self, node: &NodeId);
    /// Moves time on; what is due by then arrives.
    fn advance(&self, now: Duration);
    /// When something arrives next, if anything is under way.
    fn next_due(&self) -> Option<Duration>;
    /// Where a node is found.
    fn address_of(&self) -> Arc<dyn Fn(&NodeId) -> SocketAddr + Send + Sync>;
    /// A node's streams beside its transport, if this has any.
    fn tcp(&self, _node: &NodeId) -> Option<Tcp> {
        None
    }
}

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

/// Nodes, and what is between them.
pub(super) struct Simulated<C> {
    seed: u64,
    clock: Clock,
    carrier: C,
    faults: Faults,
    recorder: Recorder,
    /// In the order in which they have their turns, which is that of their coming.
    hosts: Vec<Host>,
    index: BTreeMap<NodeId, usize>,
}

/// How far a step goes at most while nothing is due: what a test that watches the time is late by.
const STRIDE_MAX: Duration = Duration::from_millis(5);

impl<C: Carrier> Simulated<C> {
    pub(super) fn new(seed: u64, carrier: C, faults: Faults, recorder: Recorder) -> Self {
        let (hosts, index) = (Vec::new(), BTreeMap::new());
        Self { seed, clock: Clock::default(), carrier, faults, recorder, hosts, index }
    }

    fn host(&self, node: &NodeId) -> Option<&Host> {
        self.hosts.get(*self.index.get(node)?)
    }

    fn host_mut(&mut self, node: &NodeId) -> Option<&mut Host> {
        self.hosts.get_mut(*self.index.get(node)?)
    }

    /// When a message arrives or a node has something to do, in whole ticks from now: timers round up what is less.
    fn next(&self, tick: Duration) -> Duration {
        let now = self.clock.now();
        let (soonest, last) = (now + tick, now + STRIDE_MAX);
        let mut due = self.carrier.next_due().map_or(last, |due| due.min(last));
        let mut hosts = self.hosts.iter();
        // In a large cloud something is due in nearly every tick, and nobody else needs to be asked.
        while due > soonest
            && let Some(host) = hosts.next()
        {
            due = host.due(soonest).map_or(due, |at| due.min(at));
        }
        let ticks = due.saturating_sub(now).as_nanos().div_ceil(tick.as_nanos().max(1));
        now + tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX).max(1))
    }
}

impl<C: Carrier> Backend for Simulated<C> {
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
        match self.host_mut(&node) {
            Some(former) => *former = host,
            None => {
                self.index.insert(node.clone(), self.hosts.len());
                self.hosts.push(host);
            }
        }
        self.start(&node);
    }

    fn start(&mut self, node: &NodeId) {
        if let Some(host) = self.index.get(node).and_then(|index| self.hosts.get_mut(*index)) {
            host.start(&self.clock, &self.carrier, &self.faults, &self.recorder);
        }
    }

    fn crash(&mut self, node: &NodeId) {
        self.carrier.detach(node);
        if let Some(host) = self.host_mut(node) {
            host.life = None;
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.host(node).is_some_and(|host| host.life.is_some())
    }

    fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.host(node).map(|host| host.disk.clone())
    }

    fn handles(&self, node: &NodeId) -> Option<Disk> {
        Some(self.host(node)?.life.as_ref()?.handles.clone())
    }

    fn turns(&self, node: &NodeId) -> Option<u64> {
        self.host(node).map(|host| host.turns)
    }

    fn live(&mut self, node: &NodeId, life: fault::Life) {
        if let Some(host) = self.host_mut(node) {
            host.trouble = life;
        }
    }

    fn step(&mut self, tick: Duration) -> Duration {
        let now = self.next(tick);
        self.clock.set(now);
        self.carrier.advance(now);
        for host in &mut self.hosts {
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
        self.host(node)?.life.as_ref()?.turns.runtime().spawn(task);
        Some(())
    }
}

impl Host {
    fn start(
        &mut self,
        clock: &Clock,
        carrier: &impl Carrier,
        faults: &Faults,
        recorder: &Recorder,
    ) {
        if self.life.is_some() {
            return;
        }
        self.incarnation.0 += 1;
        let turns = Turns::new(clock.now());
        let birth = Birth {
            identity: self.identity.clone(),
            incarnation: self.incarnation,
            seed: self.seed,
            former_wire: self.trouble.former_wire,
            clock: clock.clone(),
            alarms: turns.alarms(),
        };
        let attached = {
            let _within = turns.runtime().enter();
            carrier.attach(birth)
        };
        let node = self.identity.node.clone();
        let (transport, events) = match attached {
            Ok(attached) => attached,
            Err(error) => return tracing::error!(%node, error, "a node did not start"),
        };
        let seed = self.seed.wrapping_add(self.incarnation.0);
        let machine =
            SimWorld::new(seed, clock.clone(), node.clone(), faults.clone(), recorder.clone());
        let handles = Disk::default();
        let context = NodeContext {
            env: Env::new(machine),
            transport,
            events,
            incarnation: self.incarnation,
            disk: self.disk.clone(),
            drive: self.disk.drive(&node, faults),
            faults: faults.clone(),
            handles: handles.clone(),
            address_of: carrier.address_of(),
            tcp: carrier.tcp(&node),
        };
        let boot = self.boot.clone();
        turns.runtime().spawn(async move { boot(context).await });
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
