//! The memory that drops duplicates and repeats answers.
//!
//! Owns what is known of the messages of each sender's incarnation. Promises that no message that may not be repeated
//! is begun twice: what is too old to be remembered is not begun at all. Keeps the bytes of an answer only for those
//! who may ask for them again, and everything within limits.

mod ascending;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use updraft_transport::{Incarnation, Kind, NodeId};

use self::ascending::Ascending;
use super::{Repeat, cancellation::Cancellation};
use crate::planted::{Bug, is_planted};

/// How many messages of one sender's incarnation are remembered beside those under way. One that is older than all of
/// them is not begun: far more than a busy sender has on the way to one node at once.
const REMEMBERED_PER_SENDER: usize = 4_096;

/// The largest answer that is kept, in bytes; whoever asks for a larger one again is told that it is unknown.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// The most bytes of answers that are kept for one sender: thousands of the usual ones, or a few of the largest.
const ANSWERS_PER_SENDER_MAX_BYTES: usize = 256 << 10;

/// The most senders that are remembered; messages of further ones are refused as busy. More than the nodes of the
/// largest cloud that is simulated.
const SENDERS_MAX: usize = 16_384;

/// How long a sender is remembered beyond the deadlines of all that was heard of it. By then it has given up on all of
/// it, and what was on the way has arrived or is lost: no connection stays silent for so long.
const SENDER_GONE_AFTER: Duration = Duration::from_secs(600);

/// What is to be kept of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// That it is under way: it may be carried out again once it has been answered.
    UnderWay,
    /// That it was begun: nobody asks for its answer again.
    Begun,
    /// How it was answered.
    Answer,
    /// That it was refused, because nobody here takes such a message: its contract is not known.
    Refused,
}

impl Keep {
    /// What a message of this kind and contract needs.
    pub(super) fn of(kind: Kind, repeat: Repeat) -> Self {
        match (kind, repeat) {
            (Kind::Call, Repeat::Fenced) => Self::UnderWay,
            (Kind::Call, Repeat::Deduplicated) => Self::Answer,
            _ => Self::Begun,
        }
    }
}

/// What is known of a message that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Never seen.
    New,
    /// From a former life of the sender.
    Stale,
    /// It is being handled, or it needs no answer.
    Again,
    /// It was answered so.
    Answered(Bytes),
    /// It may have been carried out, but how it was answered is not remembered.
    Forgotten,
    /// There is no room to remember its sender; it was not begun.
    NoRoom,
}

/// A message, as its receiver tells it from others.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// Who sent it.
    pub(super) peer: NodeId,
    /// In which life.
    pub(super) incarnation: Incarnation,
    /// Its number in that life.
    pub(super) id: u64,
    /// How long its sender still waits, and may send it again.
    pub(super) patience: Duration,
    /// What is kept of it.
    pub(super) keep: Keep,
    /// Tells its handler that nobody waits for it any more.
    pub(super) cancellation: Cancellation,
}

#[derive(Default)]
struct Sender {
    incarnation: Incarnation,
    /// When the last of its messages that was heard is given up.
    waits_until: Duration,
    under_way: Ascending<Cancellation>,
    begun: Ascending<()>,
    answers: Ascending<Bytes>,
    answers_bytes: usize,
    /// Every message beyond this one that was begun is in `begun`; senders count their messages up.
    floor: u64,
    /// Messages that nobody here took. Of those that are sent once under their number, only copies come later.
    refused: Ascending<()>,
    /// The same for `refused`.
    refused_floor: u64,
}

impl Sender {
    fn begin(&mut self, mark: &Mark) -> Seen {
        let (id, keep) = (mark.id, mark.keep);
        if self.under_way.contains(id) {
            return Seen::Again;
        }
        if let Some(answer) = self.answers.get(id) {
            return Seen::Answered(answer.clone());
        }
        match keep {
            Keep::UnderWay => {}
            Keep::Begun | Keep::Refused if self.begun.contains(id) => return Seen::Again,
            Keep::Begun if self.refused.contains(id) => return Seen::Again,
            Keep::Answer if self.begun.contains(id) => return Seen::Forgotten,
            _ if id <= self.floor && !is_planted(Bug::DuplicateWindowTooSmall) => {
                return Seen::Forgotten;
            }
            Keep::Begun if id <= self.refused_floor => return Seen::Forgotten,
            Keep::Refused => {}
            _ => self.remember(id),
        }
        self.under_way.insert(id, mark.cancellation.clone());
        Seen::New
    }

