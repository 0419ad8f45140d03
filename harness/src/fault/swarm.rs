//! Plans by chance, each with a mix of its own.
//!
//! A seed draws which kinds of faults there are at all, and how hard each is (swarm testing, Groce and others, 2012): a
//! run in which everything goes wrong a little rarely shows what one in which few things go wrong all the time does.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    ClockTrouble, DatabaseTrouble, DiskTrouble, DriverTrouble, Fault, FaultKind, FaultPlan,
    FaultStep, LinkTrouble, NodeTrouble, Target,
};

/// What plans can be drawn for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The nodes.
    pub nodes: Vec<String>,
    /// The data centres, if there are any, and their nodes.
    pub data_centres: BTreeMap<String, Vec<String>>,
    /// How the names of drivers' operations begin; nothing is any.
    pub operations: Vec<String>,
    /// The same for those whose drivers may lose their state.
    pub forgetful: Vec<String>,
    /// All faults end by then.
    pub duration: Duration,
    /// The kinds that may be drawn.
    pub kinds: Vec<FaultKind>,
}

impl Targets {
    /// These nodes, every kind of fault, for so long.
    #[must_use]
    pub fn new(nodes: &[&str], duration: Duration) -> Self {
        Self {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            data_centres: BTreeMap::new(),
            operations: vec![String::new()],
            forgetful: vec![String::new()],
            duration,
            kinds: FaultKind::ALL.to_vec(),
        }
    }

    /// The same without these kinds.
    #[must_use]
    pub fn without(mut self, kinds: &[FaultKind]) -> Self {
        self.kinds.retain(|kind| !kinds.contains(kind));
        self
    }
}

/// Most faults of one kind in a plan.
const OF_A_KIND_MAX: usize = 4;

/// Draws plans.
#[derive(Clone, Copy, Debug)]
pub struct Swarm;

impl Swarm {
    /// The plan of a seed: the same every time. Its kinds are a subset of those that may be, from one to all; each kind
    /// has a share of its own, from rare to nearly always, in every fault of the plan.
    #[must_use]
    pub fn draw(seed: u64, targets: &Targets) -> FaultPlan {
        let mut draw = Draw { rng: ChaCha8Rng::seed_from_u64(seed ^ 0x7377_6172), targets };
        let mut plan = FaultPlan::new(seed);
        for kind in draw.kinds() {
            let percent = draw.percent();
            for _ in 0..draw.rng.random_range(1..=OF_A_KIND_MAX) {
                let (from, until) = draw.time();
                let fault = draw.fault(kind, percent);
                plan.steps.push(FaultStep { from, until, fault });
            }
        }
        plan.steps.sort_by_key(|step| (step.from, step.until));
        plan
    }
}

struct Draw<'a> {
    rng: ChaCha8Rng,
    targets: &'a Targets,
}

