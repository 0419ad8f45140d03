//! A node that does not take what arrives: it slows who sends to it, and nobody else.

use updraft_transport::{
    Class, LinkError, Transport,
    link::{EVENTS_MAX, QueueLimit},
};

use crate::cloud::{Node, Plan, connected_pair, frame, id};

/// What one stream may send ahead of its reader.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Small enough to be bounded by the number of events alone.
const BODY_BYTES: usize = 1000;

/// Sends calls to `b` until its queue has been full for a while; returns how many were queued.
fn flood(a: &Node) -> u64 {
    let (mut sent, mut refused) = (0, 0);
    while refused < 200 {
        match a.link.send(&id("b"), Class::Calls, frame(sent, BODY_BYTES)) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(LinkError::Busy(_)) => {
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    sent
}

#[test]
fn a_node_that_takes_no_events_slows_its_sender_and_memory_stays_bounded() {
    let (a, mut b) = connected_pair();
    let sent = flood(&a);
    let at_a = a.link.counts().classes[&Class::Calls];
    let at_b = b.link.counts().classes[&Class::Calls];
    let limit = QueueLimit::of(Class::Calls);
    assert_eq!(b.events.len(), EVENTS_MAX);
    assert!(at_a.waiting_frames >= limit.frames as u64 - 1, "{at_a:?}");
    let ahead = at_a.sent_bytes - at_b.received_bytes;
    assert!(ahead <= WINDOW_BYTES + 512 * 1024, "{ahead} bytes are ahead of the reader");
    let decoded = at_b.received_frames as usize;
    assert!(decoded <= EVENTS_MAX + 2, "{decoded} frames are held beside the events");

    // Nothing was lost over it.
    for number in 0..sent {
        assert_eq!(b.heard(), format!("{number} from a"));
    }
    a.send("b", sent);
    assert_eq!(b.heard(), format!("{sent} from a"));
    assert_eq!(a.link.counts().classes[&Class::Calls].dropped_frames, 0);
}

#[test]
fn other_peers_and_the_control_class_are_not_slowed() {
    let (mut a, mut b) = connected_pair();
    let mut c = Plan::new("c").start();
    a.learn(&c);
    flood(&a);

    for (number, class) in (0..30).zip(Class::ALL.into_iter().cycle()) {
        a.link.send(&id("c"), class, frame(number, 0)).unwrap();
        if number == 0 {
            assert_eq!(c.heard(), "up a 1");
            assert_eq!(a.heard(), "up c 1");
        }
        assert_eq!(c.heard(), format!("{number} from a"));
        c.send("a", number);
        assert_eq!(a.heard(), format!("{number} from c"));
    }

    let waiting = a.link.counts().classes[&Class::Calls].waiting_frames;
    let control = a.link.send(&id("b"), Class::Control, frame(1_000_000, 0));
    assert_eq!(control, Ok(()), "a full queue of calls turns no control frame away");
    let mut before = 0;
    while b.heard() != "1000000 from a" {
        before += 1;
    }
    let ahead = WINDOW_BYTES / BODY_BYTES as u64;
    let calls = EVENTS_MAX as u64 + ahead + waiting;
    assert!(before < calls, "{before} frames came before it, of {calls} sent earlier");
}
