//! A world of hosts whose time, entropy and network come from a seed.
//!
//! Owns simulated time. The same scenario runs on any of three tiers: over an in-memory switch, where most
//! seeds run, over real QUIC on simulated UDP, and there with what nodes keep on disks that can fail. A crash drops a
//! node with every task. What it leaves on its [`Disk`] outlives it, the files of its [`Drive`](crate::disk::Drive) as far
//! as they were synced, and so does whatever a test shares between nodes, such as a store that stands for a database.
//! Knows nothing of what the nodes do.

mod choice;
mod network;
mod node;
mod overheard;
mod quic;
mod real;
mod simulated;
mod switch;
mod turn;
mod waiting;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rpc::Rpc,
};
use updraft_transport::{
    NodeId, PeerIdentity,
    marks::{self, Mark},
};

pub use network::{Links, Network, Verdict};
pub use node::{Boot, Disk, NodeContext};
pub use waiting::{Link, Waiting};

pub(crate) use node::host_seed;
pub(crate) use turn::{Alarm, Alarms};

use quic::OverQuic;
use real::Real;
use simulated::Simulated;
use switch::OverSwitch;

use crate::{
    campaign::isolate,
    disk::Platter,
    fault::{self, Fault, FaultKind, FaultPlan, Faults, LinkTrouble, Struck, Topology},
    record::{Recorder, Turn, What},
};

/// Simulated wall-clock time at the start: 2027-01-15 08:00:00 UTC.
pub const EPOCH: UnixMicros = UnixMicros(1_800_000_000_000_000);

/// How far a step goes. Links are never faster, so no message arrives late for its order.
pub const TICK: Duration = Duration::from_millis(1);

/// What carries frames between the nodes of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// The in-memory switch (tier 1).
    #[default]
    Memory,
    /// QUIC and TLS over simulated UDP (tier 2).
    Quic,
    /// The same, and what nodes keep in files is on their [drives](crate::disk::Drive), not in a store of the scenario's
    /// that stands for one (tier 3).
    Disks,
    /// No simulation: QUIC and TLS over UDP on loopback, a thread for each node, in real time (tier 4 in one
    /// process). The seed decides nothing, and of the network's faults there are partitions alone.
    Real,
}

impl Tier {
    /// Whether frames are carried by QUIC in a simulation.
    #[must_use]
    pub fn is_over_quic(self) -> bool {
        matches!(self, Self::Quic | Self::Disks)
    }
}

/// As people call it.
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "tier 1",
            Self::Quic => "tier 2",
            Self::Disks => "tier 3",
            Self::Real => "tier 4",
        })
    }
}

/// What a tier does for its world.
trait Backend {
    fn add(&mut self, identity: PeerIdentity, boot: Boot);
    fn start(&mut self, node: &NodeId);
    fn crash(&mut self, node: &NodeId);
    fn is_up(&self, node: &NodeId) -> bool;
    fn disk(&self, node: &NodeId) -> Option<Disk>;
    fn handles(&self, node: &NodeId) -> Option<Disk>;
    /// Moves every clock on; returns the time since the start.
    fn step(&mut self, tick: Duration) -> Duration;
    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()>;
    /// Has so much time pass at once, where the tier can; returns the time since the start.
    fn skip(&mut self, _by: Duration) -> Option<Duration> {
        None
    }
    /// How many turns a node has had, where that is known.
    fn turns(&self, _node: &NodeId) -> Option<u64> {
        None
    }
    /// Has a node live so, where the tier can.
    fn live(&mut self, _node: &NodeId, _life: fault::Life) {}
}

enum Nodes {
    Memory(Simulated<OverSwitch>),
    Quic(Simulated<OverQuic>),
    Real(Real),
}

/// How late at most is what [`World::set_disorder`] has overtaken.
const OVERTAKEN_MAX: Duration = Duration::from_millis(20);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a share")]
fn percent(share: f64) -> u8 {
    (share.clamp(0.0, 1.0) * 100.0).round() as u8
}

