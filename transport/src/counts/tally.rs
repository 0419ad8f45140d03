//! The running numbers behind [`Counts`]: each is one atomic, so that counting costs next to nothing.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{ClassCounts, Counts, Refused};
use crate::wire::Class;

/// What has happened on one link. How much there is now is asked of its peers instead.
#[derive(Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    dialled: AtomicU64,
    dials_failed: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    classes: [ClassTally; Class::ALL.len()],
}

#[derive(Default)]
struct ClassTally {
    sent_frames: AtomicU64,
    sent_bytes: AtomicU64,
    received_frames: AtomicU64,
    received_bytes: AtomicU64,
    dropped_frames: AtomicU64,
    turned_away_frames: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Tally {
    pub(crate) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn dialled(&self) {
        add(&self.dialled, 1);
    }

    pub(crate) fn dial_failed(&self) {
        add(&self.dials_failed, 1);
    }

    pub(crate) fn refused(&self, why: Refused) {
        add(&self.refused[why as usize], 1);
    }

    pub(crate) fn sent(&self, class: Class, frames: usize, bytes: usize) {
        add(&self.class(class).sent_frames, frames);
        add(&self.class(class).sent_bytes, bytes);
    }

    pub(crate) fn received(&self, class: Class, bytes: usize) {
        add(&self.class(class).received_frames, 1);
        add(&self.class(class).received_bytes, bytes);
    }

    /// Bytes of a body; its pieces are not seen as they come.
    pub(crate) fn received_of_body(&self, bytes: usize) {
        add(&self.class(Class::Bulk).received_bytes, bytes);
    }

    pub(crate) fn dropped(&self, class: Class, frames: usize) {
        add(&self.class(class).dropped_frames, frames);
    }

    pub(crate) fn turned_away(&self, class: Class) {
        add(&self.class(class).turned_away_frames, 1);
    }

    fn class(&self, class: Class) -> &ClassTally {
        &self.classes[class as usize]
    }

    /// The numbers so far; nothing stands or waits in them.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            up: 0,
            speaking: BTreeMap::new(),
            opened: read(&self.opened),
            dialled: read(&self.dialled),
            dials_failed: read(&self.dials_failed),
            refused: Refused::ALL.map(|why| (why, read(&self.refused[why as usize]))).into(),
            classes: Class::ALL.map(|class| (class, self.class(class).counts())).into(),
        }
    }
}

impl ClassTally {
    fn counts(&self) -> ClassCounts {
        ClassCounts {
            sent_frames: read(&self.sent_frames),
            sent_bytes: read(&self.sent_bytes),
            received_frames: read(&self.received_frames),
            received_bytes: read(&self.received_bytes),
            dropped_frames: read(&self.dropped_frames),
            turned_away_frames: read(&self.turned_away_frames),
            waiting_frames: 0,
            waiting_bytes: 0,
        }
    }
}