    fn remember(&mut self, id: u64) {
        self.begun.insert(id, ());
        let few = is_planted(Bug::DuplicateWindowTooSmall);
        let remembered = if few { 2 } else { REMEMBERED_PER_SENDER };
        if self.begun.len() > remembered
            && let Some((oldest, ())) = self.begun.pop_first()
        {
            self.floor = self.floor.max(oldest);
            self.drop_answer(oldest);
        }
    }

    fn remember_refused(&mut self, id: u64) {
        self.refused.insert(id, ());
        if self.refused.len() > REMEMBERED_PER_SENDER
            && let Some((oldest, ())) = self.refused.pop_first()
        {
            self.refused_floor = self.refused_floor.max(oldest);
        }
    }

    fn keep_answer(&mut self, id: u64, answer: &Bytes) {
        if answer.len() > ANSWER_MAX_BYTES || !self.begun.contains(id) {
            return;
        }
        self.answers_bytes += answer.len();
        self.answers.insert(id, answer.clone());
        while self.answers_bytes > ANSWERS_PER_SENDER_MAX_BYTES
            && let Some(oldest) = self.answers.first()
        {
            self.drop_answer(oldest);
        }
    }

    fn drop_answer(&mut self, id: u64) {
        if let Some(answer) = self.answers.remove(id) {
            self.answers_bytes -= answer.len();
        }
    }
}

/// The messages lately seen, by sender.
#[derive(Default)]
pub(super) struct Memory {
    senders: BTreeMap<NodeId, Sender>,
    swept: Duration,
}

impl Memory {
    /// Whether the message is new; if it is, it is remembered as under way until it has [ended](Self::ended) or is
    /// [forgotten](Self::forget).
    pub(super) fn begin(&mut self, mark: &Mark, now: Duration) -> Seen {
        self.sweep(now);
        let full = self.senders.len() >= SENDERS_MAX;
        if full && !self.senders.contains_key(&mark.peer) {
            return Seen::NoRoom;
        }
        let sender = self.senders.entry(mark.peer.clone()).or_default();
        if mark.incarnation < sender.incarnation {
            return Seen::Stale;
        }
        if mark.incarnation > sender.incarnation {
            // The former life waits for nothing any more.
            sender.under_way.values().for_each(Cancellation::cancel);
            *sender = Sender { incarnation: mark.incarnation, ..Sender::default() };
        }
        sender.waits_until = sender.waits_until.max(now + mark.patience);
        sender.begin(mark)
    }

    /// Its sender no longer waits for a message; whoever handles it is told.
    pub(super) fn cancel(&mut self, peer: &NodeId, incarnation: Incarnation, id: u64) {
        let sender = self.senders.get(peer).filter(|sender| sender.incarnation == incarnation);
        if let Some(cancellation) = sender.and_then(|sender| sender.under_way.get(id)) {
            cancellation.cancel();
        }
    }

    /// A message that was begun has ended so.
    pub(super) fn ended(&mut self, mark: &Mark, answer: &Bytes) {
        if let Some(sender) = self.life(mark) {
            sender.under_way.remove(mark.id);
            if mark.keep == Keep::Answer {
                sender.keep_answer(mark.id, answer);
            }
        }
    }

    /// Forgets a message that nobody carries out, so that it may come again. One that its sender sends under this number
    /// once alone is remembered: what comes of it now is a copy, and it may be carried out elsewhere. So is one of which
    /// nobody here can tell that, until somebody takes such messages.
    pub(super) fn forget(&mut self, mark: &Mark) {
        if let Some(sender) = self.life(mark) {
            sender.under_way.remove(mark.id);
            match mark.keep {
                Keep::Begun => {}
                Keep::Refused => sender.remember_refused(mark.id),
                Keep::UnderWay | Keep::Answer => drop(sender.begun.remove(mark.id)),
            }
        }
    }

    /// Whether a message of the peer's present life has been begun and has not ended.
    pub(super) fn is_under_way(&self, peer: &NodeId, id: u64) -> bool {
        self.senders.get(peer).is_some_and(|sender| sender.under_way.contains(id))
    }

    fn life(&mut self, mark: &Mark) -> Option<&mut Sender> {
        let sender = self.senders.get_mut(&mark.peer)?;
        (sender.incarnation == mark.incarnation).then_some(sender)
    }

    /// Forgets, now and then, the senders that are gone.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) >= SENDER_GONE_AFTER {
            self.swept = now;
            self.senders.retain(|_, sender| now < sender.waits_until + SENDER_GONE_AFTER);
        }
    }
}

#[cfg(test)]
mod tests;
