//! The plan and what it learns, without a host.

use std::collections::BTreeSet;

use std::time::Duration;
use updraft_protocol::network::PortWant;

use updraft_runtime::{
    rows::{ASK_EVERY, Change},
    rpc::TraceContext,
};

use super::{
    super::rows::{Fence, fence},
    *,
};

const LIFE: Uuid = Uuid::from_u128(1);
const NOW: UnixMicros = UnixMicros(1_000_000);

fn want(generation: u64, present: bool) -> PortWant {
    PortWant {
        port: Uuid::from_u128(2),
        generation,
        present,
        network: Uuid::from_u128(3),
        server: Uuid::from_u128(4),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: Vec::new(),
        mtu: 1500,
        secured: true,
        groups: BTreeSet::new(),
        pairs: BTreeSet::new(),
    }
}

/// A want that was just heard of.
fn told(generation: u64, present: bool) -> Row<PortWant> {
    Row::new(want(generation, present), TraceContext::default(), NOW)
}

/// A want that the network service confirms.
fn heard(generation: u64, present: bool) -> Row<PortWant> {
    let mut row = told(generation, present);
    assert!(learn(&mut row, Learned::Wanted(Box::new(want(generation, present)))));
    row
}

fn applied(generation: u64, present: bool) -> Row<PortWant> {
    let mut row = heard(generation, present);
    assert!(learn(&mut row, Learned::Done(Applied { generation, life: LIFE })));
    row
}

fn learn(row: &mut Row<PortWant>, learned: Learned<PortWant>) -> bool {
    Keeping::<PortWant>::learn(row, learned, NOW)
}

fn effects(row: &Row<PortWant>, life: Uuid) -> Vec<Effect> {
    Keeping::<PortWant>::plan(row, &life, NOW).effects
}

fn is_deleted(row: &Row<PortWant>, now: UnixMicros) -> bool {
    matches!(Keeping::<PortWant>::plan(row, &LIFE, now).change, Change::Delete)
}

#[test]
fn nothing_is_done_for_a_want_before_the_network_service_confirms_it() {
    assert_eq!(effects(&told(3, true), LIFE), [Effect::Ask { generation: 3 }]);
    assert_eq!(effects(&told(3, false), LIFE), [Effect::Ask { generation: 3 }]);
}

#[test]
fn what_nobody_wants_and_was_never_begun_is_forgotten_at_once() {
    let mut row = told(3, true);
    assert!(learn(&mut row, Learned::Unwanted { generation: 3 }));
    assert!(is_deleted(&row, NOW));
}

#[test]
fn what_nobody_wants_any_more_is_taken_back_and_then_forgotten() {
    let mut row = applied(3, true);
    assert!(learn(&mut row, Learned::Unwanted { generation: 3 }));
    assert!(!row.want.present);
    assert_eq!(effects(&row, LIFE), [Effect::Apply { generation: 3 }]);
    assert!(learn(&mut row, Learned::Done(Applied { generation: 3, life: LIFE })));
    assert!(is_deleted(&row, NOW));
}

#[test]
fn an_answer_about_another_generation_takes_nothing_back() {
    let mut row = applied(3, true);
    assert!(!learn(&mut row, Learned::Unwanted { generation: 2 }));
    assert!(!learn(&mut row, Learned::Wanted(Box::new(want(2, false)))));
    assert_eq!(row, applied(3, true));
}

#[test]
fn a_newer_want_is_heard_of_by_asking() {
    let mut row = applied(3, true);
    assert!(learn(&mut row, Learned::Wanted(Box::new(want(5, false)))));
    assert_eq!(effects(&row, LIFE), [Effect::Apply { generation: 5 }]);
}

#[test]
fn what_is_there_is_asked_about_now_and_then() {
    let row = applied(3, true);
    let plan = |now| Keeping::<PortWant>::plan(&row, &LIFE, now);
    assert_eq!(plan(NOW).wake_at, Some(NOW.plus(ASK_EVERY)));
    assert_eq!(plan(NOW.plus(ASK_EVERY)).effects, [Effect::Ask { generation: 3 }]);
}

