//! How much of an engine's work is done at once.
//!
//! Plans and effects have room of their own: a plan takes a moment and may be what ends the wait of an effect, and an
//! effect may wait for another node. What finds no room waits by its key alone, first come, first served; so what an
//! engine holds in memory beside its store is bounded by these limits and by the number of its rows.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many rows of one kind are planned at once on a node: as many as it has effects under way, each of which ends in
/// a plan.
pub(super) const PLANS_MAX: usize = EFFECTS_MAX;

/// How many effects of one kind are under way at once on a node: as many as the service at their other end takes
/// ([`MAILBOX_MAX`](crate::rpc::MAILBOX_MAX)), and enough for a burst of 200 servers with a few each.
pub const EFFECTS_MAX: usize = 1_024;

/// The rows that are being planned, and those that wait for it. Whoever enters a row enters it once.
#[derive(Default)]
pub(super) struct Plans {
    at_work: Mutex<AtWork>,
}

#[derive(Default)]
struct AtWork {
    planners: usize,
    waiting: VecDeque<String>,
}

impl Plans {
    /// A planner for this row; without room for one the row waits until a planner asks for the next.
    pub(super) fn enter(self: &Arc<Self>, key: String) -> Option<(Planner, String)> {
        let mut at_work = self.at_work.lock();
        if at_work.planners >= PLANS_MAX {
            at_work.waiting.push_back(key);
            return None;
        }
        at_work.planners += 1;
        Some((Planner { plans: Arc::clone(self), ended: false }, key))
    }
}

/// The right to plan one row at a time.
pub(super) struct Planner {
    plans: Arc<Plans>,
    ended: bool,
}

impl Planner {
    /// The next row to plan; without one the planner has ended.
    pub(super) fn next(&mut self) -> Option<String> {
        let mut at_work = self.plans.at_work.lock();
        let next = at_work.waiting.pop_front();
        if next.is_none() && !self.ended {
            at_work.planners -= 1;
            self.ended = true;
        }
        next
    }
}

impl Drop for Planner {
    /// A plan that panicked takes no room.
    fn drop(&mut self) {
        if !self.ended {
            self.plans.at_work.lock().planners -= 1;
        }
    }
}

/// The room for effects, and the rows that wait for it.
pub(super) struct Effects {
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<String>,
    keys: BTreeSet<String>,
}

impl Default for Effects {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(EFFECTS_MAX)), waiting: Mutex::default() }
    }
}

impl Effects {
    /// Room for one effect, until it is dropped.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Notes that a row found no room.
    pub(super) fn wait(&self, key: &str) {
        let mut waiting = self.waiting.lock();
        if waiting.keys.insert(key.to_owned()) {
            waiting.order.push_back(key.to_owned());
        }
    }

    /// The row that has waited for the longest, if there is room now.
    pub(super) fn next(&self) -> Option<String> {
        if self.room.available_permits() == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let next = waiting.order.pop_front()?;
        waiting.keys.remove(&next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> String {
        number.to_string()
    }

    #[test]
    fn a_row_too_many_waits_for_a_planner() {
        let plans = Arc::new(Plans::default());
        let mut planners: Vec<Planner> =
            (0..PLANS_MAX).map(|number| plans.enter(key(number)).unwrap().0).collect();
        assert!(plans.enter("late".to_owned()).is_none());
        assert!(plans.enter("later".to_owned()).is_none());
        assert_eq!(planners[0].next().unwrap(), "late");
        assert_eq!(planners[1].next().unwrap(), "later");
        assert!(planners[1].next().is_none());
        assert!(plans.enter("last".to_owned()).is_some(), "who has nothing to do makes room");
    }

    #[test]
    fn a_plan_that_panicked_takes_no_room() {
        let plans = Arc::new(Plans::default());
        for number in 0..=PLANS_MAX {
            drop(plans.enter(key(number)).unwrap());
        }
    }

    #[test]
    fn a_row_waits_for_room_once_and_in_its_turn() {
        let effects = Effects::default();
        let mut all: Vec<_> = (0..EFFECTS_MAX).map(|_| effects.room().unwrap()).collect();
        assert!(effects.room().is_none());
        for key in ["z", "a", "z"] {
            effects.wait(key);
        }
        assert_eq!(effects.next(), None, "there is no room yet");
        all.pop();
        assert_eq!(effects.next().unwrap(), "z");
        assert_eq!(effects.next().unwrap(), "a");
        assert_eq!(effects.next(), None);
    }
}
