//! A plan at work in a world.
//!
//! Owns what is present now, every draw of chance, and the count of what has struck. Draws are of one stream for each
//! kind and node, so that what goes wrong for one does not depend on what others do.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_transport::NodeId;

use super::{
    DriverTrouble, Fault, FaultKind, FaultPlan, FaultStep, NodeTrouble, Target, Topology,
    links::Links,
};
use crate::world::{TICK, Tier, host_seed};

/// How often each kind of fault has struck.
pub type Struck = BTreeMap<FaultKind, u64>;

/// How a node lives just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) crashed: bool,
    pub(crate) paused: bool,
    /// It does something in each n-th tick alone; 0 and 1 are all.
    pub(crate) every: u8,
    /// It runs the former release.
    pub(crate) former_wire: bool,
}

impl Life {
    /// The first time from this on at which it does something, if it is not paused.
    pub(crate) fn turn_from(self, at: Duration) -> Duration {
        if self.every <= 1 { at } else { slow_turn(self.every, at) }
    }
}

/// The first turn from this time on of a node that has one in each n-th tick.
fn slow_turn(every: u8, at: Duration) -> Duration {
    let turn = TICK.as_micros() * u128::from(every.max(1));
    let next = at.as_micros().div_ceil(turn).saturating_mul(turn);
    Duration::from_micros(u64::try_from(next).unwrap_or(u64::MAX))
}

/// What begins and ends at a time.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) lines: Vec<String>,
    pub(crate) lives: Vec<(NodeId, Life)>,
}

/// The faults of a world; cheap to clone, and the clones are the same.
#[derive(Clone)]
pub struct Faults {
    pub(super) inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &self.inner.lock().plan).finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub(super) tier: Tier,
    pub(super) now: Duration,
    pub(super) topology: Topology,
    pub(super) links: Links,
    /// For how long the disks of nodes have work that nobody has waited for yet.
    pub(super) busy: BTreeMap<String, Duration>,
    plan: FaultPlan,
    /// What is present until it is taken back; at most one of a kind.
    standing: BTreeMap<FaultKind, Fault>,
    /// What is present now.
    pub(super) present: Vec<FaultStep>,
    /// The nodes, and how each lives now.
    nodes: BTreeMap<NodeId, Life>,
    /// When the present changes.
    next_change: Duration,
    chances: BTreeMap<FaultKind, BTreeMap<String, ChaCha8Rng>>,
    struck: BTreeMap<FaultKind, BTreeMap<String, u64>>,
}

impl Faults {
    pub(crate) fn new(seed: u64, tier: Tier) -> Self {
        let inner = Inner {
            tier,
            now: Duration::ZERO,
            topology: Topology::default(),
            links: Links::default(),
            busy: BTreeMap::new(),
            plan: FaultPlan::new(seed),
            standing: BTreeMap::new(),
            present: Vec::new(),
            nodes: BTreeMap::new(),
            next_change: Duration::MAX,
            chances: BTreeMap::new(),
            struck: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// What goes wrong with an operation that a simulated driver of a node is asked for; the driver does it.
    #[must_use]
    pub fn on(&self, node: &str, operation: &str) -> Option<DriverTrouble> {
        let mut inner = self.inner.lock();
        let steps = std::mem::take(&mut inner.present);
        let struck = steps.iter().find_map(|step| match &step.fault {
            Fault::Driver { nodes, operation: begin, percent, trouble } => (operation
                .starts_with(begin.as_str())
                && inner.topology.holds(nodes, node)
                && inner.strikes(step.fault.kind(), node, *percent))
            .then_some(*trouble),
            _ => None,
        });
        inner.present = steps;
        struck
    }

    /// How often each kind has struck.
    #[must_use]
    pub fn struck(&self) -> Struck {
        let inner = self.inner.lock();
        inner.struck.iter().map(|(kind, nodes)| (*kind, nodes.values().sum())).collect()
    }

    /// How often a kind has struck a node: a sender, or whoever asked.
    #[must_use]
    pub fn struck_at(&self, kind: FaultKind, node: &str) -> u64 {
        let inner = self.inner.lock();
        inner.struck.get(&kind).and_then(|nodes| nodes.get(node)).copied().unwrap_or_default()
    }

    /// The plan that is followed.
    #[must_use]
    pub fn plan(&self) -> FaultPlan {
        self.inner.lock().plan.clone()
    }

    /// Time since the start of the world.
    pub(crate) fn now(&self) -> Duration {
        self.inner.lock().now
    }

    pub(crate) fn follow(&self, plan: FaultPlan) {
        let mut inner = self.inner.lock();
        (inner.plan, inner.next_change) = (plan, Duration::ZERO);
        inner.chances.clear();
    }

    /// Has a fault present from now on, instead of another of its kind.
    pub(crate) fn set(&self, kind: FaultKind, fault: Option<Fault>) {
        let mut inner = self.inner.lock();
        inner.standing.remove(&kind);
        inner.standing.extend(fault.map(|fault| (kind, fault)));
        inner.refresh();
    }

    pub(crate) fn stand(&self, topology: Topology) {
        self.inner.lock().topology = topology;
    }

    pub(crate) fn add(&self, node: &NodeId) {
        let mut inner = self.inner.lock();
        inner.nodes.insert(node.clone(), Life::default());
        inner.next_change = Duration::ZERO;
    }

    pub(crate) fn count(&self, kind: FaultKind, node: &NodeId) {
        self.inner.lock().count(kind, node.as_str());
    }

    /// Moves on; returns what begins or ends, if anything may.
    pub(crate) fn advance(&self, now: Duration) -> Option<Change> {
        let mut inner = self.inner.lock();
        inner.now = now;
        if now < inner.next_change {
            return None;
        }
        let before = std::mem::take(&mut inner.present);
        inner.refresh();
        Some(Change { lines: inner.tell(&before), lives: inner.lives() })
    }
}

impl Inner {
    fn refresh(&mut self) {
        let now = self.now;
        let standing = self.standing.values().map(|fault| FaultStep {
            from: Duration::ZERO,
            until: Duration::MAX,
            fault: fault.clone(),
        });
        let planned = self.plan.steps.iter().filter(|step| step.is_present(now)).cloned();
        self.present = standing.chain(planned).collect();
        let times = self.plan.steps.iter().flat_map(|step| [step.from, step.until]);
        self.next_change = times.filter(|time| *time > now).min().unwrap_or(Duration::MAX);
    }

    /// A line for each fault that begins or ends.
    fn tell(&self, before: &[FaultStep]) -> Vec<String> {
        let mut lines = Vec::new();
        for ended in before.iter().filter(|step| !self.present.contains(step)) {
            lines.push(format!("fault ends: {}", ended.fault));
        }
        for begun in self.present.iter().filter(|step| !before.contains(step)) {
            let fault = &begun.fault;
            lines.push(match fault.on(self.tier) {
                Some(_) => format!("fault begins: {fault}"),
                None => format!("fault that {:?} has nothing of: {fault}", self.tier),
            });
            lines.extend(self.nobody(fault).map(|target| format!("no node is one of {target}")));
        }
        lines
    }

    /// The first target of a fault that no node is one of.
    fn nobody<'a>(&self, fault: &'a Fault) -> Option<&'a Target> {
        let targets = fault.targets();
        targets.into_iter().find(|target| !self.nodes.keys().any(|node| self.is_in(target, node)))
    }

