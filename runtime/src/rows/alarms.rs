//! Alarms: rows that do not settle within the time that their kind states.
//!
//! Owns since when a row has not settled, when to say so and when to say so again, and the board on which a node shows
//! what it has said. Alarms are kept in the store beside the rows, as `shop/~alarm/order/KEY` for the row `order/KEY` of
//! the service `shop`, so that one outlives the node that raised it and subscribers hear of it once. Never changes a row.

mod kept;
mod unsettled;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{env::UnixMicros, store::Record};

pub(super) use kept::{all, keep, take_back};
pub(super) use unsettled::{Unsettled, Verdict};

/// Most alarms of one kind that a node raises at a time: enough to see what is wrong. Further rows that do not settle
/// raise theirs when others have settled, and the log says so.
pub const ALARMS_MAX: usize = 256;

/// Alarms of one kind in a report of a node's vitals: the oldest.
pub const ALARMS_SHOWN: usize = 16;

/// Longest pause between two lines in the log about the same row.
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// Longest text about what a row waits for, in bytes; the effects of a plan may be large.
const WORDS_MAX_BYTES: usize = 300;

/// The event by which subscribers are told that a row does not settle.
pub const UNSETTLED: &str = "row.unsettled";

/// The event by which subscribers are told that it has settled, or is gone.
pub const SETTLED: &str = "row.settled";

/// A row that has not settled within its kind's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its key within its table.
    pub key: String,
    /// Since when it has not settled, on the clock of the node that noticed.
    pub since: UnixMicros,
    /// What its plan waited for when this was last said.
    pub waits_for: String,
}

/// What a node says of one kind of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The table of the rows.
    pub table: String,
    /// Alarms that this node raised, so far.
    pub raised: u64,
    /// Alarms that stand.
    pub standing: u64,
    /// The oldest of them.
    pub oldest: Vec<Alarm>,
}

/// Where the engines of a node show their alarms; clones are the same board.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Shown>>>);

#[derive(Default)]
struct Shown {
    raised: u64,
    alarms: BTreeMap<String, Alarm>,
}

impl Board {
    /// The alarms of this kind of rows, in the order of their keys.
    #[must_use]
    pub fn of<R: Record>(&self) -> Vec<Alarm> {
        let kinds = self.0.lock();
        kinds
            .get(R::TABLE)
            .map(|shown| shown.alarms.values().cloned().collect())
            .unwrap_or_default()
    }

    /// What there is to say of each kind.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        let report = |(table, shown): (&&'static str, &Shown)| {
            let mut oldest: Vec<Alarm> = shown.alarms.values().cloned().collect();
            oldest.sort_by_key(|alarm| alarm.since);
            oldest.truncate(ALARMS_SHOWN);
            let standing = u64::try_from(shown.alarms.len()).unwrap_or(u64::MAX);
            Report { table: (*table).to_owned(), raised: shown.raised, standing, oldest }
        };
        self.0.lock().iter().map(report).collect()
    }

    fn with(&self, table: &'static str, change: impl FnOnce(&mut Shown)) {
        change(self.0.lock().entry(table).or_default());
    }
}

/// At most [`WORDS_MAX_BYTES`] of it.
pub(super) fn shortened(mut words: String) -> String {
    if words.len() > WORDS_MAX_BYTES {
        let end = (0..=WORDS_MAX_BYTES).rev().find(|end| words.is_char_boundary(*end));
        words.truncate(end.unwrap_or_default());
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_characters() {
        let cut = shortened("ü".repeat(WORDS_MAX_BYTES));
        assert_eq!(cut, format!("{}…", "ü".repeat(WORDS_MAX_BYTES / 2)));
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
