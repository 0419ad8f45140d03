//! Casts and fan-outs.

use super::{MANY, Probes, id};

/// Casts while the network is bad; each must be handled once.
fn all_casts_arrive_once(probes: &mut Probes) {
    for number in 0..MANY {
        probes.cast(number).unwrap();
        probes.run_ms(20);
    }
    probes.run_ms(5_000);
    for number in 0..MANY {
        assert_eq!(probes.handled("one", number), 1, "number {number}");
    }
}

#[test]
fn casts_arrive_once_each_under_loss() {
    let mut probes = Probes::start(12);
    probes.world.set_loss(0.05);
    all_casts_arrive_once(&mut probes);
}

#[test]
fn casts_arrive_once_each_under_duplication_and_reordering() {
    let mut probes = Probes::start(15);
    probes.world.set_disorder(0.2, 0.3);
    all_casts_arrive_once(&mut probes);
}

#[test]
fn a_cast_into_a_partition_is_lost_or_late_but_never_doubled_and_casts_pass_once_it_heals() {
    let mut probes = Probes::start(16);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..MANY {
        // Refused is as good as lost.
        let _ = probes.cast(number);
        probes.run_ms(200);
    }
    let crossed = (0..MANY).filter(|number| probes.handled_anywhere(*number) > 0).count();
    assert_eq!(crossed, 0, "nothing crosses a partition");
    probes.world.heal();
    probes.run_ms(10_000);
    probes.cast(MANY).unwrap();
    probes.run_ms(500);
    for number in 0..MANY {
        assert!(probes.handled_anywhere(number) <= 1, "number {number}");
    }
    assert_eq!(probes.handled("one", MANY), 1, "the partition is over");
}

#[test]
fn a_cast_of_a_sender_that_crashes_is_handled_at_most_once_and_never_after_its_next_life_is_known()
{
    let mut probes = Probes::start(17);
    for number in 0..MANY {
        probes.cast(number).unwrap();
    }
    // On the way: links take 1 ms to 5 ms.
    probes.run_ms(1);
    probes.world.crash(&id("caller"));
    probes.run_ms(500);
    probes.world.start(&id("caller"));
    probes.knows(2);
    let counts: Vec<usize> = (0..MANY).map(|number| probes.handled("one", number)).collect();
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
    probes.run_ms(10_000);
    let later: Vec<usize> = (0..MANY).map(|number| probes.handled("one", number)).collect();
    assert_eq!(later, counts, "a cast of a former life arrived");
}

#[test]
fn a_cast_to_a_server_that_is_down_is_lost_or_late_but_never_doubled() {
    let mut probes = Probes::start(13);
    probes.world.crash(&id("one"));
    for number in 0..MANY {
        // Refused is as good as lost.
        let _ = probes.cast(number);
        probes.run_ms(50);
    }
    probes.world.start(&id("one"));
    probes.run_ms(10_000);
    for number in 0..MANY {
        assert!(probes.handled_anywhere(number) <= 1, "number {number}");
    }
}

#[test]
fn a_fanout_reaches_every_live_server_once() {
    let mut probes = Probes::start(14);
    assert_eq!(probes.fanout(1), 2);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 1), probes.handled("two", 1)), (1, 1));
    probes.world.crash(&id("two"));
    probes.knows(1);
    assert_eq!(probes.fanout(2), 1);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 2), probes.handled("two", 2)), (1, 0));
    probes.world.start(&id("two"));
    probes.knows(2);
    assert_eq!(probes.fanout(3), 2);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 3), probes.handled("two", 3)), (1, 1));
}

/// Fan-outs while the network is bad; each must be handled once on each server.
fn all_fanouts_arrive_once(probes: &mut Probes) {
    for number in 0..MANY {
        assert_eq!(probes.fanout(number), 2, "number {number}");
        probes.run_ms(20);
    }
    probes.run_ms(5_000);
    for number in 0..MANY {
        let handled = (probes.handled("one", number), probes.handled("two", number));
        assert_eq!(handled, (1, 1), "number {number}");
    }
}

#[test]
fn a_fanout_reaches_every_server_once_under_loss() {
    let mut probes = Probes::start(18);
    probes.world.set_loss(0.05);
    all_fanouts_arrive_once(&mut probes);
}

#[test]
fn a_fanout_reaches_every_server_once_under_duplication_and_reordering() {
    let mut probes = Probes::start(19);
    probes.world.set_disorder(0.2, 0.3);
    all_fanouts_arrive_once(&mut probes);
}

#[test]
fn a_fanout_reaches_who_is_on_this_side_of_a_partition_and_is_doubled_nowhere() {
    let mut probes = Probes::start(20);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..MANY {
        probes.fanout(number);
        probes.run_ms(200);
    }
    probes.world.heal();
    probes.run_ms(10_000);
    for number in 0..MANY {
        assert_eq!(probes.handled("two", number), 1, "number {number}");
        assert!(probes.handled("one", number) <= 1, "number {number}");
    }
}

#[test]
fn a_fanout_of_a_sender_that_crashes_is_handled_at_most_once_by_each_server() {
    let mut probes = Probes::start(21);
    for number in 0..MANY {
        probes.fanout(number);
    }
    probes.run_ms(1);
    probes.world.crash(&id("caller"));
    probes.run_ms(500);
    probes.world.start(&id("caller"));
    probes.knows(2);
    probes.run_ms(10_000);
    for node in ["one", "two"] {
        for number in 0..MANY {
            assert!(probes.handled(node, number) <= 1, "number {number} on {node}");
        }
    }
}
