//! Whose certificate is no longer believed has no connection, and both sides know why.

use std::collections::BTreeSet;

use updraft_transport::{
    Class, Event, Kind, Transport,
    key::{NodeKey, PublicKey},
    quic::{QuicError, is_disowned},
    tls::Credentials,
};

use crate::cloud::{
    Node, Plan, ca, connected_pair, frame, id, key, record_warnings, wait_for_warning, warnings_of,
};

const REVOKED: &str = "its certificate was revoked";

fn revoke(node: &Node, names: &[&str]) {
    let keys: BTreeSet<PublicKey> = names.iter().map(|name| key(name).public()).collect();
    node.link.revoke(&keys).unwrap();
}

/// Two nodes of these names that are connected, the first having dialled.
fn connected(one: &str, other: &str) -> (Node, Node) {
    let (mut a, mut b) = (Plan::new(one).start(), Plan::new(other).start());
    a.learn(&b);
    a.send(other, 0);
    assert_eq!(a.heard(), format!("up {other} 1"));
    assert_eq!(b.heard(), format!("up {one} 1"));
    assert_eq!(b.heard(), format!("0 from {one}"));
    (a, b)
}

#[test]
fn a_call_in_flight_ends_with_its_connection_and_is_not_answered() {
    let (mut a, mut b) = connected_pair();
    let mut call = frame(1, 10);
    call.header.kind = Kind::Call;
    a.link.send(&id("b"), Class::Calls, call).unwrap();
    assert_eq!(b.heard(), "1 from a");

    revoke(&b, &["a"]);
    assert_eq!(b.heard(), format!("down a: node a: {REVOKED}"));
    let told = a.heard();
    assert_eq!(told, format!("down b: node b: it says: {REVOKED}"));
    assert!(is_disowned(&told) && !is_disowned(&format!("node a: {REVOKED}")));

    b.send("a", 1);
    assert_eq!(b.heard(), format!("down a: node a: {REVOKED}"), "the answer finds no way");
    assert!(a.is_quiet());
}

#[test]
fn nothing_of_a_revoked_peer_is_handed_up_beside_what_waited_already() {
    let (a, mut b) = connected_pair();
    let feeding = std::thread::spawn(move || {
        let mut number = 0;
        while number < 100_000 && !a.events.is_closed() {
            number += u64::from(a.try_send("b", number).is_ok());
            if a.events.len() > 1 {
                break;
            }
        }
        a
    });
    while b.events.len() < 200 {
        std::thread::yield_now();
    }
    revoke(&b, &["a"]);
    // Each class may have been handing one frame up at that moment.
    let waited = b.events.len() + Class::ALL.len();
    let mut heard = 0;
    while b.heard() != format!("down a: node a: {REVOKED}") {
        heard += 1;
    }
    assert!(heard <= waited, "{heard} events, and {waited} waited");
    drop(feeding.join().unwrap());
    assert!(b.is_quiet());
}

#[test]
fn a_revoked_peer_that_keeps_dialling_is_refused_each_time_and_logged_once() {
    record_warnings();
    let (mut a, mut b) = connected("a6", "b6");
    revoke(&b, &["a6"]);
    assert_eq!(b.heard(), format!("down a6: node a6: {REVOKED}"));
    let told = format!("node b6: it says: {REVOKED}");
    assert_eq!(a.heard(), format!("down b6: {told}"));
    for number in 1..=4 {
        a.send("b6", number);
        assert_eq!(a.heard(), format!("down b6: {told}"));
    }
    wait_for_warning("b6", &format!("{}: {REVOKED}", a.address));
    let of_a = warnings_of("a6");
    assert_eq!(of_a, [(told, 1)].into(), "the refused one is told, and logs it once");
    let of_b = warnings_of("b6");
    let (ended, refused) = (format!("node a6: {REVOKED}"), format!("{}: {REVOKED}", a.address));
    assert_eq!(of_b, [(ended, 1), (refused, 1)].into(), "the end, and the dials");
    assert!(b.is_quiet());
}

#[test]
fn a_revoked_peer_is_refused_by_the_one_who_dials_too() {
    let (mut a, b) = (Plan::new("a").start(), Plan::new("b").start());
    revoke(&a, &["b"]);
    a.learn(&b);
    a.send("b", 1);
    assert_eq!(a.heard(), format!("down b: node b: {REVOKED}"));
    assert!(b.is_quiet());
}

#[test]
fn another_node_is_not_concerned() {
    let (mut a, mut b) = connected_pair();
    let mut c = Plan::new("c").start();
    c.learn(&b);
    c.send("b", 1);
    assert_eq!(c.heard(), "up b 1");
    assert_eq!(b.heard(), "up c 1");
    assert_eq!(b.heard(), "1 from c");

    revoke(&b, &["a"]);
    assert!(a.heard().starts_with("down b"));
    assert!(b.heard().starts_with("down a"));
    for number in 2..5 {
        c.send("b", number);
        b.send("c", number);
        assert_eq!(b.heard(), format!("{number} from c"));
        assert_eq!(c.heard(), format!("{number} from b"));
    }
}

#[test]
fn who_is_left_out_is_let_in_again() {
    let (mut a, mut b) = connected_pair();
    revoke(&b, &["a", "x"]);
    assert!(a.heard().starts_with("down b"));
    assert!(b.heard().starts_with("down a"));
    revoke(&b, &["x"]);
    a.send("b", 1);
    assert_eq!(a.heard(), "up b 1");
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "1 from a");
}

#[test]
fn a_restart_does_not_help_and_another_key_does() {
    let (a, mut b) = connected_pair();
    revoke(&b, &["a"]);
    assert!(b.heard().starts_with("down a"));
    a.crash();
    let mut again = Plan { incarnation: 2, ..Plan::new("a") }.start();
    again.learn(&b);
    again.send("b", 1);
    assert_eq!(again.heard(), format!("down b: node b: it says: {REVOKED}"));
    again.crash();

    let ca = ca(1);
    let (identity, fresh) = (Plan::new("a").credentials, NodeKey::from_seed(&[9; 32]).unwrap());
    let validity = updraft_transport::ca::Validity::starting(crate::cloud::NOW, crate::cloud::DAY);
    let certificate = ca.issue(identity.identity(), &fresh.public(), validity).unwrap();
    let believed = vec![ca.certificate().clone()];
    let plan = Plan::with(Credentials::new(certificate, fresh, believed).unwrap());
    let a = Plan { incarnation: 3, ..plan }.start();
    a.learn(&b);
    a.send("b", 2);
    assert_eq!(b.heard(), "up a 3");
    assert_eq!(b.heard(), "2 from a");
}

#[test]
fn too_many_revocations_change_nothing() {
    let (mut a, mut b) = connected_pair();
    let mut keys: BTreeSet<PublicKey> = (0..65_536_u32)
        .map(|number| {
            let mut key = [0xff; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            PublicKey(key)
        })
        .collect();
    keys.insert(key("a").public());
    let refusal = b.link.revoke(&keys).unwrap_err();
    assert!(matches!(refusal, QuicError::TooManyRevoked(65_537)), "{refusal}");
    a.send("b", 1);
    assert_eq!(b.heard(), "1 from a");

    keys.pop_first();
    b.link.revoke(&keys).unwrap();
    let Some(Event::Down { reason, .. }) = a.next() else { panic!("a is still connected") };
    assert!(reason.ends_with(REVOKED), "{reason}");
}
