//! What a link counts: every refusal, by its reason and by the side that refuses, and every frame.

use std::sync::{Arc, atomic::Ordering};

use updraft_transport::{
    Class, ClassCounts, Counts, LinkError, Refused, Transport,
    join::{Denied, JoinToken},
    link::QueueLimit,
    wire::{WireVersion, WireVersions, encode},
};

use crate::{
    cloud::{
        DAY, NOW, Node, PATIENCE, Plan, ca, connected_pair, credentials, frame, id, key, pair,
    },
    crowd::crowded,
    hostile::{Closed, connect, connect_speaking, hello, open, thrown_out},
    joining::redeem,
};

fn victim() -> Node {
    Plan::new("victim").start()
}

/// Waits until a node has refused for this reason.
fn refused(node: &Node, reason: Refused) -> Counts {
    let started = std::time::Instant::now();
    loop {
        let counts = node.link.counts();
        if counts.refused[&reason] > 0 {
            return counts;
        }
        assert!(started.elapsed() < PATIENCE, "{reason:?} was not counted: {counts:?}");
        std::thread::yield_now();
    }
}

/// A peer of this plan dials the node, and is refused.
fn dialled_by(node: &Node, peer: Plan) {
    let mut peer = peer.start();
    peer.learn(node);
    peer.send(node.name(), 1);
    let heard = peer.heard();
    assert!(heard.starts_with("down"), "{heard}");
    assert_eq!(peer.link.counts().refused.values().sum::<u64>(), 0, "who is refused refuses not");
}

/// A good peer opens a connection and says this on its streams of control and calls, until thrown out.
fn hears(node: &Node, control: &[u8], calls: &[u8]) {
    node.run(async {
        let connection = connect(node, true).await;
        let mut streams = open(&connection, control).await;
        if let Some((stream, _)) = streams.get_mut(1) {
            stream.write_all(calls).await.unwrap();
        }
        thrown_out(&connection).await
    });
}

/// A control node that admits nobody, for this reason, and a machine that wants to join.
fn denied(why: Denied) -> Node {
    let node = Plan::control("victim", Arc::new(Closed(why))).start();
    redeem(&node, &token(&node)).unwrap_err();
    node
}

fn token(control: &Node) -> JoinToken {
    let control_id = id(control.name());
    JoinToken::new([7; 16], ca(1).certificate(), control_id, control.address, NOW + 600)
}

fn other_versions() -> Plan {
    let later = WireVersions { min: WireVersion(30), max: WireVersion(40) };
    Plan { versions: later, ..Plan::new("peer") }
}

/// A node that has refused once, for this reason.
fn refusing(reason: Refused) -> Node {
    let node = victim();
    match reason {
        Refused::OtherAuthority => {
            dialled_by(&node, Plan::with(credentials("peer", &ca(2), &[&ca(1)])));
        }
        Refused::Expired => {
            node.host.unix_secs.store(NOW + 2 * DAY.as_secs(), Ordering::Relaxed);
            dialled_by(&node, Plan::new("peer"));
        }
        Refused::NotYetValid => {
            node.host.unix_secs.store(NOW - DAY.as_secs(), Ordering::Relaxed);
            dialled_by(&node, Plan { unix_secs: NOW, ..Plan::new("peer") });
        }
        Refused::Revoked => {
            node.link.revoke(&[key("peer").public()].into()).unwrap();
            dialled_by(&node, Plan::new("peer"));
        }
        Refused::BadCertificate => {
            node.run(async { thrown_out(&connect(&node, false).await).await });
        }
        Refused::WrongNode => hears(&node, &hello("control"), b""),
        Refused::NoCommonVersion => dialled_by(&node, other_versions()),
        Refused::BadOpening => hears(&node, b"0123456789 something else than hello", b""),
        Refused::BrokenFrame => hears(&node, &hello("mallory"), &[0, 0, 0, 2, 0xff, 0xff]),
        Refused::OverLimit => hears(&node, &hello("mallory"), &u32::MAX.to_be_bytes()),
        Refused::FormerIncarnation => {
            let latest = Plan { incarnation: 5, ..Plan::new("peer") }.start();
            latest.learn(&node);
            latest.send("victim", 1);
            let mut node = node;
            assert_eq!(node.heard(), "up peer 5");
            dialled_by(&node, Plan { incarnation: 4, ..Plan::new("peer") });
            return node;
        }
        Refused::TooManyHandshakes => return crowded(),
        Refused::OtherProtocol => {
            node.run(connect_speaking(&node, true, b"http/3")).unwrap_err();
        }
        Refused::BadApplication => {
            let admission = Arc::new(Closed(Denied::Other));
            let node = Plan::control("victim", admission).start();
            node.run(async {
                let joining = connect_speaking(&node, false, b"updraft-join/2").await.unwrap();
                let (mut send, _recv) = joining.open_bi().await.unwrap();
                send.write_all(b"let me in").await.unwrap();
                send.finish().unwrap();
                thrown_out(&joining).await
            });
            return node;
        }
        Refused::TokenUnknown => return denied(Denied::TokenUnknown),
        Refused::TokenUsed => return denied(Denied::TokenUsed),
        Refused::TokenExpired => return denied(Denied::TokenExpired),
        Refused::JoinDenied => return denied(Denied::Other),
    }
    node
}

