//! What nodes do while nothing happens: keep what stands, and look for who is gone, each in its own time.

use super::*;

/// Connects to `c` if it can, and again whenever it is down; notes when.
async fn seeker(name: &'static str, seed: u64, air: Air, notes: Notes) -> turmoil::Result {
    let (link, mut events) = start(name, seed, 1, air).await;
    let seek = || link.send(&id("c"), Class::Calls, frame(Kind::Cast, 1, 0));
    link.learn(&id("c"), SocketAddr::new(turmoil::lookup("c"), PORT));
    seek()?;
    while let Some(event) = events.recv().await {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        match event {
            Event::Down { .. } => {
                notes.add(name, format!("down {at}"));
                seek()?;
            }
            Event::Up { .. } => notes.add(name, format!("up {at}")),
            Event::Frame { .. } | Event::Body { .. } => {}
        }
    }
    Ok(())
}

/// Nodes that seek `c`, which does nothing but listen.
fn seekers(
    names: &[&'static str],
    seeds: fn(usize) -> u64,
) -> (turmoil::Sim<'static>, Notes, DatagramLog) {
    let (notes, log) = (Notes::default(), DatagramLog::default());
    let air = Air::new(weather(9, 0), log.clone());
    // Without chance in the network: what differs between nodes is their own.
    let mut sim = builder(9);
    let latency = Duration::from_millis(5);
    let mut sim = sim.min_message_latency(latency).max_message_latency(latency).build();
    for (index, name) in names.iter().copied().enumerate() {
        let (air, notes) = (air.clone(), notes.clone());
        sim.host(name, move || seeker(name, seeds(index), air.clone(), notes.clone()));
    }
    let air = air.clone();
    sim.host("c", move || {
        let air = air.clone();
        async move {
            let (_link, mut events) = start("c", 99, 1, air).await;
            while events.recv().await.is_some() {}
            Ok(())
        }
    });
    (sim, notes, log)
}

/// When a node found its peer gone, in milliseconds.
fn downs(notes: &Notes, name: &str) -> Vec<i64> {
    let lines = notes.of(name);
    lines.iter().filter_map(|line| line.strip_prefix("down ")?.parse().ok()).collect()
}

#[test]
fn an_idle_connection_stays_and_costs_little() {
    let (mut sim, notes, log) = seekers(&["a"], |_| 1);
    run_for(&mut sim, Duration::from_secs(5));
    let before = log.lines().len();
    run_for(&mut sim, Duration::from_secs(60));
    assert_eq!(notes.of("a").len(), 1, "up once: {:?}", notes.of("a"));
    let datagrams = log.lines()[before..].iter().filter(|line| line.contains("SEND")).count();
    // A keep-alive each second from either side or both, and an acknowledgement of each.
    assert!((60..=300).contains(&datagrams), "{datagrams} in a minute");
}

#[test]
fn nodes_that_lose_a_peer_together_do_not_dial_it_in_step() {
    let (mut sim, notes, _) = seekers(&["a", "b"], |index| index as u64);
    run_for(&mut sim, Duration::from_secs(3));
    sim.crash("c");
    run_for(&mut sim, Duration::from_secs(60));
    let (a, b) = (downs(&notes, "a"), downs(&notes, "b"));
    let rounds = a.len().min(b.len());
    assert!(rounds >= 8, "{a:?} {b:?}");
    // They lose it together; then each waits its own while.
    assert!((a[0] - b[0]).abs() <= 1000, "{a:?} {b:?}");
    let pauses = |downs: &[i64]| downs.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>();
    let apart = pauses(&a).iter().zip(pauses(&b)).filter(|(a, b)| (*a - b).abs() >= 20).count();
    assert!(apart >= rounds / 2, "{a:?} {b:?}");

    // The jitter follows from the seed: the same seeds, the same moments.
    let (mut sim, again, _) = seekers(&["a", "b"], |index| index as u64);
    run_for(&mut sim, Duration::from_secs(3));
    sim.crash("c");
    run_for(&mut sim, Duration::from_secs(60));
    assert_eq!((downs(&again, "a"), downs(&again, "b")), (a, b));
}

#[test]
fn a_peer_that_comes_back_is_found_within_the_longest_pause() {
    let (mut sim, notes, _) = seekers(&["a", "b"], |index| index as u64);
    run_for(&mut sim, Duration::from_secs(3));
    sim.crash("c");
    run_for(&mut sim, Duration::from_secs(60));
    sim.bounce("c");
    let back_at = sim.elapsed().as_millis();
    run_for(&mut sim, Duration::from_secs(10));
    for name in ["a", "b"] {
        let last = notes.of(name).last().cloned().unwrap_or_default();
        let up_at: u128 = last.strip_prefix("up ").expect(&last).parse().unwrap();
        assert!(up_at - back_at <= 8500, "{name} needed {} ms", up_at - back_at);
    }
}
