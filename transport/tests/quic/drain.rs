//! A node that closes: what it has accepted is sent, nothing more is, and its peers know.

use std::time::{Duration, Instant};

use updraft_transport::{Class, Event, LinkError, Transport, link::EVENTS_MAX};

use crate::cloud::{Plan, connected_pair, frame, id};

/// Closing waits so long for what is queued, and then for its peers to hear of it.
const CLOSES_WITHIN: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn what_was_accepted_arrives_in_every_class_and_what_comes_later_is_refused() {
    let (mut a, mut b) = connected_pair();
    // All of them fit into the shortest queue, however little of it has been sent.
    let (per_class, bytes) = (40, 20_000);
    for class in Class::ALL {
        for number in 0..per_class {
            a.link.send(&id("b"), class, frame(number, bytes)).unwrap();
        }
    }
    a.link.close();
    for class in Class::ALL {
        let refused = a.link.send(&id("b"), class, frame(1000, 0));
        assert_eq!(refused, Err(LinkError::Closing), "{class:?}");
    }
    let mut arrived = 0;
    let why = loop {
        match b.next().unwrap() {
            Event::Frame { frame, .. } => {
                assert!(frame.header.id < per_class && frame.body.len() == bytes);
                arrived += 1;
            }
            Event::Down { reason, .. } => break reason,
            Event::Up { .. } => panic!("up again"),
            Event::Body { .. } => panic!("a body"),
        }
    };
    assert_eq!(arrived, per_class * Class::ALL.len() as u64);
    assert_eq!(why, "node a: it says: this node is going away");
    assert_eq!(a.heard(), "down b: node b: both sides have finished");
    assert_eq!(a.heard(), "the end");
}

#[test]
fn a_closed_node_refuses_even_what_it_would_send_itself_or_nobody() {
    let (a, _b) = connected_pair();
    a.link.close();
    for to in ["a", "b", "nobody"] {
        assert_eq!(a.try_send(to, 1), Err(LinkError::Closing), "{to}");
    }
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_a_node_from_ending() {
    let (mut a, b) = connected_pair();
    // More than the peer can hold, so that the drain cannot end.
    let mut number = 0;
    while b.events.len() < EVENTS_MAX || a.try_send("b", number).is_ok() {
        let _ = a.link.send(&id("b"), Class::Calls, frame(number, 1000));
        number += 1;
    }
    let began = Instant::now();
    a.link.close();
    while a.next().is_some() {}
    assert!(began.elapsed() < CLOSES_WITHIN + SLACK, "it took {:?}", began.elapsed());
    let dropped = a.link.counts().classes[&Class::Calls].dropped_frames;
    assert!(dropped > 0, "what could not be sent is counted");
}

#[test]
fn a_node_that_is_closing_takes_no_new_connection() {
    let (a, b) = connected_pair();
    let mut number = 0;
    while b.events.len() < EVENTS_MAX || a.try_send("b", number).is_ok() {
        let _ = a.link.send(&id("b"), Class::Calls, frame(number, 1000));
        number += 1;
    }
    a.link.close();
    let mut c = Plan::new("c").start();
    c.learn(&a);
    c.send("a", 1);
    assert_eq!(c.heard(), "down a: node a: it takes no connections now");
}
