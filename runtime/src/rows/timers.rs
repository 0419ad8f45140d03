//! When rows are to be planned again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The earliest time of each, since planning asks for the next.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Duration, String)>,
    by_key: BTreeMap<String, Duration>,
}

impl Timers {
    pub(super) fn set(&mut self, key: &str, at: Duration) {
        match self.by_key.get(key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                self.by_time.remove(&(*later, key.to_owned()));
            }
            None => {}
        }
        self.by_key.insert(key.to_owned(), at);
        self.by_time.insert((at, key.to_owned()));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the rows whose time has come.
    pub(super) fn due(&mut self, now: Duration) -> Vec<String> {
        let later = self.by_time.split_off(&(now + Duration::from_nanos(1), String::new()));
        let due = std::mem::replace(&mut self.by_time, later);
        let keys: Vec<String> = due.into_iter().map(|(_, key)| key).collect();
        for key in &keys {
            self.by_key.remove(key);
        }
        keys
    }
}
