//! The in-memory switch: what arrives, when, in which order, and what nodes hear of one another.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, LinkError, NodeId, PeerIdentity, Transport,
    link::{EVENTS_MAX, QueueLimit},
    mem::{CRASH_NOTICED_AFTER, Observer, Steady, Switch},
};

const MS: Duration = Duration::from_millis(1);

struct Node {
    link: Arc<dyn Transport>,
    events: Receiver<Event>,
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn start(switch: &Switch, name: &str, incarnation: u64) -> Node {
    let identity = PeerIdentity::new(id(name), &["compute"]);
    let (link, events) = switch.attach(identity, Incarnation(incarnation));
    Node { link, events }
}

fn frame(number: u64) -> Frame {
    let header = Header {
        kind: Kind::Cast,
        method: "a/b".into(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 0,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: Bytes::new(),
    };
    Frame { header, body: Bytes::from_static(b"body") }
}

impl Node {
    fn send(&self, to: &str, number: u64) {
        self.link.send(&id(to), Class::Calls, frame(number)).unwrap();
    }

    /// What has happened since the last look, in words.
    fn heard(&mut self) -> Vec<String> {
        let next = || self.events.try_recv().ok();
        std::iter::from_fn(next).map(|event| words(&event)).collect()
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Frame { peer, frame } => format!("{} from {}", frame.header.id, peer.node),
        Event::Body { peer, .. } => format!("a body from {}", peer.node),
        Event::Up { peer, incarnation } => format!("up {} {}", peer.node, incarnation.0),
        Event::Down { peer, reason } => format!("down {peer}: {reason}"),
    }
}

/// Two nodes that have met.
fn pair(switch: &Switch) -> (Node, Node) {
    let (mut a, mut b) = (start(switch, "a", 1), start(switch, "b", 1));
    a.send("b", 0);
    switch.advance(Duration::ZERO);
    assert_eq!(a.heard(), ["up b 1"]);
    assert_eq!(b.heard(), ["up a 1", "0 from a"]);
    (a, b)
}

#[test]
fn a_frame_arrives_as_it_was_sent() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    a.send("b", 7);
    switch.advance(MS);
    let Ok(Event::Frame { peer, frame: arrived }) = b.events.try_recv() else { panic!("no frame") };
    assert_eq!(arrived, frame(7));
    assert_eq!(peer, PeerIdentity::new(id("a"), &["compute"]));
}

#[test]
fn a_frame_arrives_when_its_delay_is_over_and_not_before() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    a.send("b", 1);
    switch.advance(4 * MS);
    assert!(b.heard().is_empty());
    assert_eq!(switch.next_due(), Some(5 * MS));
    switch.advance(5 * MS);
    assert_eq!(b.heard(), ["1 from a"]);
    assert_eq!(switch.next_due(), None);
}

#[test]
fn what_is_due_together_arrives_in_the_order_of_sending() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    let delays = [3, 1, 3, 1].map(|ms| ms * MS);
    let sent = AtomicUsize::new(0);
    switch.set_fate(move |_, _: &NodeId, _: &NodeId, _, _: &[u8]| {
        vec![delays[sent.fetch_add(1, Ordering::Relaxed)]]
    });
    (1..=4).for_each(|number| a.send("b", number));
    switch.advance(10 * MS);
    assert_eq!(b.heard(), ["2 from a", "4 from a", "1 from a", "3 from a"]);
}

#[test]
fn fate_loses_and_doubles() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    switch.set_fate(|_, _: &NodeId, _: &NodeId, _, bytes: &[u8]| {
        // The frame's number follows length, kind and method.
        vec![MS; usize::from(bytes[9])]
    });
    (0..=2).for_each(|number| a.send("b", number));
    switch.advance(MS);
    assert_eq!(b.heard(), ["1 from a", "2 from a", "2 from a"]);
}

