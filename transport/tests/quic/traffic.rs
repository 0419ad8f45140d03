//! Frames on their way.

use updraft_transport::{
    Class, Event, LinkError, Transport,
    link::QueueLimit,
    wire::{CALLS_MAX_BYTES, CONTEXT_MAX_BYTES},
};

use crate::cloud::{Plan, connected_pair, frame, id, pair};

#[test]
fn frames_of_every_class_arrive_as_they_were_sent() {
    let (a, mut b) = connected_pair();
    for class in Class::ALL {
        for body_bytes in [0, 1, 20_000, class.body_limit_bytes()] {
            let sent = frame(5, body_bytes);
            a.link.send(&id("b"), class, sent.clone()).unwrap();
            let Some(Event::Frame { peer, frame }) = b.next() else { panic!("no frame came") };
            assert_eq!(&peer, a.link.local());
            assert!(frame == sent, "{class:?} with {body_bytes} bytes");
        }
    }
}

#[test]
fn either_side_sends_over_the_connection_that_one_has_dialled() {
    let (mut a, b) = connected_pair();
    b.send("a", 1);
    assert_eq!(a.heard(), "1 from b");
}

#[test]
fn many_frames_of_a_class_arrive_in_order() {
    let (a, mut b) = connected_pair();
    let count = 20_000;
    let mut heard = 0;
    for number in 0..count {
        while a.try_send("b", number) == Err(LinkError::Busy(id("b"))) {
            assert_eq!(b.heard(), format!("{heard} from a"));
            heard += 1;
        }
    }
    for number in heard..count {
        assert_eq!(b.heard(), format!("{number} from a"));
    }
}

#[test]
fn bulk_does_not_delay_control() {
    let (a, mut b) = connected_pair();
    let limit = QueueLimit::of(Class::Bulk);
    let pieces: Vec<_> = (0..limit.frames as u64)
        .map(|number| frame(number, limit.bytes / limit.frames - 100))
        .collect();
    let count = pieces.len();
    for piece in pieces {
        a.link.send(&id("b"), Class::Bulk, piece).unwrap();
    }
    a.link.send(&id("b"), Class::Control, frame(1000, 0)).unwrap();
    let mut pieces_before = 0;
    while b.heard() != "1000 from a" {
        pieces_before += 1;
    }
    assert!(pieces_before * 2 < count, "{pieces_before} of {count} pieces came first");
}

#[test]
fn a_receiver_that_holds_bodies_slows_its_sender_down_and_no_more_arrives() {
    let (a, mut b) = connected_pair();
    let body_bytes = Class::Bulk.body_limit_bytes();
    let fit = QueueLimit::of(Class::Bulk).bytes / body_bytes;
    let mut held = Vec::new();
    let mut sent = 0;
    while held.len() < fit {
        if a.link.send(&id("b"), Class::Bulk, frame(sent, body_bytes)).is_ok() {
            sent += 1;
        } else {
            held.push(b.next().unwrap());
        }
    }
    // Beside what is held, one more body and what is in the windows is under way, and then a full queue.
    let full =
        (0..fit + 8).any(|_| a.link.send(&id("b"), Class::Bulk, frame(sent, body_bytes)).is_err());
    assert!(full);
    a.link.send(&id("b"), Class::Control, frame(1000, 0)).unwrap();
    assert_eq!(b.heard(), "1000 from a", "another class goes on, and bulk waits");
    drop(held);
    assert_eq!(b.heard(), format!("{fit} from a"), "bulk goes on when bodies are dropped");
}

#[test]
fn a_node_sends_itself_without_the_network() {
    let mut a = Plan::new("a").start();
    a.send("a", 1);
    assert_eq!(a.heard(), "1 from a");
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    let (a, _b) = pair();
    let refusal = a.link.send(&id("b"), Class::Calls, frame(1, CALLS_MAX_BYTES)).unwrap_err();
    let LinkError::TooLarge { bytes, limit_bytes } = refusal else { panic!("{refusal}") };
    assert!(bytes > limit_bytes && limit_bytes == CALLS_MAX_BYTES);

    let mut talkative = frame(1, 0);
    talkative.header.context = vec![0; CONTEXT_MAX_BYTES + 1].into();
    let refusal = a.link.send(&id("b"), Class::Calls, talkative).unwrap_err();
    assert!(matches!(refusal, LinkError::BadHeader(_)), "{refusal}");
}

#[test]
fn a_node_that_nobody_has_heard_of_has_no_route() {
    let a = Plan::new("a").start();
    assert_eq!(a.try_send("b", 1), Err(LinkError::NoRoute(id("b"))));
}

#[test]
fn a_full_queue_is_busy() {
    let a = Plan::new("a").start();
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    a.link.learn(&id("b"), silent.local_addr().unwrap());
    let limit = QueueLimit::of(Class::Calls).frames as u64;
    (0..limit).for_each(|number| a.send("b", number));
    assert_eq!(a.try_send("b", limit), Err(LinkError::Busy(id("b"))));
    let control = a.link.send(&id("b"), Class::Control, frame(1, 0));
    assert_eq!(control, Ok(()), "another class has its own queue");
}
