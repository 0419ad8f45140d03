//! Random users and random troubles: what they make lives, changes, and goes.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{Fault, FaultKind, FaultPlan, NodeTrouble, Target},
    world::Tier,
};

use super::weeks::TOLD_LATE;
use crate::workload::{self, Case, Step, gen_case};

/// What users come by in other scenarios alone: hosts are too large to be filled by so few, no handler of the cloud
/// panics, and no node is sent what it may not send.
const LEFT: [(&str, &str); 4] = [
    ("a host that fitted does not when it is claimed", "storm"),
    (TOLD_LATE, "weeks"),
    ("a call with an unknown end is sent again, fenced", "contracts"),
    ("a call that may have been begun is refused elsewhere", "contracts"),
];

/// One of so many seeds has an outage. Its time passes in few seeds, because it costs as much as that of all others.
const OUTAGE_ONE_IN: u32 = 64;

/// One of so many seeds has a host that an operator says is down.
const HOST_DOWN_ONE_IN: u32 = 64;

/// How long an outage lasts: longer than a build may take.
const OUTAGE_LASTS: Duration = Duration::from_secs(660);

/// When it begins, in milliseconds: while users make things.
const OUTAGE_FROM_MS: std::ops::Range<u64> = 1_000..20_000;

/// The scenario.
pub struct Life;

impl Scenario for Life {
    type Case = Case;

    fn name(&self) -> &'static str {
        "life"
    }

    fn about(&self) -> &'static str {
        "users make, change and delete whatever they like, while anything goes wrong"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &workload::MARKS
    }

    fn covers(&self) -> &'static [&'static str] {
        &super::COVERED
    }

    fn leaves(&self) -> &'static [(&'static str, &'static str)] {
        &LEFT
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        let case = Case::draw(seed, options, &gen_case::steps(), gen_case::targets(options.tier));
        let faults = with_outage(case.faults, seed, options);
        let steps = with_host_down(case.steps, seed, options);
        Case { faults, steps, ..case }
    }

    fn run(&self, case: &Case, run: &Run) {
        workload::run(case, run);
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        super::smaller(case)
    }
}

/// Now and then, a host that is down for good as far as anybody knows, and is back when its servers are elsewhere. Its
/// minutes pass on tier 1 alone.
fn with_host_down(mut steps: Vec<Step>, seed: u64, options: &Options) -> Vec<Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x646f_776e);
    if options.tier != Tier::Memory || !rng.random_ratio(1, HOST_DOWN_ONE_IN) {
        return steps;
    }
    let host = rng.random_range(0..u8::try_from(gen_case::HOSTS.len()).unwrap_or(1));
    let at = rng.random_range(steps.len() / 2..=steps.len());
    steps.insert(at, Step::HostGoesDown(host));
    steps
}

/// Now and then, a power failure that all hosts, or one of them, come back from late. On other tiers so much time takes
/// too long.
fn with_outage(faults: FaultPlan, seed: u64, options: &Options) -> FaultPlan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6f75_7461);
    let may_be = options.tier == Tier::Memory && options.faults.contains(FaultKind::Crash.name());
    if !may_be || !rng.random_ratio(1, OUTAGE_ONE_IN) {
        return faults;
    }
    let from = Duration::from_millis(rng.random_range(OUTAGE_FROM_MS));
    let hosts = if rng.random() { &gen_case::HOSTS[..] } else { &gen_case::HOSTS[..1] };
    let nodes = Target::Nodes(hosts.iter().map(ToString::to_string).collect());
    let trouble = NodeTrouble::Crash;
    faults.with(from, from + OUTAGE_LASTS, Fault::Node { nodes, trouble })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn outages(tier: Tier, kinds: &[FaultKind]) -> usize {
        let faults: BTreeSet<_> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        let options = Options { tier, faults };
        let has_one = |seed: &u64| Life.draw(*seed, &options).faults.ends() >= OUTAGE_LASTS;
        (1..=1_000).filter(has_one).count()
    }

    #[test]
    fn outages_are_rare_and_only_where_nodes_may_crash_and_time_is_cheap() {
        let some = outages(Tier::Memory, FaultKind::ALL);
        assert!((8..=24).contains(&some), "{some} of 1,000");
        assert_eq!(outages(Tier::Memory, &[FaultKind::Crash]), some);
        assert_eq!(outages(Tier::Memory, &[FaultKind::Loss]), 0);
        assert_eq!(outages(Tier::Quic, FaultKind::ALL), 0);
    }
}
