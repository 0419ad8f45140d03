//! When the next dial of a peer may be made: later after each failure, and not in step with other nodes.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The pause after a first failed dial.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause: a peer that comes back is found within seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The pauses between the dials of one peer. A cloud whose nodes lose a peer at the same moment would else
/// dial it again at the same moment, each time.
pub(super) struct Backoff {
    rng: ChaCha8Rng,
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { rng: ChaCha8Rng::from_seed(seed), pause: BACKOFF_MIN, until: None }
    }

    /// Dials succeed, or may: the next one need not wait.
    pub(super) fn reset(&mut self) {
        (self.pause, self.until) = (BACKOFF_MIN, None);
    }

    /// A dial has failed now.
    pub(super) fn fail(&mut self, now: Instant) {
        // Between a half and the whole of the pause.
        self.until = Some(now + self.pause.mul_f64(self.rng.random_range(0.5..=1.0)));
        self.pause = (self.pause * 2).min(BACKOFF_MAX);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.until.is_some()
    }

    /// How long to wait before the next dial.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the pauses only compare instants")]

    use super::*;

    /// The pauses after so many failures in a row.
    fn pauses(seed: u8, failures: usize) -> Vec<Duration> {
        let now = Instant::now();
        let mut backoff = Backoff::new([seed; 32]);
        (0..failures)
            .map(|_| {
                backoff.fail(now);
                backoff.remaining(now)
            })
            .collect()
    }

    #[test]
    fn pauses_double_to_a_limit_and_are_cut_by_chance() {
        let mut whole = BACKOFF_MIN;
        for pause in pauses(1, 12) {
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(BACKOFF_MAX);
        }
        assert_eq!(whole, BACKOFF_MAX);
    }

    #[test]
    fn pauses_follow_from_the_seed_and_differ_between_seeds() {
        assert_eq!(pauses(1, 12), pauses(1, 12));
        let in_step = pauses(1, 12).iter().zip(pauses(2, 12)).filter(|(a, b)| *a == b).count();
        assert_eq!(in_step, 0);
    }

    #[test]
    fn a_success_ends_the_pause_and_the_next_failure_begins_anew() {
        let now = Instant::now();
        let mut backoff = Backoff::new([3; 32]);
        (0..9).for_each(|_| backoff.fail(now));
        backoff.reset();
        assert!(!backoff.has_failed());
        assert_eq!(backoff.remaining(now), Duration::ZERO);
        backoff.fail(now);
        assert!(backoff.remaining(now) <= BACKOFF_MIN);
        assert_eq!(backoff.remaining(now + BACKOFF_MIN), Duration::ZERO);
    }
}
