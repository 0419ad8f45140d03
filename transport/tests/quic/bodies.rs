//! Large bodies on streams of their own.

use std::time::Duration;

use bytes::Bytes;
use updraft_transport::{
    Class, Event, LinkError, Transport,
    body::{
        BodyError, Digest, Head, Incoming, Label, Outgoing, PIECE_MAX_BYTES, Part, STREAMS_MAX,
    },
    wire::{WireVersion, WireVersions},
};

use crate::{
    cloud::{Node, Plan, connected_pair, frame, id},
    hostile::{connect, hello, open, thrown_out},
};

/// What one stream may send ahead of its reader.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

const LABEL: Label = Label([7; 16]);

fn piece(number: usize) -> Part {
    Part::Piece(Bytes::from(vec![number as u8; PIECE_MAX_BYTES]))
}

/// The next body that arrives.
fn arrived(node: &mut Node) -> Incoming {
    match node.next().unwrap() {
        Event::Body { label, body, .. } => {
            assert_eq!(label, LABEL);
            body
        }
        other => panic!("{other:?}"),
    }
}

/// Sends pieces until no more are taken for a while; returns how many were.
async fn fill(outgoing: &mut Outgoing) -> usize {
    for number in 0.. {
        let sending = outgoing.send(piece(number));
        // Long on loopback. If it is too short, less is sent, and the test asks for less.
        if tokio::time::timeout(Duration::from_millis(200), sending).await.is_err() {
            return number;
        }
    }
    0
}

#[test]
fn a_body_arrives_in_order_beside_the_frames() {
    let (a, mut b) = connected_pair();
    let digest = Digest::Sha256([1; 32]);
    let head = Part::Head(Head { size_bytes: 40 << 18, from_bytes: 0, digest });
    let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
    let sent = head.clone();
    a.run(async { outgoing.send(sent).await.unwrap() });
    let mut body = arrived(&mut b);
    let sending = a.spawn(async move {
        for number in 0..40 {
            outgoing.send(piece(number)).await.unwrap();
        }
        outgoing.send(Part::End).await.unwrap();
        outgoing.finish().await.unwrap();
    });
    b.run(async {
        assert_eq!(body.next().await, Ok(Some(head)));
        for number in 0..40 {
            assert!(body.next().await == Ok(Some(piece(number))), "piece {number}");
        }
        assert_eq!(body.next().await, Ok(Some(Part::End)));
        assert_eq!(body.next().await, Ok(None));
    });
    a.run(sending).unwrap();
    let counted = b.link.counts().classes[&Class::Bulk];
    assert!(counted.received_bytes >= 40 << 18, "{counted:?}");
}

#[test]
fn who_does_not_read_stops_its_sender_and_nobody_else() {
    let (a, mut b) = connected_pair();
    let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
    let taken = a.run(async { fill(&mut outgoing).await });
    assert!(taken * PIECE_MAX_BYTES <= WINDOW_BYTES, "{taken} pieces are held for a reader");
    let _unread = arrived(&mut b);
    a.link.send(&id("b"), Class::Control, frame(1, 0)).unwrap();
    assert_eq!(b.heard(), "1 from a");
    a.link.send(&id("b"), Class::Bulk, frame(2, 100_000)).unwrap();
    assert_eq!(b.heard(), "2 from a");
}

#[test]
fn as_many_bodies_as_are_allowed_hold_up_no_call_and_one_more_waits() {
    let (a, mut b) = connected_pair();
    let mut filled = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
        a.run(async { fill(&mut outgoing).await });
        filled.push((outgoing, arrived(&mut b)));
    }
    a.link.send(&id("b"), Class::Calls, frame(1, 500_000)).unwrap();
    assert_eq!(b.heard(), "1 from a");
    let mut further = a.link.open_body(&id("b"), LABEL).unwrap();
    let sending = a.spawn(async move {
        further.send(Part::End).await.unwrap();
        further.finish().await
    });
    assert!(b.is_quiet());
    // The peer is told of free ones only when they are more than an eighth.
    filled.truncate(filled.len() - STREAMS_MAX as usize / 8 - 1);
    let mut body = arrived(&mut b);
    assert_eq!(b.run(async { body.next().await }), Ok(Some(Part::End)));
    assert_eq!(a.run(sending).unwrap(), Ok(()));
}

