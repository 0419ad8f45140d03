//! An image whose bytes arrive at one node after another, is deleted at any moment, and is swept, while nodes die or
//! are taken for dead.
//!
//! Real: the image's plan, and what becomes of its row when an upload begins, ends or gives up. The laws in an image's
//! words: only the upload that the row names can end (the fence), what was removed counts for what the row names now
//! (the filter of reports), and a deleted image goes when its bytes are confirmed gone.

mod judge;
mod moves;

use std::collections::BTreeSet;

use serde::Serialize;
use updraft_harness::explore::Model;
use updraft_image::decisions::{Effect, ImageRow, Images, Learned};
use updraft_runtime::{env::UnixMicros, rows::Kind};
use uuid::Uuid;

pub use self::{
    judge::MARKS,
    moves::{Message, Other},
};
use super::{
    EARLY, LATE, Law,
    bag::{Bag, Carriage, Step},
    settle,
};

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Messages: what the plan has asked to be removed.
    pub carriage: Carriage,
    /// Uploads.
    pub uploads: u8,
    /// Uploads that are not heard of until their time is over, dead or not.
    pub silences: u8,
    /// Uploads whose node dies.
    pub crashes: u8,
    /// Uploads that the client breaks off.
    pub breaks: u8,
    /// Deletions.
    pub deletes: u8,
    /// Sweeps.
    pub sweeps: u8,
}

/// The model.
pub struct Image {
    /// The law that it breaks.
    pub broken: Option<Law>,
    /// Whether a sweep reads the row before it lists the bytes.
    pub sweeps_rows_first: bool,
    /// Its bounds.
    pub budget: Budget,
}

/// A sweep under way: the bytes that it listed, or the row that it read.
#[derive(Clone, Serialize)]
enum Sweep {
    Listed(BTreeSet<Uuid>),
    Read(Box<Option<ImageRow>>),
}

/// All there is.
#[derive(Clone, Serialize)]
pub struct State {
    image: Option<ImageRow>,
    /// Uploads under way, and whether their bytes are written.
    uploads: std::collections::BTreeMap<u128, bool>,
    begun: u128,
    bytes: BTreeSet<Uuid>,
    /// Bytes that once were the image's own.
    owned: BTreeSet<Uuid>,
    sweep: Option<Sweep>,
    bag: Bag<Message>,
    budget: Budget,
    silent: bool,
}

fn claims(row: Option<&ImageRow>, upload: Uuid) -> bool {
    row.is_some_and(|row| row.speaks_of(upload))
}

impl State {
    fn now(&self) -> UnixMicros {
        if self.silent { LATE } else { EARLY }
    }

    fn plan(&mut self, broken: Option<Law>) {
        let goes = |row: &ImageRow| row.is_deleted() && row.writer().is_none();
        if broken == Some(Law::ConfirmedGone) && self.image.as_ref().is_some_and(goes) {
            self.image = None;
        }
        let now = self.now();
        for effect in settle::<Images>(&mut self.image, |_| (), now) {
            self.bag.ask(Message::Remove(match effect {
                Effect::Collect(uploads) => Some(uploads),
                Effect::Erase => None,
            }));
        }
        // Whoever claims the image next is heard of from then on.
        self.silent &= self.image.as_ref().is_some_and(|row| row.writer().is_some());
    }

    fn deliver(&mut self, message: &Message, broken: Option<Law>) {
        match message {
            Message::Remove(which) => {
                self.bytes.retain(|upload| which.as_ref().is_some_and(|all| !all.contains(upload)));
                self.bag.answer(Message::Removed(which.clone()));
            }
            Message::Removed(which) => {
                let deleted = self.image.as_ref().is_some_and(ImageRow::is_deleted);
                let learned = match which {
                    Some(_) if broken == Some(Law::ReportFilter) && deleted => Learned::Erased,
                    Some(uploads) => Learned::Collected(uploads.clone()),
                    None => Learned::Erased,
                };
                let now = self.now();
                if let Some(row) = &mut self.image {
                    Images::learn(row, learned, now);
                }
                self.plan(broken);
            }
        }
    }

    fn claim(&mut self, broken: Option<Law>) {
        self.budget.uploads -= 1;
        self.begun += 1;
        let until = UnixMicros(EARLY.0 + 1);
        if let Some(row) = &self.image {
            self.image = Some(row.begun(Uuid::from_u128(self.begun), until, EARLY));
            self.uploads.insert(self.begun, false);
        }
        self.plan(broken);
    }

    fn commit(&mut self, upload: u128, broken: Option<Law>) {
        let id = Uuid::from_u128(upload);
        let now = self.now();
        let row = match &self.image {
            Some(row) if broken == Some(Law::Fence) && !row.is_deleted() => {
                Some(row.begun(id, now, now))
            }
            row => row.clone(),
        };
        match row.and_then(|row| row.ended(id, now)) {
            Some(row) => {
                self.image = Some(row);
                self.owned.insert(id);
                self.uploads.remove(&upload);
                self.plan(broken);
            }
            None => self.give_up(upload, broken),
        }
    }

