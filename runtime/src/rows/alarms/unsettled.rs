//! Since when rows have not settled, when that is told, and when it is told again.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use parking_lot::Mutex;

use super::{AGAIN_MAX, ALARMS_MAX, Alarm, Board};
use crate::{env::UnixMicros, store::Record};

/// What is to be done about a row after a look at it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rows) enum Verdict {
    /// Nothing.
    Quiet,
    /// To look again at this time.
    LookAt(Duration),
    /// To say that it has not settled since then, and to look again.
    Tell {
        /// Since when.
        since: UnixMicros,
        /// When to look again.
        again: Duration,
    },
    /// To take its alarm back.
    Over,
}

struct Waiting {
    since: UnixMicros,
    tell_at: Duration,
    told: u32,
    /// The store may have an alarm.
    raised: bool,
}

#[derive(Default)]
struct Rows {
    by_key: BTreeMap<String, Waiting>,
    /// How many of them have an alarm.
    raised: usize,
    /// There were too many alarms for one more, and the log says so.
    is_full: bool,
}

impl Rows {
    /// Forgets a row; says whether it had an alarm.
    fn remove(&mut self, key: &str) -> bool {
        let had = self.by_key.remove(key).is_some_and(|row| row.raised);
        if had {
            self.raised -= 1;
            self.is_full = false;
        }
        had
    }
}

/// The rows of one kind that have not settled.
pub(in crate::rows) struct Unsettled {
    table: &'static str,
    within: Option<Duration>,
    rows: Mutex<Rows>,
    board: OnceLock<Board>,
}

impl Unsettled {
    pub(in crate::rows) fn new<R: Record>(within: Option<Duration>) -> Self {
        Self { table: R::TABLE, within, rows: Mutex::default(), board: OnceLock::new() }
    }

    /// Whether alarms are raised at all.
    pub(in crate::rows) fn is_watched(&self) -> bool {
        self.within.is_some()
    }

    pub(in crate::rows) fn show_on(&self, board: &Board) {
        if self.board.set(board.clone()).is_err() {
            tracing::warn!(table = self.table, "its alarms are shown on another board already");
        }
    }

    pub(in crate::rows) fn board(&self) -> &Board {
        self.board.get_or_init(Board::default)
    }

    /// Takes note of whether a row has settled, and says what to do about it.
    pub(in crate::rows) fn look(
        &self,
        key: &str,
        settled: bool,
        now: Duration,
        wall: UnixMicros,
    ) -> Verdict {
        let Some(within) = self.within else { return Verdict::Quiet };
        let mut rows = self.rows.lock();
        if settled {
            return if rows.remove(key) { Verdict::Over } else { Verdict::Quiet };
        }
        let Rows { by_key, raised, is_full } = &mut *rows;
        let fresh = || Waiting { since: wall, tell_at: now + within, told: 0, raised: false };
        let row = by_key.entry(key.to_owned()).or_insert_with(fresh);
        if now < row.tell_at {
            return Verdict::LookAt(row.tell_at);
        }
        let pause = within.saturating_mul(1 << row.told.min(16)).min(AGAIN_MAX.max(within));
        row.tell_at = now + pause;
        if !row.raised && *raised >= ALARMS_MAX {
            if !std::mem::replace(is_full, true) {
                let table = self.table;
                tracing::warn!(table, key, "{ALARMS_MAX} rows do not settle; no more are told of");
            }
            return Verdict::LookAt(row.tell_at);
        }
        *raised += usize::from(!std::mem::replace(&mut row.raised, true));
        row.told += 1;
        Verdict::Tell { since: row.since, again: row.tell_at }
    }

    /// Takes up an alarm that was raised before, by this node or another; it is told of at the next look.
    pub(in crate::rows) fn take_up(&self, alarm: &Alarm, now: Duration) {
        let since = alarm.since;
        let mut rows = self.rows.lock();
        if !rows.by_key.contains_key(&alarm.key) {
            let row = Waiting { since, tell_at: now, told: 0, raised: true };
            rows.by_key.insert(alarm.key.clone(), row);
            rows.raised += 1;
        }
    }

    /// Forgets the rows that others act for, and returns those that are left.
    pub(in crate::rows) fn keep(&self, owns: impl Fn(&str) -> bool) -> Vec<String> {
        let mut rows = self.rows.lock();
        let others: Vec<String> = rows.by_key.keys().filter(|key| !owns(key)).cloned().collect();
        others.iter().for_each(|key| {
            rows.remove(key);
        });
        self.board().with(self.table, |shown| shown.alarms.retain(|key, _| owns(key)));
        rows.by_key.keys().cloned().collect()
    }

