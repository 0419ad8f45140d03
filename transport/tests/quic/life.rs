//! Connections coming and going.

use std::time::Duration;

use updraft_transport::{LinkError, Transport, link::EVENTS_MAX, quic::IDLE_TIMEOUT};

use crate::cloud::{LOCALHOST, Plan, connected_pair, id, pair};

#[test]
fn a_peer_that_crashed_and_came_back_is_down_and_then_up() {
    let (mut a, b) = connected_pair();
    let address = b.crash();
    let mut b = Plan { incarnation: 2, address, ..Plan::new("b") }.start();
    a.send("b", 1);
    let down = a.heard();
    assert!(down.starts_with("down b: node b: it "), "{down}");
    a.send("b", 2);
    assert_eq!(a.heard(), "up b 2");
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "2 from a");
}

#[test]
fn a_peer_that_crashed_and_dials_first_is_down_and_then_up() {
    let (mut a, b) = connected_pair();
    b.crash();
    let mut b = Plan { incarnation: 2, ..Plan::new("b") }.start();
    b.learn(&a);
    b.send("a", 1);
    assert_eq!(a.heard(), "down b: node b: it has restarted");
    assert_eq!(a.heard(), "up b 2");
    assert_eq!(a.heard(), "1 from b");
    assert_eq!(b.heard(), "up a 1");
}

#[test]
fn a_peer_that_does_not_come_back_is_down_after_the_idle_timeout() {
    let (mut a, b) = connected_pair();
    b.crash();
    assert_eq!(a.heard(), "down b: node b: it does not answer");
    assert!(a.is_quiet());
}

#[test]
fn what_arrived_before_a_crash_is_handed_up_before_the_peer_is_down() {
    let (a, mut b) = connected_pair();
    let count = EVENTS_MAX as u64 + 1000;
    let mut sent = 0;
    while sent < count {
        sent += u64::from(a.try_send("b", sent).is_ok());
    }
    // Nobody takes the events while the crash is noticed.
    while b.events.len() < EVENTS_MAX {
        std::thread::yield_now();
    }
    a.crash();
    // The last packet may have been a keep-alive, a second later.
    std::thread::sleep(IDLE_TIMEOUT + Duration::from_secs(2));
    let mut heard = 0;
    loop {
        let next = b.heard();
        if next.starts_with("down") {
            break;
        }
        assert_eq!(next, format!("{heard} from a"));
        heard += 1;
    }
    assert!(heard > EVENTS_MAX as u64, "only {heard} came");
    std::thread::sleep(Duration::from_millis(100));
    assert!(b.is_quiet(), "{}", b.heard());
}

#[test]
fn a_peer_that_cannot_be_reached_is_down_and_what_waited_is_dropped() {
    let mut a = Plan::new("a").start();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    a.link.learn(&id("b"), silent.local_addr().unwrap());
    a.send("b", 1);
    assert_eq!(a.heard(), "down b: node b: it does not answer");

    let mut b = Plan::new("b").start();
    a.learn(&b);
    a.send("b", 2);
    assert_eq!(a.heard(), "up b 1");
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "2 from a");
}

#[test]
fn what_waits_for_a_dial_is_sent_when_it_succeeds() {
    let (a, mut b) = pair();
    (1..=3).for_each(|number| a.send("b", number));
    assert_eq!(b.heard(), "up a 1");
    (1..=3).for_each(|number| assert_eq!(b.heard(), format!("{number} from a")));
}

#[test]
fn both_may_dial_at_once_and_one_connection_stays() {
    for round in 0..20 {
        let (mut a, mut b) = pair();
        b.learn(&a);
        (1..=3).for_each(|number| {
            a.send("b", number);
            b.send("a", number);
        });
        for (node, peer) in [(&mut a, "b"), (&mut b, "a")] {
            assert_eq!(node.heard(), format!("up {peer} 1"), "round {round}");
            for number in 1..=3 {
                assert_eq!(node.heard(), format!("{number} from {peer}"), "round {round}");
            }
            assert!(node.is_quiet(), "round {round}");
        }
    }
}

#[test]
fn closing_sends_what_is_queued_and_says_goodbye() {
    let (mut a, mut b) = connected_pair();
    (1..=2000).for_each(|number| a.send("b", number));
    a.link.close();
    assert_eq!(a.try_send("b", 9), Err(LinkError::Closing));
    (1..=2000).for_each(|number| assert_eq!(b.heard(), format!("{number} from a")));
    assert_eq!(b.heard(), "down a: node a: it says: this node is going away");
    assert_eq!(a.heard(), "down b: node b: both sides have finished");
    assert_eq!(a.heard(), "the end");
}

#[test]
fn closing_dials_once_more_for_what_is_queued() {
    let (mut a, mut b) = pair();
    a.send("b", 1);
    a.link.close();
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "1 from a");
    assert_eq!(a.heard(), "up b 1");
}

#[test]
fn a_node_that_has_closed_lets_its_port_be_used_again() {
    let (mut a, _b) = connected_pair();
    let address = a.address;
    a.link.close();
    while a.next().is_some() {}
    a.crash();
    let again = Plan { address, ..Plan::new("a") }.start();
    assert_eq!(again.address, address);
    assert_ne!(address, LOCALHOST);
}

#[test]
fn an_idle_connection_is_kept() {
    let (a, mut b) = connected_pair();
    // Longer than the idle timeout; there is nothing to wait for but time itself.
    std::thread::sleep(IDLE_TIMEOUT + Duration::from_millis(500));
    assert!(a.is_quiet() && b.is_quiet());
    a.send("b", 1);
    assert_eq!(b.heard(), "1 from a");
}

#[test]
fn a_whole_cloud_may_dial_one_node_at_once() {
    let mut hub = Plan::new("hub").start();
    let nodes: Vec<_> = (0..150).map(|number| Plan::new(&format!("n{number}")).start()).collect();
    for node in &nodes {
        node.learn(&hub);
        node.send("hub", 1);
    }
    let mut heard: Vec<_> = nodes.iter().flat_map(|_| [hub.heard(), hub.heard()]).collect();
    let mut expected: Vec<_> = nodes
        .iter()
        .flat_map(|node| [format!("up {} 1", node.name()), format!("1 from {}", node.name())])
        .collect();
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
}
