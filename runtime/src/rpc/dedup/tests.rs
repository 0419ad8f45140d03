//! What the memory keeps, and for how long.

use super::*;

mod model;

const START: Duration = Duration::ZERO;
const PATIENCE: Duration = Duration::from_secs(10);
const LIFE: Incarnation = Incarnation(1);
const YES: Bytes = Bytes::from_static(b"yes");

fn mark(id: u64, keep: Keep) -> Mark {
    let (peer, cancellation) = (NodeId::new("a").unwrap(), Cancellation::default());
    Mark { peer, incarnation: LIFE, id, patience: PATIENCE, keep, cancellation }
}

fn from(sender: usize) -> Mark {
    Mark { peer: NodeId::new(&format!("node-{sender}")).unwrap(), ..mark(1, Keep::Begun) }
}

/// A memory in which these messages were begun and answered.
fn after(ids: impl IntoIterator<Item = u64>, keep: Keep, answer: &Bytes) -> Memory {
    let mut memory = Memory::default();
    for id in ids {
        let mark = mark(id, keep);
        assert_eq!(memory.begin(&mark, START), Seen::New, "message {id}");
        memory.ended(&mark, answer);
    }
    memory
}

fn answers_bytes(memory: &Memory) -> usize {
    memory.senders.values().flat_map(|sender| sender.answers.values()).map(Bytes::len).sum()
}

#[test]
fn a_second_copy_of_what_is_under_way_is_not_begun() {
    for keep in [Keep::UnderWay, Keep::Begun, Keep::Answer] {
        let mut memory = Memory::default();
        assert_eq!(memory.begin(&mark(7, keep), START), Seen::New);
        assert_eq!(memory.begin(&mark(7, keep), START), Seen::Again, "{keep:?}");
    }
}

#[test]
fn a_deduplicated_call_is_answered_as_before() {
    let mut memory = after([7], Keep::Answer, &YES);
    assert_eq!(memory.begin(&mark(7, Keep::Answer), START), Seen::Answered(YES));
}

#[test]
fn a_fenced_call_is_forgotten_once_it_is_answered() {
    let mut memory = after([7], Keep::UnderWay, &YES);
    let sender = memory.senders.values().next().unwrap();
    assert!(sender.under_way.len() == 0 && sender.begun.len() == 0);
    assert_eq!(answers_bytes(&memory), 0);
    assert_eq!(memory.begin(&mark(7, Keep::UnderWay), START), Seen::New);
}

#[test]
fn of_what_is_sent_once_only_its_number_is_kept() {
    let mut memory = after([7], Keep::Begun, &YES);
    assert_eq!(answers_bytes(&memory), 0);
    assert_eq!(memory.begin(&mark(7, Keep::Begun), START), Seen::Again);
}

#[test]
fn a_new_life_starts_afresh_and_the_old_one_is_stale() {
    let mut memory = after([7], Keep::Begun, &YES);
    let next = Mark { incarnation: Incarnation(2), ..mark(7, Keep::Begun) };
    assert_eq!(memory.begin(&next, START), Seen::New);
    assert_eq!(memory.begin(&mark(8, Keep::Begun), START), Seen::Stale);
}

#[test]
fn what_is_too_old_to_be_remembered_is_not_begun_again() {
    let ids = 1..=REMEMBERED_PER_SENDER as u64 + 1;
    let mut memory = after(ids.clone(), Keep::Answer, &YES);
    assert_eq!(memory.begin(&mark(1, Keep::Answer), START), Seen::Forgotten);
    assert_eq!(memory.begin(&mark(2, Keep::Answer), START), Seen::Answered(YES));
    assert_eq!(memory.begin(&mark(*ids.end(), Keep::Answer), START), Seen::Answered(YES));
    assert_eq!(memory.begin(&mark(1, Keep::UnderWay), START), Seen::New, "a fenced call may be");
}

#[test]
fn the_answers_kept_for_a_sender_fit_its_budget() {
    let large = Bytes::from(vec![0; ANSWER_MAX_BYTES]);
    let fit = (ANSWERS_PER_SENDER_MAX_BYTES / ANSWER_MAX_BYTES) as u64;
    let mut memory = after(1..=fit + 1, Keep::Answer, &large);
    assert_eq!(answers_bytes(&memory), ANSWERS_PER_SENDER_MAX_BYTES);
    assert_eq!(memory.begin(&mark(1, Keep::Answer), START), Seen::Forgotten);
    assert_eq!(memory.begin(&mark(2, Keep::Answer), START), Seen::Answered(large));
}