    /// Shows an alarm; one that was raised just now is counted.
    pub(in crate::rows) fn show(&self, alarm: &Alarm, is_new: bool) {
        self.board().with(self.table, |shown| {
            shown.raised += u64::from(is_new);
            shown.alarms.insert(alarm.key.clone(), alarm.clone());
        });
    }

    pub(in crate::rows) fn hide(&self, key: &str) {
        self.board().with(self.table, |shown| {
            shown.alarms.remove(key);
        });
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Named(String);

    impl Record for Named {
        const TABLE: &'static str = "test/named";
        fn key(&self) -> String {
            self.0.clone()
        }
    }

    const SEC: fn(u64) -> Duration = Duration::from_secs;
    const BEGAN: UnixMicros = UnixMicros(7);

    fn within_a_minute() -> Unsettled {
        Unsettled::new::<Named>(Some(SEC(60)))
    }

    fn look(rows: &Unsettled, settled: bool, at_secs: u64) -> Verdict {
        rows.look("row", settled, SEC(at_secs), BEGAN.plus(SEC(at_secs)))
    }

    fn tell(again_secs: u64) -> Verdict {
        Verdict::Tell { since: BEGAN, again: SEC(again_secs) }
    }

    #[test]
    fn a_row_that_settles_in_time_raises_nothing() {
        let rows = within_a_minute();
        assert_eq!(look(&rows, false, 0), Verdict::LookAt(SEC(60)));
        assert_eq!(look(&rows, false, 59), Verdict::LookAt(SEC(60)));
        assert_eq!(look(&rows, true, 60), Verdict::Quiet);
    }

    #[test]
    fn one_that_does_not_is_told_of_with_growing_pauses_until_it_does() {
        let rows = within_a_minute();
        look(&rows, false, 0);
        assert_eq!(look(&rows, false, 60), tell(120));
        assert_eq!(look(&rows, false, 61), Verdict::LookAt(SEC(120)));
        assert_eq!(look(&rows, false, 120), tell(240));
        assert_eq!(look(&rows, false, 240), tell(480));
        assert_eq!(look(&rows, true, 241), Verdict::Over);
        assert_eq!(look(&rows, true, 242), Verdict::Quiet);
    }

    #[test]
    fn the_pause_has_a_longest() {
        let rows = within_a_minute();
        look(&rows, false, 0);
        let mut at_secs = 60;
        for _ in 0..20 {
            let Verdict::Tell { again, .. } = look(&rows, false, at_secs) else { panic!("quiet") };
            assert!(again - SEC(at_secs) <= AGAIN_MAX);
            at_secs = again.as_secs();
        }
    }

    #[test]
    fn no_more_than_the_limit_are_raised_until_one_settles() {
        let rows = within_a_minute();
        let at = |key: usize, settled, secs| rows.look(&key.to_string(), settled, SEC(secs), BEGAN);
        for key in 0..=ALARMS_MAX {
            at(key, false, 0);
        }
        for key in 0..ALARMS_MAX {
            assert!(matches!(at(key, false, 60), Verdict::Tell { .. }));
        }
        assert_eq!(at(ALARMS_MAX, false, 60), Verdict::LookAt(SEC(120)));
        assert_eq!(at(0, true, 61), Verdict::Over);
        assert!(matches!(at(ALARMS_MAX, false, 120), Verdict::Tell { .. }));
    }

    #[test]
    fn an_alarm_of_a_former_life_is_told_of_at_once_with_its_own_time() {
        let rows = within_a_minute();
        let alarm = Alarm { key: "row".to_owned(), since: BEGAN, waits_for: String::new() };
        rows.take_up(&alarm, SEC(1_000));
        assert_eq!(look(&rows, false, 1_000), tell(1_060));
    }

    #[test]
    fn what_others_act_for_is_forgotten() {
        let rows = within_a_minute();
        for key in ["mine", "theirs"] {
            rows.look(key, false, SEC(0), BEGAN);
            let alarm = Alarm { key: key.to_owned(), since: BEGAN, waits_for: String::new() };
            rows.show(&alarm, true);
        }
        assert_eq!(rows.keep(|key| key == "mine"), ["mine"]);
        let shown = rows.board().of::<Named>();
        assert_eq!(shown.iter().map(|alarm| alarm.key.as_str()).collect::<Vec<_>>(), ["mine"]);
        assert_eq!(rows.look("theirs", false, SEC(60), BEGAN), Verdict::LookAt(SEC(120)));
    }

    #[test]
    fn a_kind_without_a_time_raises_nothing() {
        let rows = Unsettled::new::<Named>(None);
        assert_eq!(look(&rows, false, 0), Verdict::Quiet);
        assert_eq!(look(&rows, false, 1_000_000), Verdict::Quiet);
    }
}
