//! Wall clocks that are wrong.

use std::time::Duration;

use updraft_transport::NodeId;

use super::{ClockTrouble, Fault, FaultKind, Faults, faults::Inner};

impl Faults {
    /// By how much a node's wall clock is wrong now, one way or the other.
    #[must_use]
    pub fn clock_wrong(&self, node: &NodeId) -> Duration {
        let inner = self.inner.lock();
        let wrong: i64 = inner.wrong(node.as_str(), inner.now).map(|(_, micros)| micros).sum();
        Duration::from_micros(wrong.unsigned_abs())
    }

    /// By how much a node's wall clock is wrong at this true time since the start of the world, in microseconds.
    pub(crate) fn wrong_micros(&self, node: &str, at: Duration) -> i64 {
        let mut inner = self.inner.lock();
        if inner.present.is_empty() {
            return 0;
        }
        inner.wrong_micros(node, at)
    }
}

impl Inner {
    /// What is wrong with a node's wall clock, and by how many microseconds each.
    fn wrong(&self, node: &str, at: Duration) -> impl Iterator<Item = (FaultKind, i64)> {
        self.present.iter().filter_map(move |step| {
            let Fault::Clock { nodes, trouble } = &step.fault else { return None };
            let (since, lasts) = (at.saturating_sub(step.from), step.until - step.from);
            let is_wrong = self.topology.holds(nodes, node);
            is_wrong.then(|| (step.fault.kind(), trouble.wrong_micros(since, lasts)))
        })
    }

    fn wrong_micros(&mut self, node: &str, at: Duration) -> i64 {
        let wrong: Vec<_> = self.wrong(node, at).collect();
        for (kind, _) in wrong.iter().filter(|(_, micros)| *micros != 0) {
            self.count(*kind, node);
        }
        wrong.iter().map(|(_, micros)| micros).sum()
    }
}

impl ClockTrouble {
    /// By how much it is wrong so long after it began.
    fn wrong_micros(self, since: Duration, lasts: Duration) -> i64 {
        let (since, lasts) = (whole_micros(since), whole_micros(lasts).max(1));
        match self {
            Self::Skew { ms } => ms.saturating_mul(1_000),
            Self::Drift { ppm } => since.saturating_mul(ppm.into()) / 1_000_000,
            Self::Jump { ms } => {
                let left = i128::from((lasts - since).clamp(0, lasts));
                let micros = i128::from(ms) * 1_000 * left / i128::from(lasts);
                i64::try_from(micros).unwrap_or_default()
            }
        }
    }
}

fn whole_micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_wrong_as_it_says() {
        let secs = Duration::from_secs;
        let wrong = |trouble: ClockTrouble, since| trouble.wrong_micros(secs(since), secs(10));
        assert_eq!(wrong(ClockTrouble::Skew { ms: -7 }, 3), -7_000);
        assert_eq!(wrong(ClockTrouble::Drift { ppm: 200 }, 5), 1_000);
        let jump = ClockTrouble::Jump { ms: 100 };
        assert_eq!([0, 5, 10].map(|since| wrong(jump, since)), [100_000, 50_000, 0]);
    }
}