impl Draw<'_> {
    /// Each kind with the same chance, which is itself drawn: some plans have few, some have nearly all.
    fn kinds(&mut self) -> Vec<FaultKind> {
        let density = self.rng.random_range(0.05..0.9);
        let all = &self.targets.kinds;
        let drawn: Vec<_> = all.iter().copied().filter(|_| self.rng.random_bool(density)).collect();
        if drawn.is_empty() {
            all.choose(&mut self.rng).copied().into_iter().collect()
        } else {
            drawn
        }
    }

    /// A share: as often below 10 as above.
    fn percent(&mut self) -> u8 {
        if self.rng.random() {
            self.rng.random_range(1..10)
        } else {
            self.rng.random_range(10..=90)
        }
    }

    /// From when until when, in whole milliseconds.
    fn time(&mut self) -> (Duration, Duration) {
        let all = u64::try_from(self.targets.duration.as_millis()).unwrap_or(u64::MAX).max(2);
        let from = self.rng.random_range(0..all - 1);
        // Most faults are short against the run, some last to its end.
        let longest = if self.rng.random_bool(0.8) { (all - from).div_ceil(4) } else { all - from };
        let lasts = self.rng.random_range(1..=longest.max(1));
        (Duration::from_millis(from), Duration::from_millis(from + lasts))
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least..=most))
    }

    fn node(&mut self) -> Target {
        match self.targets.nodes.choose(&mut self.rng) {
            Some(node) => Target::node(node),
            None => Target::All,
        }
    }

    fn data_centre(&mut self) -> Option<Target> {
        let names: Vec<_> = self.targets.data_centres.keys().collect();
        names.choose(&mut self.rng).map(|name| Target::DataCentre((*name).clone()))
    }

    /// All, one, some, or a data centre.
    fn nodes(&mut self) -> Target {
        match self.rng.random_range(0..6) {
            0 => Target::All,
            1 => Target::Nodes(self.some()),
            2 => self.data_centre().unwrap_or_else(|| self.node()),
            _ => self.node(),
        }
    }

    /// About half of the nodes, at least one.
    fn some(&mut self) -> Vec<String> {
        let nodes = &self.targets.nodes;
        let some: Vec<_> = nodes.iter().filter(|_| self.rng.random()).cloned().collect();
        if some.is_empty() { nodes.first().cloned().into_iter().collect() } else { some }
    }

    fn groups(&mut self) -> Vec<Target> {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for node in &self.targets.nodes {
            match self.rng.random_range(0..5) {
                0 | 1 => one.push(node.clone()),
                2 | 3 => other.push(node.clone()),
                _ => {}
            }
        }
        vec![Target::Nodes(one), Target::Nodes(other)]
    }

    fn fault(&mut self, kind: FaultKind, percent: u8) -> Fault {
        if let Some(trouble) = self.of_link(kind, percent) {
            let both_ways =
                kind != FaultKind::OneWayCut && (kind == FaultKind::Cut || self.rng.random());
            let (from, to) = if self.rng.random_bool(0.3) && kind != FaultKind::OneWayCut {
                (Target::All, Target::All)
            } else {
                (self.node(), self.nodes())
            };
            return Fault::Link { from, to, both_ways, trouble };
        }
        if kind == FaultKind::Partition {
            return Fault::Partition { groups: self.groups() };
        }
        let nodes = self.nodes();
        if let Some(trouble) = self.of_node(kind) {
            return Fault::Node { nodes, trouble };
        }
        if let Some(trouble) = self.of_clock(kind) {
            return Fault::Clock { nodes, trouble };
        }
        if let Some(trouble) = self.of_database(kind) {
            return Fault::Database { nodes, percent, trouble };
        }
        if let Some(trouble) = self.of_disk(kind) {
            return Fault::Disk { nodes, percent, trouble };
        }
        let operations = match kind {
            FaultKind::DriverLosesState => &self.targets.forgetful,
            _ => &self.targets.operations,
        };
        let operation = operations.choose(&mut self.rng).cloned().unwrap_or_default();
        Fault::Driver { nodes, operation, percent, trouble: self.of_driver(kind) }
    }

    fn of_link(&mut self, kind: FaultKind, percent: u8) -> Option<LinkTrouble> {
        Some(match kind {
            FaultKind::Loss => LinkTrouble::Loss { percent },
            FaultKind::Duplication => LinkTrouble::Duplication { percent },
            FaultKind::Reordering => {
                LinkTrouble::Reordering { percent, late_max: self.millis(5, 2_000) }
            }
            FaultKind::Corruption => LinkTrouble::Corruption { percent },
            FaultKind::Truncation => LinkTrouble::Truncation { percent },
            FaultKind::MtuBlackHole => {
                LinkTrouble::MtuBlackHole { bytes: self.rng.random_range(100..1_400) }
            }
            FaultKind::LatencySpike => LinkTrouble::LatencySpike { more: self.millis(10, 3_000) },
            FaultKind::Bandwidth => {
                LinkTrouble::Bandwidth { bytes_per_second: self.rng.random_range(2_000..1_000_000) }
            }
            FaultKind::Cut | FaultKind::OneWayCut => LinkTrouble::Cut,
            FaultKind::Flapping => LinkTrouble::Flapping { period: self.millis(100, 10_000) },
            FaultKind::StaleCopy => {
                LinkTrouble::StaleCopy { percent, after: self.millis(1_000, 120_000) }
            }
            _ => return None,
        })
    }

    fn of_node(&mut self, kind: FaultKind) -> Option<NodeTrouble> {
        Some(match kind {
            FaultKind::Crash => NodeTrouble::Crash,
            FaultKind::Pause => NodeTrouble::Pause,
            FaultKind::Slow => NodeTrouble::Slow { every: self.rng.random_range(2..=100) },
            FaultKind::FormerWire => NodeTrouble::FormerWire,
            _ => return None,
        })
    }

    fn of_clock(&mut self, kind: FaultKind) -> Option<ClockTrouble> {
        Some(match kind {
            FaultKind::Skew => ClockTrouble::Skew { ms: self.rng.random_range(-60_000..=60_000) },
            FaultKind::Drift => {
                ClockTrouble::Drift { ppm: self.rng.random_range(-50_000..=50_000) }
            }
            FaultKind::Jump => ClockTrouble::Jump { ms: self.rng.random_range(-60_000..=60_000) },
            _ => return None,
        })
    }

    fn of_database(&mut self, kind: FaultKind) -> Option<DatabaseTrouble> {
        Some(match kind {
            FaultKind::DatabaseAway => DatabaseTrouble::Away,
            FaultKind::LostBeforeCommit => DatabaseTrouble::LostBeforeCommit,
            FaultKind::UnknownNotApplied => DatabaseTrouble::UnknownNotApplied,
            FaultKind::UnknownApplied => DatabaseTrouble::UnknownApplied,
            FaultKind::Conflict => DatabaseTrouble::Conflict,
            FaultKind::SlowCommit => DatabaseTrouble::Slow { longest: self.millis(10, 5_000) },
            _ => return None,
        })
    }

    fn of_disk(&mut self, kind: FaultKind) -> Option<DiskTrouble> {
        Some(match kind {
            FaultKind::DiskFull => DiskTrouble::Full,
            FaultKind::ReadsFail => DiskTrouble::ReadsFail,
            FaultKind::WritesFail => DiskTrouble::WritesFail,
            FaultKind::SyncsFail => DiskTrouble::SyncsFail,
            FaultKind::SlowSync => DiskTrouble::SlowSync { longest: self.millis(10, 5_000) },
            FaultKind::LostWrites => DiskTrouble::LostWrites,
            FaultKind::TornWrites => DiskTrouble::TornWrites,
            _ => return None,
        })
    }

    fn of_driver(&mut self, kind: FaultKind) -> DriverTrouble {
        match kind {
            FaultKind::DriverHangs => DriverTrouble::Hangs,
            FaultKind::DriverLies => DriverTrouble::Lies,
            FaultKind::DriverTwice => DriverTrouble::Twice,
            FaultKind::DriverLate => DriverTrouble::Late { by: self.millis(100, 45_000) },
            FaultKind::DriverLosesState => DriverTrouble::LosesState,
            _ => DriverTrouble::Fails,
        }
    }
}
