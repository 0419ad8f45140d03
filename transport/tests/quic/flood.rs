//! Ten thousand connections that open at once, and a peer that sends garbage again and again: memory stays bounded,
//! other peers are served, what is refused is counted.

use std::{
    env, fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use quinn::Endpoint;
use tokio::{runtime::Builder, task::JoinSet};
use updraft_transport::Refused;

use crate::{
    cloud::{LOCALHOST, PATIENCE, Plan, connected_pair},
    hostile::{connect, dialler, hello, open, thrown_out},
};

/// Connections that open at once.
const CONNECTIONS: usize = 10_000;
/// Where the test below tells its other process whom to dial.
const VICTIM: &str = "UPDRAFT_TEST_VICTIM";
/// Handshakes are 100 KiB each, and 512 at once: 51 MB. All of these would take a gigabyte.
const GROWS_BY_BYTES: u64 = 150_000_000;
/// The largest frame of garbage that is read at all.
const GARBAGE_BYTES: u32 = 1_048_576;
/// How often it is sent: all of it would be 300 megabytes.
const GARBAGE_COUNT: u64 = 300;
/// Both sides of the connections that were lately closed, which QUIC remembers for some round trips: 63 MB were seen,
/// and no more after eight hundred.
const GARBAGE_GROWS_BY_BYTES: u64 = 130_000_000;
/// Times a peer must be answered meanwhile, and refusals that must be counted.
const ENOUGH: u64 = 100;

/// What this process has in memory.
fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// The other process: what it holds is not the victim's.
#[test]
fn dials_in_great_number() {
    let Ok(victim) = env::var(VICTIM) else { return };
    let victim = victim.parse().unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let endpoint = Endpoint::client(LOCALHOST).unwrap();
        let config = dialler(true, b"updraft/1");
        let mut dials = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let dial = endpoint.connect_with(config.clone(), victim, "updraft").unwrap();
            dials.spawn(async move {
                if let Ok(connection) = dial.await {
                    connection.closed().await;
                }
            });
        }
        while dials.join_next().await.is_some() {}
    });
}

/// Ends the other process with the test.
struct Dialling(Child);

impl Drop for Dialling {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dial_in_great_number(victim: std::net::SocketAddr) -> Dialling {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "flood::dials_in_great_number"])
        .env(VICTIM, victim.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Dialling(command.spawn().unwrap())
}

#[test]
fn ten_thousand_connections_at_once_are_refused_and_counted_while_peers_are_served() {
    let (mut a, mut victim) = connected_pair();
    let (before, started) = (resident_bytes(), Instant::now());
    let mut dialling = dial_in_great_number(victim.address);
    let (mut most, mut answered) = (0, 0);
    let refused = |counts: &updraft_transport::Counts| counts.refused[&Refused::TooManyHandshakes];
    while refused(&victim.link.counts()) < ENOUGH || answered < ENOUGH {
        a.send("b", answered);
        assert_eq!(victim.heard(), format!("{answered} from a"));
        victim.send("a", answered);
        assert_eq!(a.heard(), format!("{answered} from b"));
        answered += 1;
        most = most.max(resident_bytes().saturating_sub(before));
        assert!(dialling.0.try_wait().unwrap().is_none(), "it refuses too little: {answered}");
        assert!(started.elapsed() < 4 * PATIENCE, "{:?}", victim.link.counts());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(most < GROWS_BY_BYTES, "{most} bytes more");
    drop(dialling);
    // Who comes then is let in, once those that were let down have been given up.
    let mut late = Plan::new("late").start();
    late.learn(&victim);
    late.send("b", 7);
    while late.heard() != "up b 1" {
        assert!(started.elapsed() < 4 * PATIENCE, "{:?}", victim.link.counts());
        std::thread::sleep(Duration::from_millis(10));
        late.send("b", 7);
    }
}

#[test]
fn who_sends_garbage_again_and_again_is_thrown_out_and_counted_while_peers_are_served() {
    let (a, mut victim) = connected_pair();
    let mut garbage = GARBAGE_BYTES.to_be_bytes().to_vec();
    garbage.resize(garbage.len() + GARBAGE_BYTES as usize, 0xff);
    let (before, mut most) = (resident_bytes(), 0);
    for attempt in 0..GARBAGE_COUNT {
        let answer = victim.run(async {
            let connection = connect(&victim, true).await;
            let mut streams = open(&connection, &hello("mallory")).await;
            // It may be thrown out before it has said all of it.
            let _ = streams[1].0.write_all(&garbage).await;
            thrown_out(&connection).await
        });
        // The words may be lost; whoever goes on is told by a reset that nobody listens any more.
        assert!(
            ["the header of a frame makes no sense", "reset by peer"].contains(&&*answer),
            "{answer}"
        );
        a.send("b", attempt);
        while victim.heard() != format!("{attempt} from a") {}
        most = most.max(resident_bytes().saturating_sub(before));
    }
    assert!(most < GARBAGE_GROWS_BY_BYTES, "{most} bytes more");
    assert_eq!(victim.link.counts().refused[&Refused::BrokenFrame], GARBAGE_COUNT);
}