/// The world.
pub struct World {
    seed: u64,
    now: Duration,
    steps: u64,
    tier: Tier,
    network: Network,
    faults: Faults,
    /// All nodes, and when each was started last.
    started: BTreeMap<NodeId, Duration>,
    /// The nodes that a fault has crashed, and that start again when it ends.
    down: BTreeSet<NodeId>,
    /// The nodes that run the former release.
    former: BTreeSet<NodeId>,
    nodes: Nodes,
    recorder: Recorder,
    watch: Option<Watch>,
}

/// Called after every step.
type Watch = Box<dyn FnMut(&mut World)>;

impl World {
    /// A world without hosts, on tier 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::on_tier(seed, Tier::Memory)
    }

    /// A world without hosts, as the program's arguments say: `[--memory | --quic | --disks | --real] [--seed NUMBER]`, an
    /// in-memory switch and seed 1 unless they do. Other arguments end the program with a word about these.
    #[must_use]
    pub fn from_args() -> Self {
        let chosen = choice::Choice::of(std::env::args().skip(1));
        let choice::Choice { tier, seed } = chosen.unwrap_or_else(|error| choice::end(&error));
        Self::on_tier(seed, tier)
    }

    /// A world without hosts.
    #[must_use]
    pub fn on_tier(seed: u64, tier: Tier) -> Self {
        if !marks::is_heard() {
            marks::listen(Rc::new(Strict));
        }
        let recorder = Recorder::of_this_thread();
        let faults = Faults::new(seed, tier);
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x006e_6574);
        let network = Network::new(rng, faults.clone(), recorder.clone());
        let nodes = match tier {
            Tier::Memory => {
                let carrier = OverSwitch::new(network.clone());
                Nodes::Memory(Simulated::new(seed, carrier, faults.clone(), recorder.clone()))
            }
            Tier::Quic | Tier::Disks => {
                let carrier = OverQuic::new(&network, &faults, &recorder);
                let nodes = Simulated::new(seed, carrier, faults.clone(), recorder.clone());
                let disks = tier == Tier::Disks;
                Nodes::Quic(if disks { nodes.counting_on_disk() } else { nodes })
            }
            Tier::Real => Nodes::Real(Real::new(faults.clone())),
        };
        let (down, former) = (BTreeSet::new(), BTreeSet::new());
        let (now, steps, started, watch) = (Duration::ZERO, 0, BTreeMap::new(), None);
        Self {
            seed,
            now,
            steps,
            tier,
            network,
            faults,
            started,
            down,
            former,
            nodes,
            recorder,
            watch,
        }
    }

    fn backend(&self) -> &dyn Backend {
        match &self.nodes {
            Nodes::Memory(memory) => memory,
            Nodes::Quic(quic) => quic,
            Nodes::Real(real) => real,
        }
    }

    fn backend_mut(&mut self) -> &mut dyn Backend {
        match &mut self.nodes {
            Nodes::Memory(memory) => memory,
            Nodes::Quic(quic) => quic,
            Nodes::Real(real) => real,
        }
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

    /// The frames between the hosts, for faults; on tier 2 nobody sees into a datagram.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Loses this share of what is sent, to the percent: frames on tier 1, datagrams on the others.
    pub fn set_loss(&self, share: f64) {
        let percent = percent(share);
        self.set(FaultKind::Loss, (percent > 0).then_some(LinkTrouble::Loss { percent }));
    }

    /// Doubles and reorders these shares of what is sent, to the percent, besides what is lost.
    pub fn set_disorder(&self, duplication: f64, reordering: f64) {
        let twice = LinkTrouble::Duplication { percent: percent(duplication) };
        let late =
            LinkTrouble::Reordering { percent: percent(reordering), late_max: OVERTAKEN_MAX };
        self.set(FaultKind::Duplication, (duplication > 0.0).then_some(twice));
        self.set(FaultKind::Reordering, (reordering > 0.0).then_some(late));
    }

    fn set(&self, kind: FaultKind, trouble: Option<LinkTrouble>) {
        self.faults.set(kind, trouble.map(Fault::everywhere));
    }

    /// Cuts everything between two nodes, until it is healed.
    pub fn partition(&mut self, one: &NodeId, other: &NodeId) {
        self.faults.cut(one, other);
        self.faults.cut(other, one);
        self.log(&format!("partition {one} {other}"));
    }

    /// Cuts what one node sends another, until it is healed.
    pub fn cut(&mut self, from: &NodeId, to: &NodeId) {
        self.faults.cut(from, to);
        self.log(&format!("cut {from}>{to}"));
    }

    /// Mends every cut that was made by hand; those of a plan end by themselves.
    pub fn heal(&mut self) {
        self.faults.heal();
        self.log("heal");
    }

    /// Says where nodes stand, and how far apart.
    pub fn stand(&mut self, topology: Topology) {
        self.faults.stand(topology);
    }

    /// Has this go wrong, and nothing else of a plan, from now on. Faults of times that have passed do not come. Of
    /// those that this tier has nothing of, it says so in the log of events when they would begin.
    pub fn follow(&mut self, plan: FaultPlan) {
        self.faults.follow(plan);
    }

    /// What goes wrong, for simulated drivers and databases to ask.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How often each kind of fault has struck.
    #[must_use]
    pub fn struck(&self) -> Struck {
        self.faults.struck()
    }

    /// What carries frames here.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Begins and ends what the plan says.
    fn apply_faults(&mut self) {
        let Some(change) = self.faults.advance(self.now) else { return };
        for line in &change.lines {
            self.recorder.tell(of_a_fault(line));
        }
        for (node, life) in change.lives {
            self.live(&node, life);
        }
    }

    fn live(&mut self, node: &NodeId, life: fault::Life) {
        if life.crashed && self.is_up(node) && self.down.insert(node.clone()) {
            self.faults.count(FaultKind::Crash, node);
            self.crash(node);
        }
        self.backend_mut().live(node, life);
        let changes = match life.former_wire {
            true => self.former.insert(node.clone()),
            false => self.former.remove(node),
        };
        if changes && self.is_up(node) {
            self.crash(node);
            self.start(node);
        }
        if !life.crashed && self.down.remove(node) {
            self.start(node);
        }
    }

    /// Adds a node and starts it. `boot` runs at every start, on the node's own runtime.
    pub fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        self.recorder.tell(What::Node(identity.node.clone(), Turn::Added));
        self.faults.add(&identity.node);
        self.started.insert(identity.node.clone(), self.now);
        self.backend_mut().add(identity, boot);
    }

    /// Adds a node of this name and roles, and starts it.
    ///
    /// # Panics
    ///
    /// If no node may have the name: it stands in the scenario's own text.
    pub fn node<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &str,
        roles: &[&str],
        boot: impl Fn(NodeContext) -> F + Send + Sync + 'static,
    ) -> NodeId {
        let node = NodeId::new(name).unwrap_or_else(|error| panic!("{error}"));
        let boot: Boot = Arc::new(move |context| Box::pin(boot(context)));
        self.add(PeerIdentity::new(node.clone(), roles), boot);
        node
    }

    /// Starts a node that has crashed, with a higher incarnation.
    pub fn start(&mut self, node: &NodeId) {
        self.started.insert(node.clone(), self.now);
        self.backend_mut().start(node);
        self.recorder.tell(What::Node(node.clone(), Turn::Started));
    }

    /// Drops a node as if its power had failed.
    pub fn crash(&mut self, node: &NodeId) {
        // First its disk: what the node's tasks do as they are dropped, they do no more.
        if let Some(platter) = self.disk(node).and_then(|disk| disk.get::<Platter>()) {
            platter.fail_power(node.as_str(), &self.faults, self.now);
        }
        self.backend_mut().crash(node);
        self.recorder.tell(What::Node(node.clone(), Turn::Crashed));
    }

    /// Whether the node runs.
    #[must_use]
    pub fn is_up(&self, node: &NodeId) -> bool {
        self.backend().is_up(node)
    }

    /// Grows whenever the node may have done something, for whoever looks at what it does.
    #[must_use]
    pub fn turns(&self, node: &NodeId) -> u64 {
        self.backend().turns(node).unwrap_or(self.steps)
    }

    /// What is left of a node between its lives.
    #[must_use]
    pub fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.backend().disk(node)
    }

    /// Moves every clock one tick on.
    pub fn step(&mut self) {
        self.apply_faults();
        self.now = self.backend_mut().step(TICK);
        self.steps += 1;
        self.recorder.advance(self.now);
        isolate::tell_time(self.now);
        if let Some(mut watch) = self.watch.take() {
            watch(self);
            self.watch = Some(watch);
        }
    }

    /// Has so much time pass at once, as when all machines were asleep: every clock jumps, and with the next step what
    /// was due meanwhile is due, timers as well as messages under way. For what would take too many steps, such as a
    /// [stale copy](LinkTrouble::StaleCopy) of weeks. In real time nothing happens and it is `false`.
    pub fn skip(&mut self, by: Duration) -> bool {
        let Some(now) = self.backend_mut().skip(by) else { return false };
        self.now = now;
        self.log(&format!("skip {} ms", by.as_millis()));
        self.recorder.advance(now);
        isolate::tell_time(now);
        true
    }

    /// Has this called after every step, whoever steps: to check what must always hold, and to act in between.
    pub fn watch(&mut self, watch: impl FnMut(&mut Self) + 'static) {
        self.watch = Some(Box::new(watch));
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
    /// limit passes first. In that case the log tells what [everybody waits for](Self::waiting).
    pub fn on<T: Send + 'static>(
        &mut self,
        node: &NodeId,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut receiver = self.begin(node, work)?;
        let mut result = None;
        let ended = self.run_until(limit, |_| match receiver.try_recv() {
            Ok(value) => {
                result = Some(value);
                true
            }
            Err(oneshot::error::TryRecvError::Closed) => true,
            Err(oneshot::error::TryRecvError::Empty) => false,
        });
        if !ended {
            self.recorder.tell_at(self.recorder.now(), || {
                let waiting = self.waiting();
                What::Note(format!("work on {node} has not ended in {limit:?}: {waiting}"))
            });
        }
        result
    }

    /// The same for work that must end.
    ///
    /// # Panics
    /// If it does not, with what everybody waits for.
    pub fn must<T: Send + 'static>(
        &mut self,
        node: &NodeId,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.on(node, limit, work) {
            Some(value) => value,
            None if self.is_up(node) => {
                panic!("work on {node} has not ended in {limit:?}: {}", self.waiting())
            }
            None => panic!("{node} does not run, and what it was to do with it"),
        }
    }

    /// What the calls of all nodes wait for now: those whose [`Rpc`] was left for the test, as
    /// [`NodeContext::serve`] does.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let of_node = |(node, started): (&NodeId, &Duration)| {
            // By the world's clock: a node's own is right only for what runs in it.
            let now = self.now.saturating_sub(*started);
            Some((node.clone(), (self.handle::<Rpc>(node)?, now)))
        };
        Waiting::of(&self.started.iter().filter_map(of_node).collect())
    }

    /// Starts work on a node's runtime; its result arrives while the world steps.
    pub fn begin<T: Send + 'static>(
        &mut self,
        node: &NodeId,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        let task = Box::pin(async move {
            // Nobody waits any longer: then nobody misses it.
            let _ = sender.send(work.await);
        });
        self.backend().spawn(node, task)?;
        Some(receiver)
    }

    /// What a node's boot left for the test, such as its router.
    #[must_use]
    pub fn handle<T: Any + Clone>(&self, node: &NodeId) -> Option<T> {
        self.backend().handles(node)?.get()
    }

    /// Adds a line to the log of events.
    pub fn log(&self, line: &str) {
        self.recorder.tell(What::Note(line.to_owned()));
    }

    /// Says in the record which step the scenario takes now.
    pub fn tell_step(&self, step: &dyn fmt::Display) {
        self.recorder.tell_at(self.recorder.now(), || What::Step(step.to_string()));
    }

    /// What keeps what happens here.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Everything that happened, a line each: the same for the same seed.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.recorder.lines()
    }
}

/// Hears the marks of a world outside of any campaign.
struct Strict;

impl marks::Listener for Strict {
    fn reached(&self, _mark: &'static Mark) {}

    fn broken(&self, mark: &'static Mark, found: String) {
        panic!("{}: {found}", mark.words);
    }
}

/// What a line of the faults' own says.
fn of_a_fault(line: &str) -> What {
    if let Some(words) = line.strip_prefix("fault begins: ") {
        return What::FaultBegins(words.to_owned());
    }
    match line.strip_prefix("fault ends: ") {
        Some(words) => What::FaultEnds(words.to_owned()),
        None => What::Note(line.to_owned()),
    }
}
