//! What counts as a history that can have happened, held against trying all orders.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use updraft_harness::history::{History, NotLinearizable, Spec};

/// A number that is added to, which returns what was there before.
struct Counter;

impl Spec for Counter {
    type State = u8;
    type Op = u8;
    type Return = u8;

    fn apply(state: &mut u8, op: &u8) -> u8 {
        let before = *state;
        *state = state.wrapping_add(*op);
        before
    }
}

const READ: u8 = 0;

#[test]
fn what_was_written_before_is_read() {
    let history = History::<Counter>::default();
    history.returns(history.call("ann", 1), 0);
    history.returns(history.call("bob", READ), 0);
    let wrong = history.check(&0).unwrap_err();
    let NotLinearizable::NoOrder { operations, state, stuck } = wrong else { panic!("{wrong}") };
    assert_eq!(operations.lines().count(), 2);
    assert_eq!((state.as_str(), stuck.as_str()), ("1", "   3 to    4  bob: 0 returned 0"));
}

#[test]
fn what_is_written_meanwhile_may_be_read_or_not() {
    for read in [0, 1] {
        let history = History::<Counter>::default();
        let write = history.call("ann", 1);
        history.returns(history.call("bob", READ), read);
        history.returns(write, 0);
        history.check(&0).unwrap();
    }
}

#[test]
fn what_has_an_unknown_end_may_happen_late_or_never_but_not_be_undone() {
    let late = |reads: &[u8]| {
        let history = History::<Counter>::default();
        let write = history.call("ann", 1);
        history.unknown(write);
        for read in reads {
            history.returns(history.call("bob", READ), *read);
        }
        history.check(&0)
    };
    late(&[0, 0]).unwrap();
    late(&[0, 1]).unwrap();
    late(&[1, 0]).unwrap_err();
    late(&[2]).unwrap_err();
}

#[test]
fn what_was_refused_has_not_happened() {
    let history = History::<Counter>::default();
    let write = history.call("ann", 1);
    history.refused(write);
    history.returns(history.call("bob", READ), 1);
    history.check(&0).unwrap_err();
}

#[test]
fn things_that_have_nothing_to_do_with_one_another_are_checked_by_themselves() {
    let history = History::<Counter>::default();
    history.returns(history.call("ann", 2), 0);
    history.returns(history.call("ann", 1), 0);
    history.check(&0).unwrap_err();
    history.check_each(|op| *op, &0).unwrap();
}

#[test]
fn many_operations_at_a_time_are_decided() {
    let history = History::<Counter>::default();
    for round in 0..20 {
        let calls: Vec<_> = (0..8).map(|who| history.call(&format!("{who}"), 1)).collect();
        for (nth, called) in calls.into_iter().rev().enumerate() {
            history.returns(called, round * 8 + u8::try_from(nth).unwrap());
        }
    }
    assert_eq!(history.returned(), 160);
    history.check(&0).unwrap();
}

/// How an operation ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Returns(u8),
    Unknown,
    Refused,
}

/// An operation, how long after the one before it is called, how long it takes, and how it ends.
type Drawn = (u8, usize, usize, End);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let end = prop_oneof![
        6 => (0_u8..5).prop_map(End::Returns),
        1 => Just(End::Unknown),
        1 => Just(End::Refused),
    ];
    proptest::collection::vec((0_u8..3, 1_usize..4, 1_usize..8, end), 0..6)
}

/// When each is called and returns.
fn times(drawn: &[Drawn]) -> Vec<(usize, usize)> {
    let mut now = 0;
    let timed = drawn.iter().map(|(_, after, takes, _)| {
        now += after * 100;
        (now, now + takes * 100 + 50)
    });
    timed.collect()
}

fn history_of(drawn: &[Drawn]) -> History<Counter> {
    let history = History::default();
    let mut moments: Vec<(usize, usize, bool)> = Vec::new();
    for (which, (called, returned)) in times(drawn).into_iter().enumerate() {
        moments.extend([(called, which, true), (returned, which, false)]);
    }
    moments.sort_unstable();
    let mut called = vec![None; drawn.len()];
    for (_, which, begins) in moments {
        let (op, _, _, end) = drawn[which];
        match (begins, end) {
            (true, _) => called[which] = Some(history.call("somebody", op)),
            (false, End::Returns(value)) => history.returns(called[which].unwrap(), value),
            (false, End::Unknown) => history.unknown(called[which].unwrap()),
            (false, End::Refused) => history.refused(called[which].unwrap()),
        }
    }
    history
}

/// The same by trying every order of all that may have happened.
fn some_order_fits(drawn: &[Drawn]) -> bool {
    fn goes_on(
        drawn: &[Drawn],
        times: &[(usize, usize)],
        done: &mut Vec<usize>,
        state: u8,
    ) -> bool {
        let open = |which: &usize| !done.contains(which);
        let must = |which: &usize| matches!(drawn[*which].3, End::Returns(_));
        let left: Vec<usize> = (0..drawn.len()).filter(open).collect();
        if !left.iter().any(must) {
            return true;
        }
        let first_return =
            left.iter().filter(|which| must(which)).map(|which| times[*which].1).min();
        left.into_iter().any(|which| {
            let (op, _, _, end) = drawn[which];
            let fits = match end {
                End::Returns(value) => value == state,
                End::Unknown => true,
                End::Refused => false,
            };
            if !fits || Some(times[which].0) > first_return {
                return false;
            }
            done.push(which);
            let fits = goes_on(drawn, times, done, state.wrapping_add(op));
            done.pop();
            fits
        })
    }
    goes_on(drawn, &times(drawn), &mut Vec::new(), 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_history_has_an_order_if_and_only_if_trying_all_of_them_finds_one(drawn in drawn()) {
        let decided = history_of(&drawn).check(&0);
        prop_assert_eq!(decided.is_ok(), some_order_fits(&drawn), "{:?}", decided);
    }
}