/// A connection carries it once, and there is none yet that would carry the second copy.
#[test]
fn what_waits_for_a_node_reaches_one_life_of_it() {
    let switch = Switch::new();
    let a = start(&switch, "a", 1);
    drop(start(&switch, "b", 1));
    switch.detach(&id("b"));
    switch.set_fate(|_, _: &NodeId, _: &NodeId, _, _: &[u8]| vec![MS, 10 * MS]);
    a.send("b", 7);
    let mut second = start(&switch, "b", 2);
    switch.advance(MS);
    assert_eq!(second.heard(), ["up a 1", "7 from a"]);
    let mut third = start(&switch, "b", 3);
    switch.advance(10 * MS);
    assert_eq!(third.heard(), Vec::<String>::new());
}

#[test]
fn an_observer_sees_what_is_sent_and_its_fate() {
    struct Log(Arc<Mutex<Vec<String>>>);
    impl Observer for Log {
        fn frame(
            &mut self,
            at: Duration,
            from: &NodeId,
            to: &NodeId,
            class: Class,
            bytes: &[u8],
            fate: &[Duration],
        ) {
            let line = format!("{at:?} {from}>{to} {class:?} {} {fate:?}", bytes.len());
            self.0.lock().unwrap().push(line);
        }
    }
    let switch = Switch::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    switch.set_observer(Log(Arc::clone(&log)));
    let (a, _b) = pair(&switch);
    switch.advance(2 * MS);
    switch.set_fate(|_, _: &NodeId, _: &NodeId, _, _: &[u8]| Vec::new());
    a.send("b", 1);
    assert_eq!(*log.lock().unwrap(), ["0ns a>b Calls 42 [0ns]", "2ms a>b Calls 42 []"]);
}

#[test]
fn a_node_that_nobody_has_heard_of_has_no_route() {
    let switch = Switch::new();
    let a = start(&switch, "a", 1);
    let refusal = a.link.send(&id("b"), Class::Calls, frame(1));
    assert_eq!(refusal, Err(LinkError::NoRoute(id("b"))));
}

#[test]
fn a_frame_to_a_node_that_is_not_there_yet_arrives_if_it_comes_in_time() {
    let switch = Switch::new();
    let a = start(&switch, "a", 1);
    switch.set_fate(Steady(2 * MS));
    a.link.learn(&id("b"), "10.0.0.2:1".parse().unwrap());
    a.send("b", 1);
    switch.advance(MS);
    let mut b = start(&switch, "b", 1);
    switch.advance(2 * MS);
    assert_eq!(b.heard(), ["up a 1", "1 from a"]);
}

#[test]
fn a_node_hears_itself_whatever_fate_says() {
    let switch = Switch::new();
    let mut a = start(&switch, "a", 1);
    switch.set_fate(|_, _: &NodeId, _: &NodeId, _, _: &[u8]| Vec::new());
    a.send("a", 1);
    switch.advance(MS);
    assert_eq!(a.heard(), ["1 from a"]);
}

