//! The memory that drops duplicates and repeats answers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use updraft_transport::{Incarnation, NodeId};

/// How many messages of one sender's incarnation are remembered. A duplicate that arrives after so many
/// others is taken for new: handlers that must not be repeated carry a generation or a key of their own.
pub(super) const REMEMBERED_PER_SENDER: usize = 4_096;

/// Larger answers are not kept; their methods must be [`super::Repeat::Fenced`].
const ANSWER_KEPT_MAX_BYTES: usize = 64 << 10;

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
}

#[derive(Default)]
struct Sender {
    incarnation: Incarnation,
    order: VecDeque<u64>,
    answers: BTreeMap<u64, Option<Bytes>>,
}

/// The messages lately seen, by sender.
#[derive(Default)]
pub(super) struct Memory {
    senders: BTreeMap<NodeId, Sender>,
}

impl Memory {
    /// Whether the message is new; if it is, it is remembered as begun.
    pub(super) fn begin(&mut self, peer: &NodeId, incarnation: Incarnation, id: u64) -> Seen {
        let sender = self.senders.entry(peer.clone()).or_default();
        if incarnation < sender.incarnation {
            return Seen::Stale;
        }
        if incarnation > sender.incarnation {
            *sender = Sender { incarnation, ..Sender::default() };
        }
        match sender.answers.get(&id) {
            Some(Some(answer)) => return Seen::Answered(answer.clone()),
            Some(None) => return Seen::Again,
            None => {}
        }
        if sender.order.len() == REMEMBERED_PER_SENDER
            && let Some(oldest) = sender.order.pop_front()
        {
            sender.answers.remove(&oldest);
        }
        sender.order.push_back(id);
        sender.answers.insert(id, None);
        Seen::New
    }

    /// Remembers the answer to a message that was begun.
    pub(super) fn answered(
        &mut self,
        peer: &NodeId,
        incarnation: Incarnation,
        id: u64,
        answer: &Bytes,
    ) {
        let Some(sender) = self.senders.get_mut(peer) else { return };
        if sender.incarnation != incarnation || answer.len() > ANSWER_KEPT_MAX_BYTES {
            return;
        }
        if let Some(slot) = sender.answers.get_mut(&id) {
            *slot = Some(answer.clone());
        }
    }

    /// Forgets a message that was refused before it was begun, so that it may come again.
    pub(super) fn forget(&mut self, peer: &NodeId, incarnation: Incarnation, id: u64) {
        let Some(sender) = self.senders.get_mut(peer) else { return };
        if sender.incarnation == incarnation {
            sender.answers.remove(&id);
            sender.order.retain(|kept| *kept != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn a_second_copy_is_seen_and_answered_as_the_first() {
        let mut memory = Memory::default();
        let (a, life) = (node("a"), Incarnation(1));
        assert_eq!(memory.begin(&a, life, 7), Seen::New);
        assert_eq!(memory.begin(&a, life, 7), Seen::Again);
        memory.answered(&a, life, 7, &Bytes::from_static(b"yes"));
        assert_eq!(memory.begin(&a, life, 7), Seen::Answered(Bytes::from_static(b"yes")));
    }

    #[test]
    fn a_new_life_starts_afresh_and_the_old_one_is_stale() {
        let mut memory = Memory::default();
        let a = node("a");
        assert_eq!(memory.begin(&a, Incarnation(1), 7), Seen::New);
        assert_eq!(memory.begin(&a, Incarnation(2), 7), Seen::New);
        assert_eq!(memory.begin(&a, Incarnation(1), 8), Seen::Stale);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::default();
        let a = node("a");
        for id in 0..=REMEMBERED_PER_SENDER as u64 {
            assert_eq!(memory.begin(&a, Incarnation(1), id), Seen::New);
        }
        assert_eq!(memory.begin(&a, Incarnation(1), 0), Seen::New, "the oldest is forgotten");
        assert_eq!(memory.begin(&a, Incarnation(1), 2), Seen::Again);
    }
}
