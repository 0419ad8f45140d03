//! What was last refused, by whom or to whom, so that each refusal is logged once.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Refusals remembered. Above it all are forgotten, and logged once more if they go on.
const REFUSALS_MAX: usize = 1024;

/// The last refusal of each peer, or of each address of who is not known yet.
#[derive(Default)]
pub(super) struct Refusals {
    last: Mutex<BTreeMap<String, String>>,
}

impl Refusals {
    /// Remembers a refusal; whether it is another than the last one of this peer.
    pub(super) fn is_news(&self, who: &str, why: &str) -> bool {
        let mut last = self.last.lock();
        if last.get(who).is_some_and(|last| last == why) {
            return false;
        }
        if last.len() >= REFUSALS_MAX {
            last.clear();
        }
        last.insert(who.to_owned(), why.to_owned());
        true
    }

    /// Forgets a peer's refusals: it was accepted.
    pub(super) fn forget(&self, who: &str) {
        self.last.lock().remove(who);
    }
}
