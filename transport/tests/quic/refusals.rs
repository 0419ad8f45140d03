//! Who is refused, and what both sides are told.

use std::sync::atomic::Ordering;

use updraft_transport::{
    Transport,
    quic::QuicError,
    wire::{WireVersion, WireVersions},
};

use crate::cloud::{
    DAY, NOW, Plan, ca, connected_pair, credentials, record_warnings, wait_for_warning, warnings_of,
};

#[test]
fn a_peer_of_another_cloud_is_refused_by_the_one_who_dials() {
    record_warnings();
    let (ours, theirs) = (ca(1), ca(2));
    let mut a = Plan::with(credentials("a1", &ours, &[&ours])).start();
    let b = Plan::with(credentials("b1", &theirs, &[&theirs])).start();
    a.learn(&b);
    a.send("b1", 1);
    let refusal = "its certificate is refused: invalid peer certificate: UnknownIssuer";
    assert_eq!(a.heard(), format!("down b1: node b1: {refusal}"));
    assert_eq!(wait_for_warning("a1", "b1"), format!("node b1: {refusal}"));
    let told = "it refuses this node's certificate: invalid peer certificate: UnknownIssuer";
    assert_eq!(wait_for_warning("b1", "refuses"), format!("{}: {told}", a.address));
}

#[test]
fn a_peer_of_another_cloud_is_refused_by_the_one_who_is_dialled() {
    record_warnings();
    let (ours, theirs) = (ca(1), ca(2));
    let mut a = Plan::with(credentials("a2", &theirs, &[&ours])).start();
    let b = Plan::with(credentials("b2", &ours, &[&ours])).start();
    a.learn(&b);
    a.send("b2", 1);
    let told = "it refuses this node's certificate: invalid peer certificate: UnknownIssuer";
    assert_eq!(a.heard(), format!("down b2: node b2: {told}"));
    let refusal = "its certificate is refused: invalid peer certificate: UnknownIssuer";
    assert_eq!(wait_for_warning("b2", "refused"), format!("{}: {refusal}", a.address));
    assert!(b.is_quiet());
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let (mut a, b) = (Plan::new("a").start(), Plan::new("b").start());
    b.host.unix_secs.store(NOW + 2 * DAY.as_secs(), Ordering::Relaxed);
    a.learn(&b);
    a.send("b", 1);
    let down = a.heard();
    assert!(down.contains("it refuses this node's certificate"), "{down}");
    assert!(down.contains("certificate expired"), "{down}");
    assert!(down.contains(&format!("not valid after {}", NOW + DAY.as_secs())), "{down}");
    assert!(b.is_quiet());
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let mut a = Plan { unix_secs: NOW - DAY.as_secs(), ..Plan::new("a") }.start();
    let b = Plan::new("b").start();
    a.learn(&b);
    a.send("b", 1);
    let down = a.heard();
    assert!(down.contains("certificate not valid yet"), "{down}");
}

#[test]
fn a_node_that_is_not_the_one_dialled_is_refused_and_told() {
    record_warnings();
    let (mut a, c) = (Plan::new("a3").start(), Plan::new("c3").start());
    a.link.learn(&crate::cloud::id("b3"), c.address);
    a.send("b3", 1);
    let why = format!("node b3 was dialled at {}, and the one there is c3", c.address);
    assert_eq!(a.heard(), format!("down b3: node b3: {why}"));
    assert_eq!(wait_for_warning("c3", "b3"), format!("{}: it says: {why}", a.address));
    assert!(c.is_quiet());
}

#[test]
fn sides_without_a_common_wire_version_say_so() {
    record_warnings();
    let later = WireVersions { min: WireVersion(4), max: WireVersion(4) };
    let mut a = Plan { versions: later, ..Plan::new("a4") }.start();
    let b = Plan::new("b4").start();
    a.learn(&b);
    a.send("b4", 1);
    let down = a.heard();
    let told = "it says: no common wire version: this side speaks 1 to 3, the peer 4 to 4";
    assert_eq!(down, format!("down b4: node b4: {told}"));
    let here = "no common wire version: this side speaks 1 to 3, the peer 4 to 4";
    assert_eq!(wait_for_warning("b4", "wire"), format!("{}: {here}", a.address));
    assert!(b.is_quiet());
}

#[test]
fn a_refusal_is_logged_once() {
    record_warnings();
    let (ours, theirs) = (ca(1), ca(2));
    let mut a = Plan::with(credentials("a5", &theirs, &[&ours])).start();
    let b = Plan::with(credentials("b5", &ours, &[&ours])).start();
    a.learn(&b);
    for _ in 0..3 {
        a.send("b5", 1);
        assert!(a.heard().starts_with("down b5"));
    }
    for node in [&a, &b] {
        let warnings = warnings_of(node.name());
        assert_eq!(warnings.values().collect::<Vec<_>>(), [&1], "{warnings:?}");
    }
}

#[test]
fn a_former_start_of_a_peer_is_refused() {
    let mut a = Plan::new("a").start();
    let b = Plan { incarnation: 5, ..Plan::new("b") }.start();
    b.learn(&a);
    b.send("a", 1);
    assert_eq!(a.heard(), "up b 5");
    assert_eq!(a.heard(), "1 from b");

    let mut former = Plan { incarnation: 4, ..Plan::new("b") }.start();
    former.learn(&a);
    former.send("a", 2);
    let told = "node a: it says: a later start of node b is known here";
    assert_eq!(former.heard(), format!("down a: {told}"));
    b.send("a", 3);
    assert_eq!(a.heard(), "3 from b");
}

#[test]
fn a_renewed_certificate_is_used_by_the_next_connection() {
    let (mut a, b) = connected_pair();
    let past_first = NOW + 2 * DAY.as_secs();
    let ca = ca(1);
    for node in [&a, &b] {
        let key = updraft_transport::key::NodeKey::from_seed(&[9; 32]).unwrap();
        let validity = updraft_transport::ca::Validity::starting(past_first, DAY);
        let certificate = ca.issue(node.link.local(), &key.public(), validity).unwrap();
        let renewed = updraft_transport::tls::Credentials::new(
            certificate,
            key,
            vec![ca.certificate().clone()],
        );
        node.link.renew(&renewed.unwrap()).unwrap();
        node.host.unix_secs.store(past_first, Ordering::Relaxed);
    }
    b.crash();
    assert!(a.heard().starts_with("down b"));
    let refusal = a.link.renew(&credentials("c", &ca, &[&ca]));
    assert!(matches!(refusal, Err(QuicError::OtherNode(_))));

    // A node that never had the first certificate accepts the renewed one.
    let plan = Plan::with(credentials("d", &ca, &[&ca]));
    let mut d = Plan { unix_secs: past_first, ..plan }.start();
    a.learn(&d);
    a.send("d", 1);
    let down = a.heard();
    assert!(down.contains("certificate expired"), "it is d's that has: {down}");
    d.host.unix_secs.store(NOW, Ordering::Relaxed);
    a.host.unix_secs.store(NOW, Ordering::Relaxed);
    a.send("d", 2);
    let down = a.heard();
    assert!(down.contains("certificate not valid yet"), "a shows the renewed one: {down}");
    drop(d.events.try_recv());
}
