//! Nodes in a simulation, each on a paused runtime of its own, over whatever carries their messages.
//!
//! Owns the lives of nodes and whose turn it is: a node that has nothing to do costs nothing, and one that is paused or
//! slow is not polled. A crash drops its runtime, and with it every task, alone. Where disks fail, a start is counted on
//! the node's, as on a real machine: the node is heard of once that is durable, and one that cannot count does not start.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use updraft_runtime::{Env, always, env::BoxFuture, folder::Folder, incarnation};
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

/// A start that waits for the node's disk.
struct Rising {
    until: Duration,
    /// `None` if it could not be counted, and is to be begun again.
    counted: Option<Incarnation>,
}

/// What nodes start with.
struct Ground<'a, C> {
    clock: &'a Clock,
    carrier: &'a C,
    faults: &'a Faults,
    recorder: &'a Recorder,
    counts_on_disk: bool,
}

/// A host and its present life, if it has one.
struct Host {
    identity: PeerIdentity,
    boot: Boot,
    seed: u64,
    /// Of its last life.
    incarnation: Incarnation,
    disk: Disk,
    /// What is wrong with how it lives.
    trouble: fault::Life,
    rising: Option<Rising>,
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
    /// Whether starts are counted on the disks of nodes, which fail.
    counts_on_disk: bool,
    /// In the order in which they have their turns, which is that of their coming.
    hosts: Vec<Host>,
    index: BTreeMap<NodeId, usize>,
}

/// How far a step goes at most while nothing is due: what a test that watches the time is late by.
const STRIDE_MAX: Duration = Duration::from_millis(5);

/// After how long a machine starts a node again that could not count its start.
const STARTS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The folder in which a node's starts are counted.
const COUNTED_IN: &str = "nodes";

impl<C: Carrier> Simulated<C> {
    pub(super) fn new(seed: u64, carrier: C, faults: Faults, recorder: Recorder) -> Self {
        let (clock, hosts, index) = (Clock::default(), Vec::new(), BTreeMap::new());
        let counts_on_disk = false;
        Self { seed, clock, carrier, faults, recorder, counts_on_disk, hosts, index }
    }

    /// The same whose nodes count their starts on their disks.
    pub(super) fn counting_on_disk(self) -> Self {
        Self { counts_on_disk: true, ..self }
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
            rising: None,
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
        let Self { clock, carrier, faults, recorder, counts_on_disk, .. } = self;
        let ground = Ground { clock, carrier, faults, recorder, counts_on_disk: *counts_on_disk };
        if let Some(host) = self.index.get(node).and_then(|index| self.hosts.get_mut(*index)) {
            host.start(&ground);
        }
    }

    fn crash(&mut self, node: &NodeId) {
        self.carrier.detach(node);
        if let Some(host) = self.host_mut(node) {
            (host.rising, host.life) = (None, None);
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.host(node).is_some_and(Host::is_up)
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
        let Self { clock, carrier, faults, recorder, counts_on_disk, .. } = self;
        let ground = Ground { clock, carrier, faults, recorder, counts_on_disk: *counts_on_disk };
        for host in &mut self.hosts {
            host.step(&ground);
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
    fn is_up(&self) -> bool {
        self.life.is_some() || self.rising.is_some()
    }

    fn start<C: Carrier>(&mut self, ground: &Ground<'_, C>) {
        if self.is_up() {
            return;
        }
        if ground.counts_on_disk {
            self.rising = Some(self.count(ground));
        } else {
            self.live(Incarnation(self.incarnation.0 + 1), ground);
        }
    }

    /// Counts a start as every node does.
    fn count<C: Carrier>(&self, ground: &Ground<'_, C>) -> Rising {
        let node = &self.identity.node;
        let drive = self.disk.drive(node, ground.faults);
        let folder = Folder::on(Path::new(COUNTED_IN), drive.folder(COUNTED_IN));
        let counted = incarnation::next(&folder);
        let until = ground.clock.now() + ground.faults.take_busy(node.as_str());
        match counted {
            Ok(incarnation) => Rising { until, counted: Some(incarnation) },
            Err(error) => {
                tracing::error!(%node, %error, "a start was not counted");
                Rising { until: until + STARTS_AGAIN_AFTER, counted: None }
            }
        }
    }

    /// Goes on with its start once the disk has done what that waits for.
    fn rise<C: Carrier>(&mut self, ground: &Ground<'_, C>) {
        let now = ground.clock.now();
        let due = !self.trouble.paused;
        let Some(Rising { counted, .. }) = self.rising.take_if(|one| due && one.until <= now)
        else {
            return;
        };
        match counted {
            Some(incarnation) => self.live(incarnation, ground),
            None => self.rising = Some(self.count(ground)),
        }
    }

    fn live<C: Carrier>(&mut self, incarnation: Incarnation, ground: &Ground<'_, C>) {
        let former = std::mem::replace(&mut self.incarnation, incarnation);
        always!(
            former < incarnation,
            "no two lives of a node have the same incarnation",
            "{} begins life {incarnation:?} after {former:?}",
            self.identity.node
        );
        let Ground { clock, carrier, faults, recorder, .. } = ground;
        let turns = Turns::new(clock.now());
        let birth = Birth {
            identity: self.identity.clone(),
            incarnation: self.incarnation,
            seed: self.seed,
            former_wire: self.trouble.former_wire,
            clock: (*clock).clone(),
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
        let drive = self.disk.drive(&node, faults);
        let machine = SimWorld::new(
            seed,
            (*clock).clone(),
            node.clone(),
            drive.clone(),
            (*faults).clone(),
            (*recorder).clone(),
        );
        let handles = Disk::default();
        let context = NodeContext {
            env: Env::new(machine),
            transport,
            events,
            incarnation: self.incarnation,
            disk: self.disk.clone(),
            drive,
            faults: (*faults).clone(),
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
        if let Some(rising) = self.rising.as_ref().filter(|_| !self.trouble.paused) {
            return Some(rising.until.max(next));
        }
        let life = self.life.as_ref().filter(|_| !self.trouble.paused)?;
        Some(self.trouble.turn_from(life.turns.due(next)))
    }

    /// Has its turn, if it is its turn.
    fn step<C: Carrier>(&mut self, ground: &Ground<'_, C>) {
        self.rise(ground);
        let clock = ground.clock;
        let now = clock.now();
        if self.due(now).is_some_and(|due| due <= now)
            && let Some(life) = &mut self.life
        {
            life.turns.take(clock);
            self.turns += 1;
            let refused = clock.refused();
            always!(
                refused.is_none(),
                "a node comes to rest in each of its turns",
                "{} goes on at {} ms without waiting for anything, and would begin task {:?} again and again",
                self.identity.node,
                now.as_millis(),
                refused.unwrap_or_default()
            );
        }
    }
}
