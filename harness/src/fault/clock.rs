//! Wall clocks that are wrong.

use std::time::Duration;

use super::{ClockTrouble, Fault, Faults, faults::Inner};

impl Faults {
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
    fn wrong_micros(&mut self, node: &str, at: Duration) -> i64 {
        let mut wrong = Vec::new();
        for step in &self.present {
            let Fault::Clock { nodes, trouble } = &step.fault else { continue };
            if self.topology.holds(nodes, node) {
                let (since, lasts) = (at.saturating_sub(step.from), step.until - step.from);
                wrong.push((step.fault.kind(), trouble.wrong_micros(since, lasts)));
            }
        }
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
