use updraft_runtime::rows::Change;

use super::*;

const NOW: UnixMicros = UnixMicros(1_000_000_000);

fn row() -> DrainRow {
    DrainRow {
        host: "a".to_owned(),
        since: NOW,
        auth: None,
        trace: TraceContext::default(),
        begun: 0,
        stuck: [].into(),
        emptied: None,
    }
}

fn facts(states: &[State]) -> Facts {
    let here = |(index, state): (usize, &State)| Here {
        id: Uuid::from_u128(index as u128),
        name: String::new(),
        state: *state,
    };
    Facts { servers: states.iter().enumerate().map(here).collect(), is_certain: true }
}

fn moved(row: &DrainRow, facts: &Facts, now: UnixMicros) -> Vec<u128> {
    let Plan { effects, .. } = plan(row, facts, now);
    effects.into_iter().map(|Effect::Move(server)| server.as_u128()).collect()
}

#[test]
fn few_servers_are_on_their_way_at_once() {
    let movable = [State::Movable; 4];
    assert_eq!(moved(&row(), &facts(&movable), NOW), [0, 1]);
    let one = [State::Moving, State::Movable, State::Movable];
    assert_eq!(moved(&row(), &facts(&one), NOW), [1]);
    let full = [State::Moving, State::Moving, State::Movable];
    assert_eq!(moved(&row(), &facts(&full), NOW), [] as [u128; 0]);
}

#[test]
fn what_cannot_move_keeps_nobody_from_it_and_is_tried_again() {
    let mut row = row();
    learn(&mut row, Learned::Stuck(Uuid::from_u128(0), "no host".to_owned()), NOW);
    let facts = facts(&[State::Movable, State::Waits("it is in error"), State::Movable]);
    assert_eq!(moved(&row, &facts, NOW), [2]);
    assert_eq!(moved(&row, &facts, NOW.plus(TRY_AGAIN_AFTER)), [0, 2]);
}

#[test]
fn what_came_back_is_left_alone() {
    let mut row = row();
    learn(&mut row, Learned::Begun(Uuid::from_u128(0)), NOW);
    let later = NOW.plus(TRY_AGAIN_AFTER * 100);
    assert_eq!(moved(&row, &facts(&[State::Movable; 2]), later), [1]);
    assert_eq!(row.begun, 1);
}

#[test]
fn of_a_host_that_nobody_hears_nothing_is_moved() {
    let facts = Facts { is_certain: false, ..facts(&[State::Movable]) };
    assert_eq!(moved(&row(), &facts, NOW), [] as [u128; 0]);
    assert!(plan(&row(), &facts, NOW).waits_for.is_some());
}

#[test]
fn a_host_is_empty_once_and_may_have_something_again() {
    let Change::Write(empty) = plan(&row(), &facts(&[]), NOW).change else { panic!("not empty") };
    assert_eq!(empty.emptied, Some(NOW));
    assert!(matches!(plan(&empty, &facts(&[]), NOW).change, Change::Keep));
    let Change::Write(again) = plan(&empty, &facts(&[State::Movable]), NOW).change else {
        panic!("empty still")
    };
    assert_eq!(again.emptied, None);
}