    fn give_up(&mut self, upload: u128, broken: Option<Law>) {
        let id = Uuid::from_u128(upload);
        self.uploads.remove(&upload);
        let now = self.now();
        self.image = self.image.as_ref().map(|row| row.abandoned(id, now));
        if !claims(self.image.as_ref(), id) {
            self.bytes.remove(&id);
        }
        self.plan(broken);
    }

    fn swept(&mut self) {
        let (row, listed) = match self.sweep.take() {
            Some(Sweep::Listed(listed)) => (self.image.clone(), listed),
            Some(Sweep::Read(row)) => (*row, self.bytes.clone()),
            None => return,
        };
        for upload in listed {
            if !claims(row.as_ref(), upload) {
                self.bytes.remove(&upload);
            }
        }
    }

    fn happen(&mut self, other: Other, model: &Image) {
        let broken = model.broken;
        match other {
            Other::Timer => {
                self.bag.begin_timer();
                self.plan(broken);
                self.bag.end_timer();
            }
            Other::Claim => self.claim(broken),
            Other::Write(upload) => {
                self.uploads.insert(upload, true);
                self.bytes.insert(Uuid::from_u128(upload));
            }
            Other::Commit(upload) => self.commit(upload, broken),
            Other::GiveUp(upload) => {
                self.budget.breaks -= 1;
                self.give_up(upload, broken);
            }
            Other::Crash(upload) => {
                self.budget.crashes -= 1;
                self.uploads.remove(&upload);
            }
            Other::Silence => {
                self.budget.silences = self.budget.silences.saturating_sub(1);
                self.silent = true;
                self.plan(broken);
            }
            Other::Delete => {
                self.budget.deletes -= 1;
                let now = self.now();
                self.image.iter_mut().for_each(|row| row.delete(now));
                self.plan(broken);
            }
            Other::Sweep => {
                self.budget.sweeps = self.budget.sweeps.saturating_sub(1);
                self.sweep = Some(if model.sweeps_rows_first {
                    Sweep::Read(Box::new(self.image.clone()))
                } else {
                    Sweep::Listed(self.bytes.clone())
                });
            }
            Other::Swept => self.swept(),
        }
    }

    /// Whether the row waits for an upload that is dead: its time will be over.
    fn waits_for_dead(&self) -> bool {
        let writer = self.image.as_ref().and_then(ImageRow::writer);
        writer.is_some_and(|writer| !self.uploads.contains_key(&writer.as_u128()))
    }

    fn others(&self) -> Vec<Other> {
        let budget = &self.budget;
        let row = self.image.as_ref();
        let mut others = Vec::new();
        for (upload, written) in &self.uploads {
            let next = if *written { Other::Commit(*upload) } else { Other::Write(*upload) };
            others.push(next);
            others.extend((budget.breaks > 0).then_some(Other::GiveUp(*upload)));
            others.extend((budget.crashes > 0).then_some(Other::Crash(*upload)));
        }
        let written = row.is_some_and(|row| row.writer().is_some());
        // A sweep comes round for ever: one is free once all else is still.
        let still = self.bag.is_empty() && self.uploads.is_empty();
        let may = [
            (budget.uploads > 0 && row.is_some_and(ImageRow::is_queued), Other::Claim),
            (written && (budget.silences > 0 || self.waits_for_dead()), Other::Silence),
            (budget.deletes > 0 && row.is_some_and(|row| !row.is_deleted()), Other::Delete),
            (self.sweep.is_none() && (budget.sweeps > 0 || still), Other::Sweep),
            (self.sweep.is_some(), Other::Swept),
            (row.is_some() && self.bag.may_time_out(), Other::Timer),
        ];
        others.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, other)| other));
        others
    }
}

impl Model for Image {
    type State = State;
    type Move = Step<Message, Other>;

    fn start(&self) -> State {
        State {
            image: Some(ImageRow::queued(Uuid::from_u128(9), EARLY)),
            uploads: std::collections::BTreeMap::new(),
            begun: 0,
            bytes: BTreeSet::new(),
            owned: BTreeSet::new(),
            sweep: None,
            bag: Bag::new(self.budget.carriage),
            budget: self.budget,
            silent: false,
        }
    }

    fn moves(&self, state: &State) -> Vec<Self::Move> {
        let mut moves = state.bag.steps();
        moves.extend(state.others().into_iter().map(Step::Other));
        moves
    }

    fn after(&self, state: &State, by: &Self::Move) -> State {
        let mut next = state.clone();
        if let Step::Other(other) = by {
            next.happen(*other, self);
        } else if let Some(message) = next.bag.carry(by) {
            next.deliver(&message, self.broken);
        }
        next
    }

    fn check(&self, state: &State) -> Result<(), String> {
        state.check()
    }

    fn is_settled(&self, state: &State) -> bool {
        state.is_settled()
    }

    fn marks(&self, state: &State) -> Vec<&'static str> {
        state.marks()
    }
}
