//! What is under way for a row, and when what brought nothing may be tried again.

use std::time::Duration;

/// The pause after an effect first brought nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How many effects may begin for one row within [`BUSY_FOR`]: several times what takes a server from nothing to running.
/// Two that undo each other would otherwise follow each other as fast as the machine can.
const BEGUN_MAX: u32 = 100;

/// See [`BEGUN_MAX`].
const BUSY_FOR: Duration = Duration::from_secs(1);

struct Asked<E> {
    effect: E,
    running: bool,
    /// It could begin, but there was no room.
    waits: bool,
    attempts: u32,
    not_before: Duration,
}

/// The effects that the latest plan of one row asked for.
pub(super) struct Pacing<E> {
    asked: Vec<Asked<E>>,
    /// How many have begun since then.
    begun: (u32, Duration),
}

impl<E> Default for Pacing<E> {
    fn default() -> Self {
        Self { asked: Vec::new(), begun: (0, Duration::ZERO) }
    }
}

impl<E: Clone + PartialEq> Pacing<E> {
    /// Takes the effects of a new plan and returns those to begin now, each with its room.
    pub(super) fn want<R>(
        &mut self,
        effects: Vec<E>,
        now: Duration,
        mut room: impl FnMut() -> Option<R>,
    ) -> Vec<(E, R)> {
        self.asked.retain(|asked| asked.running || effects.contains(&asked.effect));
        let mut begin = Vec::new();
        for effect in effects {
            let pause = self.pause(now);
            let asked = self.asked_for(&effect, now);
            if asked.running || now < asked.not_before {
                continue;
            }
            if let Some(until) = pause {
                // Room would bring it nothing.
                (asked.not_before, asked.waits) = (until, false);
                continue;
            }
            let room = room();
            (asked.running, asked.waits) = (room.is_some(), room.is_none());
            self.begun.0 += u32::from(room.is_some());
            begin.extend(room.map(|room| (effect, room)));
        }
        begin
    }

    /// Until when nothing more begins, if so much has begun already.
    fn pause(&mut self, now: Duration) -> Option<Duration> {
        let until = self.begun.1 + BUSY_FOR;
        if now >= until {
            self.begun = (0, now);
        }
        (self.begun.0 >= BEGUN_MAX).then_some(until)
    }

    fn asked_for(&mut self, effect: &E, now: Duration) -> &mut Asked<E> {
        let known = self.asked.iter().position(|asked| asked.effect == *effect);
        let index = known.unwrap_or_else(|| {
            let (effect, not_before) = (effect.clone(), now);
            self.asked.push(Asked {
                effect,
                running: false,
                waits: false,
                attempts: 0,
                not_before,
            });
            self.asked.len() - 1
        });
        &mut self.asked[index]
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

    /// When the next repeat is due. What waits for room is told when there is some.
    pub(super) fn due(&self) -> Option<Duration> {
        let paused = self.asked.iter().filter(|asked| !asked.running && !asked.waits);
        paused.map(|asked| asked.not_before).min()
    }

    /// Whether an effect waits for room.
    pub(super) fn waits(&self) -> bool {
        self.asked.iter().any(|asked| asked.waits)
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

    /// What begins of this when there is room.
    fn want(
        pacing: &mut Pacing<&'static str>,
        effects: &[&'static str],
        now: Duration,
    ) -> Vec<&'static str> {
        let begun = pacing.want(effects.to_vec(), now, || Some(()));
        begun.into_iter().map(|(effect, ())| effect).collect()
    }

    #[test]
    fn an_effect_under_way_is_not_begun_twice() {
        let mut pacing = Pacing::default();
        assert_eq!(want(&mut pacing, &["call"], MS(0)), ["call"]);
        assert!(want(&mut pacing, &["call"], MS(10_000)).is_empty());
    }

    #[test]
    fn repeats_wait_longer_each_time() {
        let mut pacing = Pacing::default();
        want(&mut pacing, &["call"], MS(0));
        pacing.ended(&"call", MS(0), 0.5);
        assert_eq!(pacing.due(), Some(MS(200)));
        assert!(want(&mut pacing, &["call"], MS(199)).is_empty());
        assert_eq!(want(&mut pacing, &["call"], MS(200)), ["call"]);
        pacing.ended(&"call", MS(200), 0.5);
        assert_eq!(pacing.due(), Some(MS(600)));
    }

    #[test]
    fn what_is_no_longer_asked_for_is_forgotten() {
        let mut pacing = Pacing::default();
        want(&mut pacing, &["call"], MS(0));
        pacing.ended(&"call", MS(0), 0.5);
        assert!(want(&mut pacing, &[], MS(0)).is_empty());
        assert!(pacing.is_idle());
        assert_eq!(want(&mut pacing, &["call"], MS(1)), ["call"], "a new asking starts afresh");
    }

    #[test]
    fn two_effects_that_undo_each_other_do_not_follow_each_other_without_end() {
        let mut pacing = Pacing::default();
        let mut begun_at = |now| {
            let turns = ["plug", "unplug"].into_iter().cycle().take(1_000);
            let begins = |effect| {
                let begun = want(&mut pacing, &[effect], now);
                pacing.ended(&effect, now, 0.5);
                begun.len()
            };
            turns.map(begins).sum::<usize>()
        };
        assert_eq!(begun_at(MS(0)), 100);
        assert_eq!(begun_at(MS(999)), 0);
        assert_eq!(begun_at(MS(1_000)), 100);
    }

    #[test]
    fn what_has_to_wait_since_too_much_has_begun_is_due_afterwards() {
        let mut pacing = Pacing::default();
        for number in 0..100 {
            assert_eq!(pacing.want(vec![number], MS(5_300), || Some(())).len(), 1);
            pacing.ended(&number, MS(5_300), 0.5);
        }
        assert!(pacing.want(vec![100], MS(5_400), || Some(())).is_empty());
        assert_eq!(pacing.due(), Some(MS(6_300)));
    }

    #[test]
    fn what_found_no_room_and_then_has_to_wait_longer_is_not_told_of_room() {
        let mut pacing = Pacing::default();
        assert!(pacing.want(vec!["last"], MS(0), || None::<()>).is_empty() && pacing.waits());
        pacing.begun.0 = BEGUN_MAX;
        assert!(want(&mut pacing, &["last"], MS(10)).is_empty());
        assert!(!pacing.waits());
        assert_eq!(pacing.due(), Some(MS(1_000)));
    }

    #[test]
    fn what_finds_no_room_begins_when_there_is_some() {
        let mut pacing = Pacing::default();
        assert!(pacing.want(vec!["call"], MS(0), || None::<()>).is_empty());
        assert!(pacing.waits() && !pacing.is_idle());
        assert_eq!(pacing.due(), None, "no time brings room");
        assert_eq!(want(&mut pacing, &["call"], MS(1)), ["call"]);
        assert!(!pacing.waits());
    }
}
