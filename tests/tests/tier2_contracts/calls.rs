//! Calls.

use std::time::Duration;

use updraft_runtime::rpc::{Address, CallError, Refusal, Rpc};

use super::{
    Absent, Endless, Fenced, LIMIT, MANY, Nobody, Once, Probe, Probes, Remembered, cx, id,
    is_unknown, to_one,
};

/// Calls of every kind while the network is bad; each must be answered.
fn all_are_answered(probes: &mut Probes) {
    for number in 0..MANY {
        let once = probes.calls(to_one(), Once(number, 0));
        let remembered = probes.calls(to_one(), Remembered(MANY + number, 0));
        let fenced = probes.calls(Address::any(), Fenced(2 * MANY + number, 0));
        for call in [once, remembered, fenced] {
            let outcome = probes.outcome(call);
            assert!(outcome.is_ok(), "{number}: {outcome:?}");
        }
    }
    for number in 0..2 * MANY {
        assert_eq!(probes.handled_anywhere(number), 1, "number {number}");
    }
    for number in 2 * MANY..3 * MANY {
        assert!(probes.handled_anywhere(number) >= 1, "number {number}");
    }
}

#[test]
fn under_loss_every_call_is_answered_and_handled_once_unless_it_is_fenced() {
    let mut probes = Probes::start(1);
    probes.world.set_loss(0.05);
    all_are_answered(&mut probes);
}

#[test]
fn under_duplication_and_reordering_every_call_is_answered_and_handled_once_unless_it_is_fenced() {
    let mut probes = Probes::start(2);
    probes.world.set_disorder(0.2, 0.3);
    all_are_answered(&mut probes);
}

#[test]
fn a_call_that_nobody_serves_is_refused() {
    let mut probes = Probes::start(3);
    let rpc: Rpc = probes.world.handle(&id("caller")).unwrap();
    let call = async move { rpc.client::<Absent>().call(&Nobody, &cx(&rpc)).await };
    let outcome = probes.world.on(&id("caller"), LIMIT, call).unwrap();
    let refused = matches!(outcome, Err(CallError::Refused { refusal: Refusal::NoRoute(_), .. }));
    assert!(refused, "{outcome:?}");
}

#[test]
fn a_call_sent_once_is_unknown_when_its_callee_crashes() {
    let mut probes = Probes::start(4);
    let call = probes.calls(to_one(), Once(1, 2_000));
    probes.run_ms(500);
    probes.world.crash(&id("one"));
    probes.run_ms(500);
    probes.world.start(&id("one"));
    let outcome = probes.outcome(call);
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_fenced_call_finds_another_server_when_its_callee_crashes() {
    let mut probes = Probes::start(5);
    let call = probes.calls(Address::any(), Fenced(1, 900));
    probes.run_ms(500);
    let first = if probes.handled("one", 1) == 1 { "one" } else { "two" };
    let other = if first == "one" { "two" } else { "one" };
    probes.world.crash(&id(first));
    assert_eq!(probes.outcome(call).unwrap(), other);
    assert_eq!((probes.handled(first, 1), probes.handled(other, 1)), (1, 1));
}

#[test]
fn a_remembered_call_goes_to_its_server_alone_and_again_after_a_restart() {
    let mut probes = Probes::start(6);
    let call = probes.calls(to_one(), Remembered(1, 900));
    probes.run_ms(500);
    probes.world.crash(&id("one"));
    probes.run_ms(500);
    probes.world.start(&id("one"));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    // The memory is of one life: the handler may be begun once in each.
    assert_eq!((probes.handled("one", 1), probes.handled("two", 1)), (2, 0));
}

#[test]
fn a_remembered_call_that_takes_longer_than_an_attempt_is_handled_once() {
    let mut probes = Probes::start(7);
    let call = probes.calls(to_one(), Remembered(1, 3_500));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_call_sent_once_into_a_partition_is_unknown_and_handled_at_most_once() {
    let mut probes = Probes::start(8);
    probes.world.partition(&id("caller"), &id("one"));
    let call = probes.calls(to_one(), Once(1, 0));
    let outcome = probes.outcome(call);
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert_eq!(probes.handled_anywhere(1), 0, "nothing crosses a partition");
    probes.world.heal();
    probes.run_ms(15_000);
    assert!(probes.handled_anywhere(1) <= 1);
}

#[test]
fn a_fenced_call_to_anybody_goes_around_a_partition() {
    let mut probes = Probes::start(9);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..4 {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        assert_eq!(probes.outcome(call).unwrap(), "two");
    }
}

#[test]
fn a_remembered_call_is_answered_after_a_short_partition() {
    let mut probes = Probes::start(10);
    probes.world.partition(&id("caller"), &id("one"));
    let call = probes.calls(to_one(), Remembered(1, 0));
    probes.run_ms(2_500);
    probes.world.heal();
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_call_of_a_caller_that_crashes_is_handled_once_and_its_next_life_is_not_mistaken() {
    let mut probes = Probes::start(11);
    let lost = probes.calls(to_one(), Remembered(1, 1_000));
    probes.run_ms(200);
    probes.world.crash(&id("caller"));
    drop(lost);
    probes.run_ms(2_000);
    assert_eq!(probes.handled_anywhere(1), 1);
    probes.world.start(&id("caller"));
    probes.knows(2);
    let call = probes.calls(to_one(), Remembered(2, 0));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!((probes.handled_anywhere(1), probes.handled_anywhere(2)), (1, 1));
}

#[test]
fn a_call_to_anybody_goes_to_who_has_less_to_do() {
    let mut probes = Probes::start(25);
    let _busy: Vec<_> = (0..MANY).map(|n| probes.calls(to_one(), Once(n, 8_000))).collect();
    // The other hears of it with the next beats.
    probes.run_ms(1_500);
    for number in MANY..2 * MANY {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        assert_eq!(probes.outcome(call).unwrap(), "two", "number {number}");
    }
}

#[test]
fn calls_to_anybody_are_shared_between_equals() {
    let mut probes = Probes::start(26);
    for number in 0..MANY {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        probes.outcome(call).unwrap();
    }
    let one = (0..MANY).filter(|number| probes.handled("one", *number) > 0).count();
    assert!((5..=35).contains(&one), "{one} of {MANY} went to one of two");
}

#[test]
fn a_handler_hears_over_the_network_that_its_caller_stopped_waiting() {
    for (seed, loss) in [(27, 0.0), (28, 0.2)] {
        let mut probes = Probes::start(seed);
        probes.world.set_loss(loss);
        let rpc: Rpc = probes.world.handle(&id("caller")).unwrap();
        let call = async move {
            let endless = rpc.client::<Probe>().at(to_one()).call(&Endless(1), &cx(&rpc)).await;
            drop(endless);
        };
        let patience = Duration::from_millis(500);
        let caller: Rpc = probes.world.handle(&id("caller")).unwrap();
        let given_up = async move { caller.env().timeout(patience, call).await.is_none() };
        assert_eq!(probes.world.on(&id("caller"), LIMIT, given_up), Some(true));
        probes.run_ms(3_000);
        assert_eq!(probes.handled_anywhere(1), 1, "loss {loss}");
    }
}