#[test]
fn an_answer_over_the_limit_is_not_kept_and_its_call_not_begun_again() {
    let mut memory = after([7], Keep::Answer, &Bytes::from(vec![0; ANSWER_MAX_BYTES + 1]));
    assert_eq!(answers_bytes(&memory), 0);
    assert_eq!(memory.begin(&mark(7, Keep::Answer), START), Seen::Forgotten);
}

#[test]
fn what_nobody_carries_out_may_come_again() {
    let mut memory = Memory::default();
    for keep in [Keep::UnderWay, Keep::Answer] {
        assert_eq!(memory.begin(&mark(7, keep), START), Seen::New);
        memory.forget(&mark(7, keep));
        assert_eq!(memory.begin(&mark(7, keep), START), Seen::New, "{keep:?}");
        memory.forget(&mark(7, keep));
    }
}

#[test]
fn a_copy_of_what_was_refused_and_may_be_carried_out_elsewhere_is_not_begun() {
    let mut memory = Memory::default();
    let once = mark(7, Keep::Begun);
    assert_eq!(memory.begin(&once, START), Seen::New);
    memory.forget(&once);
    assert_eq!(memory.begin(&once, START), Seen::Again);
}

/// A memory in which these messages were refused, because nobody took them.
fn after_refusals(ids: impl IntoIterator<Item = u64>) -> Memory {
    let mut memory = Memory::default();
    for id in ids {
        let mark = mark(id, Keep::Refused);
        assert_eq!(memory.begin(&mark, START), Seen::New, "message {id}");
        memory.forget(&mark);
    }
    memory
}

#[test]
fn a_copy_of_what_nobody_took_is_not_begun_by_whoever_takes_such_messages_later() {
    let mut memory = after_refusals([7]);
    assert_eq!(memory.begin(&mark(7, Keep::Begun), START), Seen::Again);
    for keep in [Keep::UnderWay, Keep::Answer] {
        let mut memory = after_refusals([7]);
        assert_eq!(memory.begin(&mark(7, Keep::Refused), START), Seen::New, "it is refused again");
        memory.forget(&mark(7, Keep::Refused));
        assert_eq!(memory.begin(&mark(7, keep), START), Seen::New, "{keep:?}: sent again");
    }
}

#[test]
fn of_too_many_that_nobody_took_the_oldest_are_not_begun_either() {
    let newest = REMEMBERED_PER_SENDER as u64 + 1;
    let mut memory = after_refusals(1..=newest);
    assert_eq!(memory.senders.values().next().unwrap().refused.len(), REMEMBERED_PER_SENDER);
    assert_eq!(memory.begin(&mark(1, Keep::Begun), START), Seen::Forgotten);
    assert_eq!(memory.begin(&mark(2, Keep::Begun), START), Seen::Again);
    assert_eq!(memory.begin(&mark(newest + 1, Keep::Begun), START), Seen::New);
    assert_eq!(memory.begin(&mark(1, Keep::Answer), START), Seen::New, "it may be sent again");
}

#[test]
fn what_was_begun_is_not_refused_once_nobody_takes_it_any_more() {
    let mut memory = after([7], Keep::Begun, &YES);
    assert_eq!(memory.begin(&mark(7, Keep::Refused), START), Seen::Again);
}

#[test]
fn a_sender_is_forgotten_once_it_is_gone() {
    let mut memory = Memory::default();
    let gone = PATIENCE + SENDER_GONE_AFTER;
    memory.begin(&from(1), START);
    memory.begin(&from(2), START + PATIENCE);
    memory.begin(&from(3), START + gone);
    let known: Vec<&str> = memory.senders.keys().map(NodeId::as_str).collect();
    assert_eq!(known, ["node-2", "node-3"]);
}

#[test]
fn a_silent_sender_that_still_waits_is_not_forgotten() {
    let mut memory = Memory::default();
    let patient = Mark { patience: 2 * SENDER_GONE_AFTER, ..from(1) };
    memory.begin(&patient, START);
    assert_eq!(memory.begin(&patient, START + patient.patience), Seen::Again);
}

#[test]
fn a_sender_too_many_is_refused_until_another_is_gone() {
    let mut memory = Memory::default();
    for sender in 0..SENDERS_MAX {
        assert_eq!(memory.begin(&from(sender), START), Seen::New);
    }
    assert_eq!(memory.begin(&from(SENDERS_MAX), START), Seen::NoRoom);
    assert_eq!(memory.begin(&from(0), START), Seen::Again, "those that are known stay");
    assert_eq!(memory.begin(&from(SENDERS_MAX), PATIENCE + SENDER_GONE_AFTER), Seen::New);
}
