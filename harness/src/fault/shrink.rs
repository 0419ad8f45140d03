//! Makes a plan small that shows something.
//!
//! Pure: a run is a function that is handed in. First whole halves, quarters and so on of the faults are left out
//! (delta debugging), then each fault is made less, until no single step of [`reductions`] still shows it. A run that
//! fails otherwise than the first is for the function to tell apart.

use std::{collections::BTreeSet, time::Duration};

use super::{
    ClockTrouble, DatabaseTrouble, DiskTrouble, DriverTrouble, Fault, FaultPlan, FaultStep,
    LinkTrouble, NodeTrouble, Target, Targets,
};

/// No fault is made shorter than this.
const SHORTEST: Duration = Duration::from_millis(20);

/// What a plan became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that was found to fail.
    pub plan: FaultPlan,
    /// How many runs it took.
    pub runs: usize,
    /// Whether nothing less fails, as far as [`reductions`] goes; `false` if the runs ran out before.
    pub is_minimal: bool,
}

/// Makes a plan that fails small, with so many runs at most.
pub fn shrink(
    plan: &FaultPlan,
    targets: &Targets,
    runs_max: usize,
    fails: impl FnMut(&FaultPlan) -> bool,
) -> Shrunk {
    let mut search = Search { plan: plan.clone(), runs: 0, runs_max, fails };
    search.leave_out();
    let is_minimal = search.make_less(targets);
    Shrunk { plan: search.plan, runs: search.runs, is_minimal }
}

struct Search<F> {
    plan: FaultPlan,
    runs: usize,
    runs_max: usize,
    fails: F,
}

impl<F: FnMut(&FaultPlan) -> bool> Search<F> {
    /// Takes a smaller plan if it fails; `None` if there are no runs left.
    fn take(&mut self, smaller: FaultPlan) -> Option<bool> {
        if self.runs >= self.runs_max {
            return None;
        }
        self.runs += 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.plan = smaller;
        }
        Some(fails)
    }

    /// Leaves out parts, ever smaller ones, as long as the rest fails.
    fn leave_out(&mut self) {
        let mut part = self.plan.steps.len();
        while part > 0 {
            let mut at = 0;
            while at < self.plan.steps.len() {
                let mut rest = self.plan.clone();
                rest.steps.drain(at..rest.steps.len().min(at + part));
                match self.take(rest) {
                    None => return,
                    Some(true) => {}
                    Some(false) => at += part,
                }
            }
            part /= 2;
        }
    }

    /// Goes on until nothing less fails; `false` if the runs ran out.
    fn make_less(&mut self, targets: &Targets) -> bool {
        loop {
            let mut taken = false;
            for smaller in reductions(&self.plan, targets) {
                match self.take(smaller) {
                    None => return false,
                    Some(true) => {
                        taken = true;
                        break;
                    }
                    Some(false) => {}
                }
            }
            if !taken {
                return true;
            }
        }
    }
}

/// Every plan that is one step less: a fault fewer, or one fault that meets fewer nodes, lasts less long, or is less
/// hard. None of them leads back to the plan, however often they are repeated.
#[must_use]
pub fn reductions(plan: &FaultPlan, targets: &Targets) -> Vec<FaultPlan> {
    let with = |at: usize, step: Option<FaultStep>| {
        let mut steps = plan.steps.clone();
        steps.splice(at..=at, step);
        FaultPlan { seed: plan.seed, steps }
    };
    let fewer = (0..plan.steps.len()).map(|at| with(at, None));
    let less = plan
        .steps
        .iter()
        .enumerate()
        .flat_map(|(at, step)| of_step(step, targets).into_iter().map(move |step| (at, step)));
    fewer.chain(less.map(|(at, step)| with(at, Some(step)))).collect()
}

fn of_step(step: &FaultStep, targets: &Targets) -> Vec<FaultStep> {
    let fewer = of_targets(&step.fault, targets);
    let weaker = of_strength(&step.fault);
    let faults = fewer.into_iter().chain(weaker);
    let faults = faults.map(|fault| FaultStep { fault, ..step.clone() });
    of_time(step).into_iter().chain(faults).collect()
}