#[test]
fn a_newer_want_of_what_was_never_begun_is_asked_about_too() {
    let row = told(3, true).renewed(want(4, true), TraceContext::default(), NOW);
    assert_eq!(effects(&row, LIFE), [Effect::Ask { generation: 4 }]);
}

#[test]
fn a_confirmed_want_is_applied() {
    assert_eq!(effects(&heard(3, true), LIFE), [Effect::Apply { generation: 3 }]);
}

#[test]
fn an_applied_want_is_left_alone() {
    assert_eq!(effects(&applied(3, true), LIFE), []);
}

#[test]
fn the_next_life_of_the_agent_applies_it_again() {
    let next = Uuid::from_u128(99);
    assert_eq!(effects(&applied(3, true), next), [Effect::Apply { generation: 3 }]);
}

#[test]
fn a_want_that_failed_is_tried_again() {
    let mut row = heard(3, true);
    assert!(learn(&mut row, Learned::Failed { generation: 3, reason: "no".to_owned() }));
    assert_eq!(effects(&row, LIFE), [Effect::Apply { generation: 3 }]);
}

#[test]
fn what_was_lost_is_applied_again() {
    let mut row = applied(3, true);
    assert!(learn(&mut row, Learned::Lost { generation: 3 }));
    assert_eq!(effects(&row, LIFE), [Effect::Apply { generation: 3 }]);
}

#[test]
fn news_of_another_generation_change_nothing() {
    let mut row = applied(3, true);
    let before = row.clone();
    for news in [
        Learned::Done(Applied { generation: 2, life: LIFE }),
        Learned::Failed { generation: 2, reason: "no".to_owned() },
        Learned::Lost { generation: 4 },
    ] {
        assert!(!learn(&mut row, news));
    }
    assert_eq!(row, before);
}

#[test]
fn a_removal_is_remembered_for_a_while_and_then_forgotten() {
    let row = applied(3, false);
    assert!(!is_deleted(&row, NOW.plus(REMEMBERED - Duration::from_secs(1))));
    assert!(is_deleted(&row, NOW.plus(REMEMBERED)));
}

#[test]
fn a_removal_that_never_succeeded_is_never_forgotten() {
    assert!(!is_deleted(&heard(3, false), NOW.plus(REMEMBERED * 2)));
}

#[test]
fn what_shall_be_there_is_never_forgotten() {
    assert!(!is_deleted(&applied(3, true), NOW.plus(REMEMBERED * 2)));
}

#[test]
fn an_older_want_is_refused_and_a_newer_one_taken() {
    let known = want(3, true);
    assert_eq!(fence(None, &want(1, true)), Fence::New);
    assert_eq!(fence(Some(&known), &want(4, false)), Fence::New);
    assert_eq!(fence(Some(&known), &want(3, true)), Fence::Same);
    assert_eq!(fence(Some(&known), &want(2, true)), Fence::Stale { known: 3 });
}

#[test]
fn two_wants_of_one_generation_are_told_apart() {
    assert_eq!(fence(Some(&want(3, true)), &want(3, false)), Fence::Differs);
}

#[test]
fn what_nobody_wants_and_is_still_there_is_not_planned_again_and_again() {
    let mut row = applied(1, true);
    assert!(learn(&mut row, Learned::Unwanted { generation: 1 }));
    let set_back = UnixMicros(NOW.0 - 1);
    for now in [set_back, NOW, NOW.plus(ASK_EVERY)] {
        let plan = Keeping::<PortWant>::plan(&row, &LIFE, now);
        assert_eq!(plan.effects, [Effect::Apply { generation: 1 }]);
        assert_eq!(
            plan.wake_at, None,
            "a time that has come would have it planned at once, for ever"
        );
    }
}
