//! The plan and what it learns, without a host.

use std::collections::BTreeSet;

use updraft_protocol::network::PortWant;
use updraft_runtime::{rows::Change, rpc::TraceContext};

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

fn heard(generation: u64, present: bool) -> Row<PortWant> {
    Row::new(want(generation, present), TraceContext::default(), NOW)
}

fn applied(generation: u64, present: bool) -> Row<PortWant> {
    let mut row = heard(generation, present);
    assert!(learn(&mut row, Learned::Done(Applied { generation, life: LIFE })));
    row
}

fn learn(row: &mut Row<PortWant>, learned: Learned) -> bool {
    Keeping::<PortWant>::learn(row, learned, NOW)
}

fn effects(row: &Row<PortWant>, life: Uuid) -> Vec<Effect> {
    Keeping::<PortWant>::plan(row, &life, NOW).effects
}

fn is_deleted(row: &Row<PortWant>, now: UnixMicros) -> bool {
    matches!(Keeping::<PortWant>::plan(row, &LIFE, now).change, Change::Delete)
}

#[test]
fn a_want_just_heard_is_applied() {
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
fn a_removal_is_remembered_for_a_day_and_then_forgotten() {
    let row = applied(3, false);
    assert!(!is_deleted(&row, NOW.plus(TOMBSTONE_KEPT - Duration::from_secs(1))));
    assert!(is_deleted(&row, NOW.plus(TOMBSTONE_KEPT)));
}

#[test]
fn a_removal_that_never_succeeded_is_never_forgotten() {
    assert!(!is_deleted(&heard(3, false), NOW.plus(TOMBSTONE_KEPT * 2)));
}

#[test]
fn what_shall_be_there_is_never_forgotten() {
    assert!(!is_deleted(&applied(3, true), NOW.plus(TOMBSTONE_KEPT * 2)));
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