#[test]
fn a_crash_is_noticed_after_a_while_and_loses_what_was_under_way_to_it() {
    let switch = Switch::new();
    let (mut a, b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    a.send("b", 1);
    switch.detach(&id("b"));
    assert_eq!(b.link.send(&id("a"), Class::Calls, frame(1)), Err(LinkError::Closing));

    switch.advance(CRASH_NOTICED_AFTER - MS);
    assert!(a.heard().is_empty());
    switch.advance(CRASH_NOTICED_AFTER);
    assert_eq!(a.heard(), ["down b: the peer does not answer any more"]);
}

#[test]
fn what_a_node_sent_before_its_crash_may_still_arrive() {
    let switch = Switch::new();
    let (mut a, b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    b.send("a", 1);
    switch.detach(&id("b"));
    switch.advance(5 * MS);
    assert_eq!(a.heard(), ["1 from b"]);
}

#[test]
fn a_frame_to_a_former_life_does_not_reach_the_next() {
    let switch = Switch::new();
    let (a, _b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    a.send("b", 1);
    switch.detach(&id("b"));
    let mut b = start(&switch, "b", 2);
    switch.advance(5 * MS);
    assert!(b.heard().is_empty());
}

#[test]
fn a_restart_is_a_down_and_an_up() {
    let switch = Switch::new();
    let (mut a, _b) = pair(&switch);
    let mut b = start(&switch, "b", 2);
    b.send("a", 1);
    switch.advance(MS);
    assert_eq!(a.heard(), ["down b: the peer has restarted", "up b 2", "1 from b"]);
    assert_eq!(b.heard(), ["up a 1"]);
    switch.advance(CRASH_NOTICED_AFTER + MS);
    assert!(a.heard().is_empty(), "the crash was heard of already");
}

#[test]
fn what_a_former_life_sent_is_dropped_once_the_next_was_heard() {
    let switch = Switch::new();
    let (mut a, b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    b.send("a", 1);
    let b = start(&switch, "b", 2);
    switch.set_fate(Steady(MS));
    b.send("a", 2);
    switch.advance(10 * MS);
    assert_eq!(a.heard(), ["down b: the peer has restarted", "up b 2", "2 from b"]);
}

#[test]
fn a_second_copy_of_what_a_former_life_sent_may_come_when_the_next_was_heard() {
    let switch = Switch::new();
    let (mut a, b) = pair(&switch);
    switch.set_fate(|_, _: &NodeId, _: &NodeId, _, _: &[u8]| vec![MS, 9 * MS]);
    b.send("a", 1);
    switch.advance(MS);
    assert_eq!(a.heard(), ["1 from b"]);
    switch.detach(&id("b"));
    let b = start(&switch, "b", 2);
    switch.set_fate(Steady(MS));
    b.send("a", 2);
    switch.advance(10 * MS);
    assert_eq!(a.heard(), ["down b: the peer has restarted", "up b 2", "2 from b", "1 from b"]);
}

#[test]
fn no_copy_of_what_a_former_life_sent_comes_before_the_next_is_heard() {
    let switch = Switch::new();
    let (mut a, b) = pair(&switch);
    let late = 9 * MS + CRASH_NOTICED_AFTER;
    switch.set_fate(move |_, _: &NodeId, _: &NodeId, _, _: &[u8]| vec![MS, late]);
    b.send("a", 1);
    switch.advance(MS);
    switch.detach(&id("b"));
    let _b = start(&switch, "b", 2);
    switch.advance(late + MS);
    assert_eq!(a.heard(), ["1 from b", "down b: the peer does not answer any more"]);
}

#[test]
fn closing_sends_what_is_under_way_and_then_says_goodbye() {
    let switch = Switch::new();
    let (mut a, mut b) = pair(&switch);
    switch.set_fate(Steady(5 * MS));
    b.send("a", 1);
    b.link.close();
    assert_eq!(b.link.send(&id("a"), Class::Calls, frame(2)), Err(LinkError::Closing));
    assert_eq!(b.events.try_recv().unwrap_err(), TryRecvError::Disconnected);
    switch.advance(5 * MS);
    assert_eq!(a.heard(), ["1 from b", "down b: the peer is going away"]);
}

#[test]
fn a_severed_pair_is_told_and_meets_again() {
    let switch = Switch::new();
    let (mut a, mut b) = pair(&switch);
    switch.sever(&id("a"), &id("b"), "a test cut the cable");
    switch.advance(MS);
    assert_eq!(a.heard(), ["down b: a test cut the cable"]);
    assert_eq!(b.heard(), ["down a: a test cut the cable"]);
    b.send("a", 1);
    switch.advance(2 * MS);
    assert_eq!(a.heard(), ["up b 1", "1 from b"]);
    assert_eq!(b.heard(), ["up a 1"]);
}

#[test]
fn a_full_queue_is_busy_until_frames_arrive() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    switch.set_fate(Steady(MS));
    let limit = QueueLimit::of(Class::Control).frames;
    for number in 0..limit as u64 {
        a.link.send(&id("b"), Class::Control, frame(number)).unwrap();
    }
    let refusal = a.link.send(&id("b"), Class::Control, frame(0));
    assert_eq!(refusal, Err(LinkError::Busy(id("b"))));
    a.link.send(&id("b"), Class::Calls, frame(0)).expect("another class has its own queue");
    switch.advance(MS);
    assert_eq!(b.heard().len(), limit + 1);
    a.link.send(&id("b"), Class::Control, frame(0)).expect("there is room again");
}

#[test]
fn a_queue_is_also_full_by_bytes() {
    let switch = Switch::new();
    let (a, _b) = pair(&switch);
    let mut piece = frame(1);
    piece.body = vec![0; Class::Bulk.body_limit_bytes()].into();
    let fit = QueueLimit::of(Class::Bulk).bytes / Class::Bulk.body_limit_bytes();
    for _ in 0..fit {
        a.link.send(&id("b"), Class::Bulk, piece.clone()).unwrap();
    }
    assert_eq!(a.link.send(&id("b"), Class::Bulk, piece), Err(LinkError::Busy(id("b"))));
}

#[test]
fn a_node_that_does_not_listen_gets_everything_later_in_order() {
    let switch = Switch::new();
    let (a, mut b) = pair(&switch);
    let rounds = 3;
    let per_round = EVENTS_MAX as u64 / 2;
    for round in 0..rounds {
        (0..per_round).for_each(|number| a.send("b", round * per_round + number));
        switch.advance(MS);
    }
    assert_eq!(switch.next_due(), Some(2 * MS), "the switch wants to try again");

    let mut heard = Vec::new();
    while heard.len() < (rounds * per_round) as usize {
        let now = b.heard();
        assert!(!now.is_empty(), "some frames were lost");
        heard.extend(now);
        switch.advance(2 * MS);
    }
    let sent: Vec<_> = (0..rounds * per_round).map(|n| format!("{n} from a")).collect();
    assert_eq!(heard, sent);
}

#[test]
fn nodes_may_live_on_runtimes_of_their_own() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let switch = Switch::new();
    let (a, mut b) = (start(&switch, "a", 1), start(&switch, "b", 1));
    let (of_a, of_b) = (runtime(), runtime());
    let answering = of_b.spawn(async move {
        while let Some(event) = b.events.recv().await {
            if let Event::Frame { peer, frame } = event {
                b.link.send(&peer.node, Class::Calls, frame).unwrap();
            }
        }
    });
    let mut events = a.events;
    let asking = of_a.spawn(async move {
        a.link.send(&id("b"), Class::Calls, frame(9)).unwrap();
        while let Some(event) = events.recv().await {
            if let Event::Frame { frame, .. } = event {
                return frame.header.id;
            }
        }
        panic!("no answer came");
    });
    for step in 0..3 {
        of_a.block_on(tokio::task::yield_now());
        switch.advance(step * MS);
        of_b.block_on(tokio::task::yield_now());
    }
    switch.advance(3 * MS);
    assert_eq!(of_a.block_on(asking).unwrap(), 9);
    drop(answering);
}

#[test]
fn a_revoked_node_is_down_at_once_and_what_it_sent_arrives_nowhere() {
    let switch = Switch::new();
    let (mut a, mut b) = pair(&switch);
    let mut c = start(&switch, "c", 1);
    a.send("b", 1);
    b.send("a", 2);
    switch.revoke(&[id("b")].into());
    switch.advance(MS);
    assert_eq!(a.heard(), ["down b: its certificate was revoked"]);
    let told = "down a: it says: its certificate was revoked";
    assert_eq!(b.heard(), [told]);
    a.send("c", 3);
    switch.advance(2 * MS);
    assert_eq!(a.heard(), ["up c 1"], "others are not concerned");
    assert_eq!(c.heard(), ["up a 1", "3 from a"]);
}

#[test]
fn a_revoked_node_is_let_in_again_when_it_is_left_out() {
    let switch = Switch::new();
    let (mut a, mut b) = pair(&switch);
    switch.revoke(&[id("b")].into());
    switch.advance(MS);
    assert!(!a.heard().is_empty() && !b.heard().is_empty());
    b.send("a", 1);
    a.send("b", 2);
    switch.advance(2 * MS);
    assert_eq!(b.heard(), ["down a: it says: its certificate was revoked"]);
    assert_eq!(a.heard(), ["down b: its certificate was revoked"]);
    switch.revoke(&[].into());
    b.send("a", 3);
    switch.advance(3 * MS);
    assert_eq!(a.heard(), ["up b 1", "3 from b"]);
}
