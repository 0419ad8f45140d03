use std::time::Duration;

use updraft_transport::{Incarnation, NodeId};

use super::{CHANGES_MAX, DEAD_AFTER, Entry, Heard, Named, Since, Table, Word};
use crate::{
    directory::{Member, told::Who},
    rpc::Topic,
};

const SECOND: Duration = Duration::from_secs(1);

fn id(node: &str) -> NodeId {
    NodeId::new(node).unwrap()
}

fn member(node: &str, topics: &[&str]) -> Member {
    Member {
        node: id(node),
        address: ([127, 0, 0, 1], 1).into(),
        incarnation: Incarnation(1),
        edition: 0,
        cell: "cell-1".to_owned(),
        roles: [].into(),
        topics: topics.iter().map(|topic| Topic::new(topic)).collect(),
    }
}

/// What a member says itself.
fn own(at: Duration) -> Word {
    Word { heard: Some(at), load: 0, is_its_own: true }
}

/// What a control node says of it.
fn of_another(at: Duration) -> Word {
    Word { is_its_own: false, ..own(at) }
}

fn servers(table: &Table, topic: &str) -> Vec<String> {
    table.servers(topic).map(|entry| entry.member.node.to_string()).collect()
}

/// The names of what has changed since then, those that are not heard with a mark, and up to where that goes.
fn changes(table: &mut Table, since: u64, now: Duration) -> (Vec<String>, u64) {
    table.note_silence(&id("own"), now);
    let (changes, until) = table.changes(since, now);
    let name =
        |heard: &Heard| format!("{}{}", heard.member.node, if heard.lives() { "" } else { "!" });
    (changes.iter().map(name).collect(), until)
}

fn entry<'a>(table: &'a Table, node: &str) -> &'a Entry {
    table.get(&id(node)).unwrap()
}

#[test]
fn servers_of_a_topic_come_by_id() {
    let mut table = Table::default();
    table.merge(member("two", &["a"]), own(SECOND));
    table.merge(member("one", &["a", "b"]), own(SECOND));
    assert_eq!(servers(&table, "a"), ["one", "two"]);
    assert_eq!(servers(&table, "b"), ["one"]);
    assert!(servers(&table, "c").is_empty());
}

#[test]
fn a_topic_that_is_no_longer_served_is_forgotten() {
    let mut table = Table::default();
    table.merge(member("one", &["a", "b"]), own(SECOND));
    table.merge(member("one", &["b", "c"]), own(SECOND));
    assert!(servers(&table, "a").is_empty());
    assert_eq!(servers(&table, "b"), ["one"]);
    assert_eq!(servers(&table, "c"), ["one"]);
}

#[test]
fn what_was_heard_earlier_by_others_is_no_news() {
    let mut table = Table::default();
    assert!(table.merge(member("one", &["b"]), own(SECOND * 2)));
    assert!(!table.merge(member("one", &["a"]), of_another(SECOND)));
    assert_eq!(servers(&table, "b"), ["one"]);
    assert!(table.merge(member("one", &["a"]), of_another(SECOND * 3)));
    assert_eq!(servers(&table, "a"), ["one"]);
}

#[test]
fn the_later_word_of_a_member_stays_whenever_it_was_heard() {
    let mut table = Table::default();
    let later = Member { edition: 1, ..member("one", &["b"]) };
    assert!(table.merge(member("one", &["a"]), own(SECOND * 3)));
    assert!(table.merge(later, of_another(SECOND)), "it is news although it was heard before");
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND * 3));
    assert!(!table.merge(member("one", &["a"]), own(SECOND * 4)), "it comes late");
    assert_eq!(servers(&table, "b"), ["one"]);
}

#[test]
fn who_is_named_is_heard_if_it_is_known_as_it_is() {
    let mut table = Table::default();
    let named = |edition| Named { node: id("one"), incarnation: Incarnation(1), edition };
    assert!(!table.hear_again(&named(0), own(SECOND)), "nobody knows it");
    table.merge(Member { edition: 1, ..member("one", &[]) }, own(SECOND));
    assert!(table.hear_again(&named(1), own(SECOND * 2)));
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND * 2));
    assert!(!table.hear_again(&named(2), own(SECOND * 3)), "it has changed since");
    assert!(table.hear_again(&named(0), own(SECOND * 4)), "this was overtaken");
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND * 2));
}