#[test]
fn each_side_hears_that_the_other_has_given_a_body_up() {
    let (a, mut b) = connected_pair();
    let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
    a.run(async { outgoing.send(piece(0)).await.unwrap() });
    let mut body = arrived(&mut b);
    b.run(async { body.next().await.unwrap() });
    drop(outgoing);
    let broken = b.run(async { body.next().await }).unwrap_err();
    assert_eq!(broken, BodyError::Broken("its sender has given it up".to_owned()));

    let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
    a.run(async { outgoing.send(piece(0)).await.unwrap() });
    drop(arrived(&mut b));
    let refused = a.run(async {
        loop {
            if let Err(error) = outgoing.send(piece(1)).await {
                return error;
            }
        }
    });
    assert!(!refused.is_nonsense(), "{refused}");
}

#[test]
fn a_body_ends_with_its_connection() {
    let (a, mut b) = connected_pair();
    let mut outgoing = a.link.open_body(&id("b"), LABEL).unwrap();
    a.run(async { outgoing.send(piece(0)).await.unwrap() });
    let mut body = arrived(&mut b);
    b.run(async { body.next().await.unwrap() });
    drop((outgoing, a));
    let broken = b.run(async { body.next().await }).unwrap_err();
    assert!(matches!(broken, BodyError::Broken(_)), "{broken}");
}

#[test]
fn a_node_sends_itself_a_body_without_the_network() {
    let mut a = Plan::new("a").start();
    let mut outgoing = a.link.open_body(&id("a"), LABEL).unwrap();
    let mut body = arrived(&mut a);
    let sending = a.spawn(async move {
        for number in 0..40 {
            outgoing.send(piece(number)).await.unwrap();
        }
        outgoing.finish().await
    });
    a.run(async {
        for number in 0..40 {
            assert!(body.next().await == Ok(Some(piece(number))), "piece {number}");
        }
        assert_eq!(body.next().await, Ok(None));
    });
    assert_eq!(a.run(sending).unwrap(), Ok(()));
}

#[test]
fn nobody_opens_a_body_to_who_is_not_there() {
    let a = Plan::new("a").start();
    let refused = a.link.open_body(&id("b"), LABEL).unwrap_err();
    assert_eq!(refused, LinkError::NotConnected(id("b")));
}

#[test]
fn a_peer_of_a_former_release_is_told_of_in_words_and_still_talked_to() {
    let former = WireVersions { min: WireVersion::ONE, max: WireVersion::TWO };
    let a = Plan::new("a").start();
    let mut b = Plan { versions: former, ..Plan::new("b") }.start();
    a.learn(&b);
    a.send("b", 1);
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "1 from a");
    let refused = a.link.open_body(&id("b"), LABEL).unwrap_err();
    let words = "node b speaks wire version 2, which has no streams for large bodies; upgrade it";
    assert_eq!(refused.to_string(), words);
}

#[test]
fn a_stream_that_is_no_body_ends_its_connection() {
    let victim = Plan::new("victim").start();
    let answer = victim.run(async {
        let connection = connect(&victim, true).await;
        let _streams = open(&connection, &hello("mallory")).await;
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&[9; 17]).await.unwrap();
        thrown_out(&connection).await
    });
    assert_eq!(answer, "it opened a stream of kind 9 for a body");
}

#[test]
fn nonsense_within_a_body_is_the_end_of_that_body_alone() {
    let mut victim = Plan::new("victim").start();
    let connection = victim.run(async {
        let connection = connect(&victim, true).await;
        let streams = open(&connection, &hello("mallory")).await;
        let mut stream = connection.open_uni().await.unwrap();
        stream
            .write_all(&[&[3][..], &LABEL.0, &[2, 0xff, 0xff, 0xff, 0xff]].concat())
            .await
            .unwrap();
        (connection, streams, stream)
    });
    assert_eq!(victim.heard(), "up mallory 1");
    let mut body = arrived(&mut victim);
    let refused = victim.run(async { body.next().await }).unwrap_err();
    let words = "a part of kind 2 of a body's stream has 4294967295 bytes, which is out of bounds";
    assert_eq!(refused.to_string(), words);
    assert!(refused.is_nonsense());
    assert!(connection.0.close_reason().is_none(), "the connection ended over it");
}