    pub(super) fn is_in(&self, target: &Target, node: &NodeId) -> bool {
        self.topology.holds(target, node.as_str())
    }

    /// Who lives otherwise from now on.
    fn lives(&mut self) -> Vec<(NodeId, Life)> {
        let lives = self.nodes.iter().map(|(node, life)| (node.clone(), *life, self.life(node)));
        let changed: Vec<_> = lives.filter(|(_, before, life)| before != life).collect();
        for (node, before, life) in &changed {
            let begun = [
                (FaultKind::Pause, life.paused && !before.paused),
                (FaultKind::Slow, life.every > before.every),
                (FaultKind::FormerWire, life.former_wire && !before.former_wire),
            ];
            for (kind, _) in begun.into_iter().filter(|(_, begins)| *begins) {
                self.count(kind, node.as_str());
            }
            self.nodes.insert(node.clone(), *life);
        }
        changed.into_iter().map(|(node, _, life)| (node, life)).collect()
    }

    pub(super) fn life(&self, node: &NodeId) -> Life {
        let mut life = Life::default();
        for step in &self.present {
            let Fault::Node { nodes, trouble } = &step.fault else { continue };
            if !self.is_in(nodes, node) || step.fault.on(self.tier).is_none() {
                continue;
            }
            match trouble {
                NodeTrouble::Crash => life.crashed = true,
                NodeTrouble::Pause => life.paused = true,
                NodeTrouble::Slow { every } => life.every = life.every.max(*every),
                NodeTrouble::FormerWire => life.former_wire = true,
            }
        }
        life
    }

    /// Whether a fault strikes a node that does so with this share; then it is counted.
    pub(super) fn strikes(&mut self, kind: FaultKind, node: &str, percent: u8) -> bool {
        let strikes = self.chance(kind, node).random_range(0..100) < percent;
        if strikes {
            self.count(kind, node);
        }
        strikes
    }

    pub(super) fn chance(&mut self, kind: FaultKind, node: &str) -> &mut ChaCha8Rng {
        let seed = self.plan.seed;
        let nodes = self.chances.entry(kind).or_default();
        if !nodes.contains_key(node) {
            let seed = host_seed(host_seed(seed, kind.name()), node);
            nodes.insert(node.to_owned(), ChaCha8Rng::seed_from_u64(seed));
        }
        match nodes.get_mut(node) {
            Some(rng) => rng,
            None => unreachable!("it was just put there"),
        }
    }

    pub(super) fn count(&mut self, kind: FaultKind, node: &str) {
        let nodes = self.struck.entry(kind).or_default();
        match nodes.get_mut(node) {
            Some(count) => *count += 1,
            None => drop(nodes.insert(node.to_owned(), 1)),
        }
    }
}

impl Fault {
    /// Whom it meets.
    #[must_use]
    pub fn targets(&self) -> Vec<&Target> {
        match self {
            Self::Link { from, to, .. } => vec![from, to],
            Self::Partition { groups } => groups.iter().collect(),
            Self::Node { nodes, .. }
            | Self::Clock { nodes, .. }
            | Self::Database { nodes, .. }
            | Self::Disk { nodes, .. }
            | Self::Driver { nodes, .. } => vec![nodes],
        }
    }
}