#[test]
fn each_refusal_is_counted_once_under_its_reason() {
    for reason in Refused::ALL {
        let node = refusing(reason);
        let counts = refused(&node, reason);
        for (other, count) in counts.refused {
            let expected = if other != reason {
                0..=0
            } else if reason == Refused::TooManyHandshakes {
                // Who is refused unseen may have asked again before the refusal came.
                1..=u64::MAX
            } else {
                1..=1
            };
            assert!(expected.contains(&count), "{other:?} {count} times after {reason:?}");
        }
    }
}

#[test]
fn each_reason_has_a_label_of_its_own() {
    let labels: std::collections::BTreeSet<_> =
        Refused::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(labels.len(), Refused::ALL.len());
    for (place, reason) in Refused::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place, "{reason:?} is counted in the place of another");
    }
}

#[test]
fn a_standing_connection_that_ends_over_its_certificate_is_counted_once() {
    let (mut a, mut b) = connected_pair();
    b.link.revoke(&[key("a").public()].into()).unwrap();
    assert!(a.heard().starts_with("down b") && b.heard().starts_with("down a"));
    assert_eq!(b.link.counts().refused[&Refused::Revoked], 1);
    assert_eq!(a.link.counts().refused[&Refused::Revoked], 0);
}

#[test]
fn connections_and_dials_are_counted() {
    let (mut a, mut b) = connected_pair();
    let of_a = a.link.counts();
    assert_eq!((of_a.up, of_a.opened, of_a.dialled, of_a.dials_failed), (1, 1, 1, 0));
    let of_b = b.link.counts();
    assert_eq!((of_b.up, of_b.opened, of_b.dialled, of_b.dials_failed), (1, 1, 0, 0));

    b.link.revoke(&[key("a").public()].into()).unwrap();
    assert!(a.heard().starts_with("down b") && b.heard().starts_with("down a"));
    a.send("b", 1);
    assert!(a.heard().starts_with("down b"));
    let of_a = a.link.counts();
    assert_eq!((of_a.up, of_a.opened, of_a.dialled, of_a.dials_failed), (0, 1, 2, 1));
    assert_eq!(b.link.counts().up, 0);
}

#[test]
fn frames_and_their_bytes_are_counted_at_both_ends() {
    let (a, mut b) = connected_pair();
    let before = a.link.counts();
    for class in Class::ALL {
        // One is copied into a batch, the other written from where it lies.
        let frames = [frame(1, 100), frame(2, 30_000)];
        let mut bytes = Vec::new();
        for frame in &frames {
            encode(frame, class, WireVersion::NEWEST, &mut bytes).unwrap();
            a.link.send(&id("b"), class, frame.clone()).unwrap();
            b.heard();
        }
        let (sent, received) = (a.link.counts().classes[&class], b.link.counts().classes[&class]);
        let former = before.classes[&class];
        assert_eq!(sent.sent_frames - former.sent_frames, 2, "{class:?}");
        assert_eq!(sent.sent_bytes - former.sent_bytes, bytes.len() as u64, "{class:?}");
        let arrived = (received.received_frames, received.received_bytes);
        assert_eq!(arrived, (sent.sent_frames, sent.sent_bytes), "{class:?}");
        assert_eq!((sent.dropped_frames, sent.waiting_frames, sent.waiting_bytes), (0, 0, 0));
    }
}

#[test]
fn what_waits_is_turned_away_or_is_dropped_is_counted() {
    let mut a = Plan::new("a").start();
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    a.link.learn(&id("b"), silent.local_addr().unwrap());
    let limit = QueueLimit::of(Class::Calls).frames as u64;
    (0..limit).for_each(|number| a.send("b", number));
    assert_eq!(a.try_send("b", limit), Err(LinkError::Busy(id("b"))));
    let calls = a.link.counts().classes[&Class::Calls];
    assert_eq!((calls.waiting_frames, calls.turned_away_frames), (limit, 1));
    assert!(calls.waiting_bytes > limit, "{calls:?}");

    assert_eq!(a.heard(), "down b: node b: it does not answer");
    let calls = a.link.counts().classes[&Class::Calls];
    let dropped =
        ClassCounts { dropped_frames: limit, turned_away_frames: 1, ..Default::default() };
    assert_eq!(calls, dropped);
}

#[test]
fn what_a_node_sends_itself_is_not_counted() {
    let (mut a, _b) = pair();
    a.send("a", 1);
    assert_eq!(a.heard(), "1 from a");
    assert_eq!(a.link.counts().classes[&Class::Calls], ClassCounts::default());
}
