//! Messages under way: in no order, late, and as far as the bounds allow doubled and lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Serialize, Serializer};
use updraft_harness::explore::identity;

/// How often what goes wrong with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carriage {
    /// Messages that are lost.
    pub losses: u8,
    /// Messages that arrive and stay under way.
    pub duplicates: u8,
    /// Rounds of a timer while something is still under way; one with nothing under way is free.
    pub resends: u8,
}

/// A message under way, and what it is told apart by.
pub struct Parcel<M> {
    key: u128,
    /// What is under way.
    pub message: Arc<M>,
}

impl<M> Clone for Parcel<M> {
    fn clone(&self) -> Self {
        Self { key: self.key, message: self.message.clone() }
    }
}

/// What may happen to a message, or besides.
#[derive(Clone)]
pub enum Step<M, O> {
    /// It arrives.
    Deliver(Parcel<M>),
    /// It arrives and will arrive again.
    Double(Parcel<M>),
    /// It is lost.
    Lose(Parcel<M>),
    /// Something besides.
    Other(O),
}

impl<M: fmt::Display, O: fmt::Display> fmt::Display for Step<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(parcel) => write!(f, "arrives: {}", parcel.message),
            Self::Double(parcel) => write!(f, "arrives, and will again: {}", parcel.message),
            Self::Lose(parcel) => write!(f, "is lost: {}", parcel.message),
            Self::Other(other) => other.fmt(f),
        }
    }
}

/// What is under way. Equal messages are one.
#[derive(Clone)]
pub struct Bag<M> {
    under_way: BTreeMap<u128, Arc<M>>,
    /// Everything that a plan ever asked to send: it repeats a message by its timer only.
    asked: BTreeSet<u128>,
    carriage: Carriage,
    by_timer: bool,
}

impl<M> Serialize for Bag<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let under_way: Vec<_> = self.under_way.keys().collect();
        (under_way, &self.asked, &self.carriage).serialize(serializer)
    }
}

impl<M: Serialize> Bag<M> {
    /// Nothing under way yet.
    #[must_use]
    pub fn new(carriage: Carriage) -> Self {
        Self { under_way: BTreeMap::new(), asked: BTreeSet::new(), carriage, by_timer: false }
    }

    /// Sends what a plan asks to send: again only by its timer.
    pub fn ask(&mut self, message: M) {
        let key = identity(&message);
        if self.asked.insert(key) || self.by_timer {
            self.under_way.insert(key, Arc::new(message));
        }
    }

    /// Sends an answer.
    pub fn answer(&mut self, message: M) {
        self.under_way.insert(identity(&message), Arc::new(message));
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What is under way.
    pub fn messages(&self) -> impl Iterator<Item = &M> {
        self.under_way.values().map(AsRef::as_ref)
    }

    /// Replaces messages by what they come to.
    pub fn rewrite(&mut self, change: impl Fn(&M) -> Option<M>) {
        let changed: Vec<_> = self
            .under_way
            .iter()
            .filter_map(|(key, message)| change(message).map(|new| (*key, new)))
            .collect();
        for (key, _) in &changed {
            self.under_way.remove(key);
        }
        for (_, new) in changed {
            self.answer(new);
        }
    }

    /// Forgets messages, such as answers to who has died.
    pub fn forget(&mut self, gone: impl Fn(&M) -> bool) {
        self.under_way.retain(|_, message| !gone(message));
    }

    /// Whether timers may come round.
    #[must_use]
    pub fn may_time_out(&self) -> bool {
        self.is_empty() || self.carriage.resends > 0
    }

    /// A timer comes round: until the next call, what is still asked for is sent again.
    pub fn begin_timer(&mut self) {
        if !self.is_empty() {
            self.carriage.resends -= 1;
        }
        self.by_timer = true;
    }

    /// Somebody starts anew, and asks again: as by a timer, and at no cost.
    pub fn begin_anew(&mut self) {
        self.by_timer = true;
    }

    /// The timer is done.
    pub fn end_timer(&mut self) {
        self.by_timer = false;
    }

    /// What may happen to what is under way.
    #[must_use]
    pub fn steps<O>(&self) -> Vec<Step<M, O>> {
        let parcels = || {
            let under_way = self.under_way.iter();
            under_way.map(|(key, message)| Parcel { key: *key, message: message.clone() })
        };
        let mut steps: Vec<_> = parcels().map(Step::Deliver).collect();
        if self.carriage.duplicates > 0 {
            steps.extend(parcels().map(Step::Double));
        }
        if self.carriage.losses > 0 {
            steps.extend(parcels().map(Step::Lose));
        }
        steps
    }

    /// Takes a message out as the step says; the message, if it arrives.
    pub fn carry<O>(&mut self, step: &Step<M, O>) -> Option<Arc<M>> {
        match step {
            Step::Deliver(parcel) => self.take(parcel),
            Step::Double(parcel) => {
                self.carriage.duplicates -= 1;
                Some(parcel.message.clone())
            }
            Step::Lose(parcel) => {
                self.carriage.losses -= 1;
                self.take(parcel);
                None
            }
            Step::Other(_) => None,
        }
    }

    /// Takes a message out: it arrives.
    pub fn take(&mut self, parcel: &Parcel<M>) -> Option<Arc<M>> {
        self.under_way.remove(&parcel.key)
    }

    /// Every message under way, as parcels.
    pub fn parcels(&self) -> impl Iterator<Item = Parcel<M>> + '_ {
        let under_way = self.under_way.iter();
        under_way.map(|(key, message)| Parcel { key: *key, message: message.clone() })
    }
}
