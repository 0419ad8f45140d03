//! Nodes talk in weather of all kinds.

use super::*;

#[test]
fn two_nodes_talk_while_one_datagram_in_twenty_is_lost() {
    let (mut sim, notes, log) = world(&["a", "b"], 1, weather(1, 5));
    run_for(&mut sim, Duration::from_secs(20));
    for node in ["a", "b"] {
        let (asked, answered) = (notes.count(node, "call"), notes.count(node, "answered"));
        assert!(asked > 500 && answered + 30 > asked, "{node}: {answered} of {asked} answered");
        assert_eq!(notes.count(node, "down"), 0, "{:?}", notes.of(node));
    }
    let lost = log.lines().iter().filter(|line| line.contains("LOST")).count();
    assert!(lost > 100, "only {lost} datagrams were lost");
}

#[test]
fn damage_delay_and_duplicates_reach_nobody() {
    let (mut sim, notes, _) = world(&["a", "b"], 2, foul(2, [2, 5, 5, 20]));
    run_for(&mut sim, Duration::from_secs(20));
    for node in ["a", "b"] {
        let mut answers: Vec<_> =
            notes.of(node).into_iter().filter(|line| line.starts_with("answered")).collect();
        let count = answers.len();
        assert!(count > 500, "{node} had {count} answers");
        answers.sort();
        answers.dedup();
        assert_eq!(answers.len(), count, "{node} had an answer twice");
        assert_eq!(notes.count(node, "down"), 0, "{:?}", notes.of(node));
    }
}

#[test]
fn nodes_meet_again_after_a_partition() {
    let (mut sim, notes, _) = world(&["a", "b"], 3, weather(3, 0));
    run_for(&mut sim, Duration::from_secs(2));
    sim.partition("a", "b");
    run_for(&mut sim, Duration::from_secs(10));
    sim.repair("a", "b");
    let before = notes.count("a", "answered");
    run_for(&mut sim, Duration::from_secs(10));
    for (node, peer) in [("a", "b"), ("b", "a")] {
        let first = notes.of(node).iter().find(|line| line.starts_with("down")).cloned();
        assert_eq!(first, Some(format!("down {peer}: node {peer}: it does not answer")));
        assert!(notes.count(node, "up") >= 2, "{:?}", notes.of(node));
    }
    assert!(notes.count("a", "answered") > before + 100);
}

#[test]
fn a_black_hole_for_large_datagrams_slows_and_does_not_stop() {
    let narrow = Everywhere::new(4, &[LinkTrouble::MtuBlackHole { bytes: 1_250 }]);
    let (mut sim, notes, _) = world(&["a", "b"], 4, narrow);
    run_for(&mut sim, Duration::from_secs(5));
    assert!(notes.count("a", "answered") > 100, "{:?}", notes.of("a"));
    assert_eq!(notes.count("a", "down"), 0);
}

#[test]
fn a_connection_ends_with_the_certificate_that_opened_it() {
    let notes = Notes::default();
    let air = Air::new(weather(5, 0), DatagramLog::default());
    let mut sim = builder(5).build();
    for (name, lasting, others) in [("a", DAY, "b"), ("b", Duration::from_secs(60), "a")] {
        let (air, notes) = (air.clone(), notes.clone());
        sim.host(name, move || {
            let (air, notes) = (air.clone(), notes.clone());
            async move {
                let (link, mut events) =
                    Plan::new(credentials(name, lasting), 5, 1, air).start().await;
                link.learn(&id(others), SocketAddr::new(turmoil::lookup(others), PORT));
                link.send(&id(others), Class::Calls, frame(Kind::Cast, 1, 0))?;
                while let Some(event) = events.recv().await {
                    if let Event::Down { reason, .. } = event {
                        let second = turmoil::since_epoch().unwrap_or_default().as_secs() - EPOCH;
                        notes.add(name, format!("{second} {reason}"));
                    }
                }
                Ok(())
            }
        });
    }
    run_for(&mut sim, Duration::from_secs(70));
    assert_eq!(notes.of("a"), ["61 node b: its certificate has expired"]);
    assert_eq!(notes.of("b"), ["61 node a: it says: its certificate has expired"]);
}