/// The first half, the second, all but the last quarter and all but the first.
fn of_time(step: &FaultStep) -> Vec<FaultStep> {
    let lasts = whole_millis(step.until.saturating_sub(step.from));
    let (half, most) = (whole_millis(lasts / 2), whole_millis(lasts - lasts / 4));
    let with = |from, until| FaultStep { from, until, fault: step.fault.clone() };
    let mut shorter = Vec::new();
    if half >= SHORTEST {
        shorter.push(with(step.from, step.from + half));
        shorter.push(with(step.until - half, step.until));
    }
    if most >= SHORTEST && most < lasts {
        shorter.push(with(step.from, step.from + most));
        shorter.push(with(step.until - most, step.until));
    }
    shorter
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn of_targets(fault: &Fault, targets: &Targets) -> Vec<Fault> {
    let fewer = |target: &Target| fewer(target, targets);
    match fault {
        Fault::Link { from, to, both_ways, trouble } => {
            let link = |from: &Target, to: &Target, both_ways| Fault::Link {
                from: from.clone(),
                to: to.clone(),
                both_ways,
                trouble: *trouble,
            };
            let mut less: Vec<_> =
                fewer(from).iter().map(|from| link(from, to, *both_ways)).collect();
            less.extend(fewer(to).iter().map(|to| link(from, to, *both_ways)));
            if *both_ways {
                less.extend([link(from, to, false), link(to, from, false)]);
            }
            less
        }
        Fault::Partition { groups } => {
            let mut less = Vec::new();
            for (at, group) in groups.iter().enumerate() {
                for group in fewer(group) {
                    let mut groups = groups.clone();
                    groups[at] = group;
                    less.push(Fault::Partition { groups });
                }
            }
            less
        }
        Fault::Node { nodes, trouble } => {
            fewer(nodes).into_iter().map(|nodes| Fault::Node { nodes, trouble: *trouble }).collect()
        }
        Fault::Clock { nodes, trouble } => fewer(nodes)
            .into_iter()
            .map(|nodes| Fault::Clock { nodes, trouble: *trouble })
            .collect(),
        Fault::Database { nodes, percent, trouble } => {
            let less = fewer(nodes).into_iter();
            less.map(|nodes| Fault::Database { nodes, percent: *percent, trouble: *trouble })
                .collect()
        }
        Fault::Disk { nodes, percent, trouble } => {
            let less = fewer(nodes).into_iter();
            less.map(|nodes| Fault::Disk { nodes, percent: *percent, trouble: *trouble }).collect()
        }
        Fault::Driver { nodes, operation, percent, trouble } => {
            let with = |nodes| Fault::Driver {
                nodes,
                operation: operation.clone(),
                percent: *percent,
                trouble: *trouble,
            };
            fewer(nodes).into_iter().map(with).collect()
        }
    }
}

/// Fewer nodes: of all or of a place, halves by their names; of some, halves and all but one.
fn fewer(target: &Target, targets: &Targets) -> Vec<Target> {
    let nodes = match target {
        Target::Nodes(nodes) => nodes,
        Target::All => &targets.nodes,
        Target::DataCentre(name) => match targets.data_centres.get(name) {
            Some(nodes) => nodes,
            None => return Vec::new(),
        },
        // Nobody says who is in it.
        Target::Rack(_) => return Vec::new(),
    };
    let mut fewer: BTreeSet<Vec<String>> = BTreeSet::new();
    if nodes.len() > 1 {
        let (one, other) = nodes.split_at(nodes.len() / 2);
        fewer.extend([one.to_vec(), other.to_vec()]);
        for left_out in 0..nodes.len() {
            let mut rest = nodes.clone();
            rest.remove(left_out);
            fewer.insert(rest);
        }
    } else if !matches!(target, Target::Nodes(_)) && !nodes.is_empty() {
        fewer.insert(nodes.clone());
    }
    let mut fewer: Vec<_> = fewer.into_iter().collect();
    fewer.sort_by_key(Vec::len);
    fewer.into_iter().map(Target::Nodes).collect()
}

fn of_strength(fault: &Fault) -> Vec<Fault> {
    let mut weaker = Vec::new();
    match fault {
        Fault::Link { from, to, both_ways, trouble } => {
            weaker.extend(trouble.weaker().into_iter().map(|trouble| Fault::Link {
                from: from.clone(),
                to: to.clone(),
                both_ways: *both_ways,
                trouble,
            }));
        }
        Fault::Partition { .. } => {}
        Fault::Node { nodes, trouble } => {
            let of = |trouble| Fault::Node { nodes: nodes.clone(), trouble };
            weaker.extend(trouble.weaker().into_iter().map(of));
        }
        Fault::Clock { nodes, trouble } => {
            let of = |trouble| Fault::Clock { nodes: nodes.clone(), trouble };
            weaker.extend(trouble.weaker().into_iter().map(of));
        }
        Fault::Database { nodes, percent, trouble } => {
            let of = |percent, trouble| Fault::Database { nodes: nodes.clone(), percent, trouble };
            weaker.extend(less(*percent).map(|percent| of(percent, *trouble)));
            weaker.extend(trouble.weaker().into_iter().map(|trouble| of(*percent, trouble)));
        }
        Fault::Disk { nodes, percent, trouble } => {
            let of = |percent, trouble| Fault::Disk { nodes: nodes.clone(), percent, trouble };
            weaker.extend(less(*percent).map(|percent| of(percent, *trouble)));
            weaker.extend(trouble.weaker().into_iter().map(|trouble| of(*percent, trouble)));
        }
        Fault::Driver { nodes, operation, percent, trouble } => {
            let of = |percent, trouble| Fault::Driver {
                nodes: nodes.clone(),
                operation: operation.clone(),
                percent,
                trouble,
            };
            weaker.extend(less(*percent).map(|percent| of(percent, *trouble)));
            weaker.extend(trouble.weaker().into_iter().map(|trouble| of(*percent, trouble)));
        }
    }
    weaker
}

/// Half of a share, and three quarters.
fn less(percent: u8) -> impl Iterator<Item = u8> {
    let steps: BTreeSet<u8> = [percent / 2, percent - percent.div_ceil(4)].into();
    steps.into_iter().filter(move |less| (1..percent).contains(less))
}

/// Half of a time, if anything is left of it.
fn shorter(time: Duration) -> Option<Duration> {
    Some(whole_millis(time / 2)).filter(|half| !half.is_zero())
}

impl LinkTrouble {
    fn weaker(self) -> Vec<Self> {
        match self {
            Self::Loss { percent } => less(percent).map(|percent| Self::Loss { percent }).collect(),
            Self::Duplication { percent } => {
                less(percent).map(|percent| Self::Duplication { percent }).collect()
            }
            Self::Corruption { percent } => {
                less(percent).map(|percent| Self::Corruption { percent }).collect()
            }
            Self::Truncation { percent } => {
                less(percent).map(|percent| Self::Truncation { percent }).collect()
            }
            Self::Reordering { percent, late_max } => {
                let rarer = less(percent).map(|percent| Self::Reordering { percent, late_max });
                let nearer =
                    shorter(late_max).map(|late_max| Self::Reordering { percent, late_max });
                rarer.chain(nearer).collect()
            }
            Self::StaleCopy { percent, after } => {
                let rarer = less(percent).map(|percent| Self::StaleCopy { percent, after });
                let sooner = shorter(after).map(|after| Self::StaleCopy { percent, after });
                rarer.chain(sooner).collect()
            }
            Self::LatencySpike { more } => {
                shorter(more).map(|more| Self::LatencySpike { more }).into_iter().collect()
            }
            Self::Bandwidth { bytes_per_second } => {
                let wider = bytes_per_second.checked_mul(2).filter(|wider| *wider < 1 << 30);
                wider
                    .map(|bytes_per_second| Self::Bandwidth { bytes_per_second })
                    .into_iter()
                    .collect()
            }
            Self::MtuBlackHole { .. } | Self::Cut | Self::Flapping { .. } => Vec::new(),
        }
    }
}

impl NodeTrouble {
    fn weaker(self) -> Vec<Self> {
        match self {
            Self::Slow { every } if every > 2 => vec![Self::Slow { every: (every / 2).max(2) }],
            Self::Crash | Self::Pause | Self::Slow { .. } | Self::FormerWire => Vec::new(),
        }
    }
}

impl ClockTrouble {
    fn weaker(self) -> Vec<Self> {
        match self {
            Self::Skew { ms } if ms / 2 != 0 => vec![Self::Skew { ms: ms / 2 }],
            Self::Drift { ppm } if ppm / 2 != 0 => vec![Self::Drift { ppm: ppm / 2 }],
            Self::Jump { ms } if ms / 2 != 0 => vec![Self::Jump { ms: ms / 2 }],
            _ => Vec::new(),
        }
    }
}

impl DatabaseTrouble {
    fn weaker(self) -> Option<Self> {
        let Self::Slow { longest } = self else { return None };
        shorter(longest).map(|longest| Self::Slow { longest })
    }
}

impl DiskTrouble {
    fn weaker(self) -> Option<Self> {
        let Self::SlowSync { longest } = self else { return None };
        shorter(longest).map(|longest| Self::SlowSync { longest })
    }
}

impl DriverTrouble {
    fn weaker(self) -> Option<Self> {
        let Self::Late { by } = self else { return None };
        shorter(by).map(|by| Self::Late { by })
    }
}