#[test]
fn what_somebody_has_been_told_of_is_named() {
    let mut table = Table::default();
    table.merge(member("one", &[]), own(SECOND));
    let is_full = |table: &Table, since| {
        matches!(entry(table, "one").pulse(None, SECOND, since).who, Who::InFull(_))
    };
    assert!(is_full(&table, 0));
    let until = table.version();
    assert!(!is_full(&table, until));
    table.merge(Member { edition: 1, ..member("one", &["a"]) }, own(SECOND));
    assert!(is_full(&table, until));
}

#[test]
fn only_what_has_changed_is_told() {
    let mut table = Table::default();
    table.merge(member("one", &[]), own(SECOND));
    table.merge(member("two", &[]), own(SECOND));
    let (told, until) = changes(&mut table, 0, SECOND);
    assert_eq!(told, ["one", "two"]);
    table.merge(member("one", &[]), own(SECOND * 2));
    assert!(changes(&mut table, until, SECOND * 2).0.is_empty(), "that it still lives is none");
    table.merge(member("one", &["a"]), own(SECOND * 2));
    assert_eq!(changes(&mut table, until, SECOND * 2).0, ["one"]);
}

#[test]
fn silence_is_a_change_and_so_is_its_end() {
    let mut table = Table::default();
    table.merge(member("one", &[]), own(SECOND));
    table.merge(member("two", &[]), own(SECOND * 2));
    let (_, until) = changes(&mut table, 0, SECOND * 2);
    let (told, until) = changes(&mut table, until, SECOND + DEAD_AFTER);
    assert_eq!(told, ["one!"]);
    table.merge(member("one", &[]), own(SECOND * 5));
    assert_eq!(changes(&mut table, until, SECOND * 5).0, ["one", "two!"]);
}

#[test]
fn more_than_fits_into_an_answer_comes_with_the_next_ones() {
    let mut table = Table::default();
    for number in 0..=CHANGES_MAX {
        table.merge(member(&format!("node-{number:03}"), &[]), own(SECOND));
    }
    let (told, until) = changes(&mut table, 0, SECOND);
    assert_eq!(told.len(), CHANGES_MAX);
    assert!(until < table.version());
    let (told, until) = changes(&mut table, until, SECOND);
    assert_eq!((told.len(), until), (1, table.version()));
}

#[test]
fn who_is_vouched_for_was_heard_when_the_voucher_answered() {
    let mut table = Table::default();
    let control = id("control");
    table.merge(member("one", &[]), of_another(SECOND));
    assert!(table.answered(&control, Since::new(Incarnation(1), 1), SECOND));
    table.vouch(&control, &id("one"), true);
    assert!(table.answered(&control, Since::new(Incarnation(1), 1), SECOND * 9));
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND * 9));
    table.vouch(&control, &id("one"), false);
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND));
}

#[test]
fn a_voucher_that_has_restarted_vouches_for_nobody() {
    let mut table = Table::default();
    let control = id("control");
    table.merge(member("one", &[]), of_another(SECOND));
    assert!(table.answered(&control, Since::new(Incarnation(1), 7), SECOND));
    table.vouch(&control, &id("one"), true);
    assert!(table.answered(&control, Since::new(Incarnation(2), 1), SECOND * 9));
    assert_eq!(table.last_heard(entry(&table, "one")), Some(SECOND));
}

#[test]
fn an_answer_that_was_overtaken_says_nothing() {
    let mut table = Table::default();
    let control = id("control");
    assert!(table.answered(&control, Since::new(Incarnation(2), 7), SECOND));
    assert!(!table.answered(&control, Since::new(Incarnation(2), 6), SECOND));
    assert!(!table.answered(&control, Since::new(Incarnation(1), 9), SECOND));
    assert!(table.answered(&control, Since::new(Incarnation(2), 7), SECOND));
}
