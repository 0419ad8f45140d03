//! What is under way for a row, and when what brought nothing may be tried again.

use std::time::Duration;

/// The pause after an effect first brought nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

struct Asked<E> {
    effect: E,
    running: bool,
    attempts: u32,
    not_before: Duration,
}

/// The effects that the latest plan of one row asked for.
pub(super) struct Pacing<E> {
    asked: Vec<Asked<E>>,
}

impl<E> Default for Pacing<E> {
    fn default() -> Self {
        Self { asked: Vec::new() }
    }
}

impl<E: Clone + PartialEq> Pacing<E> {
    /// Takes the effects of a new plan and returns those to begin now.
    pub(super) fn want(&mut self, effects: Vec<E>, now: Duration) -> Vec<E> {
        self.asked.retain(|asked| asked.running || effects.contains(&asked.effect));
        let mut begin = Vec::new();
        for effect in effects {
            match self.asked.iter_mut().find(|asked| asked.effect == effect) {
                Some(asked) if asked.running || now < asked.not_before => {}
                Some(asked) => {
                    asked.running = true;
                    begin.push(effect);
                }
                None => {
                    let fresh = effect.clone();
                    self.asked.push(Asked {
                        effect: fresh,
                        running: true,
                        attempts: 0,
                        not_before: now,
                    });
                    begin.push(effect);
                }
            }
        }
        begin
    }

    /// An effect has ended. `jitter` in 0..1 spreads the repeats of many rows.
    pub(super) fn ended(&mut self, effect: &E, now: Duration, jitter: f64) {
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.effect == *effect) {
            let doubled = PAUSE.saturating_mul(1 << asked.attempts.min(8)).min(PAUSE_MAX);
            asked.running = false;
            asked.attempts += 1;
            asked.not_before = now + doubled.mul_f64(0.75 + jitter / 2.0);
        }
    }

    /// When the next repeat is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.asked.iter().filter(|asked| !asked.running).map(|asked| asked.not_before).min()
    }

    /// Whether nothing is asked for or under way.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn an_effect_under_way_is_not_begun_twice() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.want(vec!["call"], MS(0)), ["call"]);
        assert!(pacing.want(vec!["call"], MS(10_000)).is_empty());
    }

    #[test]
    fn repeats_wait_longer_each_time() {
        let mut pacing = Pacing::default();
        pacing.want(vec!["call"], MS(0));
        pacing.ended(&"call", MS(0), 0.5);
        assert_eq!(pacing.due(), Some(MS(200)));
        assert!(pacing.want(vec!["call"], MS(199)).is_empty());
        assert_eq!(pacing.want(vec!["call"], MS(200)), ["call"]);
        pacing.ended(&"call", MS(200), 0.5);
        assert_eq!(pacing.due(), Some(MS(600)));
    }

    #[test]
    fn what_is_no_longer_asked_for_is_forgotten() {
        let mut pacing = Pacing::default();
        pacing.want(vec!["call"], MS(0));
        pacing.ended(&"call", MS(0), 0.5);
        assert!(pacing.want(vec![], MS(0)).is_empty());
        assert!(pacing.is_idle());
        assert_eq!(pacing.want(vec!["call"], MS(1)), ["call"], "a new asking starts afresh");
    }
}
