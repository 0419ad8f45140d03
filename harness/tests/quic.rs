//! Real QUIC over a simulated network: it works in foul weather, and the same seed is the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use updraft_harness::quic::{Air, DatagramLog, Rough, bind};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, LinkError, NodeId, PeerIdentity, Transport,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig},
    tls::Credentials,
    wire::WireVersions,
};

const EPOCH: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);
const PORT: u16 = 7000;
/// Set in a child to the seed of the run whose log it shall print.
const CHILD: &str = "UPDRAFT_QUIC_SEED";

/// A host whose entropy follows from a seed and whose clock is the simulation's.
struct SeededHost {
    seed: u64,
    draws: AtomicU64,
}

impl Host for SeededHost {
    fn spawn(&self, _name: &'static str, task: Task) {
        tokio::spawn(task);
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(draw);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        seed
    }

    fn unix_secs(&self) -> u64 {
        turmoil::since_epoch().unwrap().as_secs()
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn credentials(name: &str) -> Credentials {
    let validity = Validity::starting(EPOCH, DAY);
    let ca = CloudCa::create("sim", NodeKey::from_seed(&[1; 32]).unwrap(), validity).unwrap();
    let mut seed = [2; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    let key = NodeKey::from_seed(&seed).unwrap();
    let identity = PeerIdentity::new(id(name), &["compute"]);
    let certificate = ca.issue(&identity, &key.public(), validity).unwrap();
    Credentials::new(certificate, key, vec![ca.certificate().clone()]).unwrap()
}

fn frame(kind: Kind, number: u64, body_bytes: usize) -> Frame {
    let header = Header {
        kind,
        method: "test/echo".to_owned(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 60_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        context: Vec::new().into(),
    };
    Frame { header, body: vec![number as u8; body_bytes].into() }
}

/// Starts a node on the turmoil host that calls.
async fn start(
    name: &str,
    seed: u64,
    incarnation: u64,
    air: Air,
) -> (Arc<Quic>, mpsc::Receiver<Event>) {
    let address = SocketAddr::new(turmoil::lookup(name), PORT);
    let (socket, runtime) = bind(address, air).await.unwrap();
    let config = QuicConfig {
        credentials: credentials(name),
        incarnation: Incarnation(incarnation),
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(SeededHost { seed: seed ^ incarnation << 32, draws: AtomicU64::new(0) }),
        admission: None,
        mtu_discovery: true,
    };
    Quic::start(config).unwrap()
}

/// What a node has seen, shared with the test outside of the simulation.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<BTreeMap<String, Vec<String>>>>);

impl Notes {
    fn add(&self, node: &str, line: String) {
        self.0.borrow_mut().entry(node.to_owned()).or_default().push(line);
    }

    fn of(&self, node: &str) -> Vec<String> {
        self.0.borrow().get(node).cloned().unwrap_or_default()
    }

    fn count(&self, node: &str, what: &str) -> usize {
        self.of(node).iter().filter(|line| line.starts_with(what)).count()
    }
}

/// A node that calls all others now and then, answers their calls, and notes what happens.
async fn live(
    name: String,
    others: Vec<String>,
    seed: u64,
    air: Air,
    notes: Notes,
) -> turmoil::Result {
    // A restarted node finds on its disk how often it has started.
    let incarnation = 1 + notes.count(&name, "start") as u64;
    notes.add(&name, format!("start {incarnation}"));
    let (link, mut events) = start(&name, seed, incarnation, air).await;
    for other in &others {
        link.learn(&id(other), SocketAddr::new(turmoil::lookup(other.as_str()), PORT));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ incarnation);
    let mut calls = 0;
    loop {
        let pause = Duration::from_millis(rng.random_range(5..30));
        tokio::select! {
            biased;
            event = events.recv() => match event.unwrap() {
                Event::Frame { peer, frame } => answer(&link, &name, &peer, &frame, &notes),
                Event::Up { peer, incarnation } => notes.add(&name, format!("up {} {}", peer.node, incarnation.0)),
                Event::Down { peer, reason } => notes.add(&name, format!("down {peer}: {reason}")),
            },
            () = tokio::time::sleep(pause) => {
                calls += 1;
                let other = &others[rng.random_range(0..others.len())];
                let class = Class::ALL[rng.random_range(0..3)];
                let call = frame(Kind::Call, calls, rng.random_range(0..6000));
                notes.add(&name, format!("call {calls} {other} {:?}", link.send(&id(other), class, call)));
            }
        }
    }
}

fn answer(link: &Quic, name: &str, peer: &PeerIdentity, call: &Frame, notes: &Notes) {
    let what = if call.header.kind == Kind::Call { "asked" } else { "answered" };
    notes.add(name, format!("{what} {} {}", peer.node, call.header.id));
    if call.header.kind == Kind::Call {
        let reply = frame(Kind::Reply, call.header.id, call.body.len() / 2);
        let sent: Result<(), LinkError> = link.send(&peer.node, Class::Calls, reply);
        notes.add(name, format!("reply {sent:?}"));
    }
}

fn builder(seed: u64) -> turmoil::Builder {
    let mut builder = turmoil::Builder::new();
    builder
        .epoch(std::time::UNIX_EPOCH + Duration::from_secs(EPOCH))
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .udp_capacity(8192);
    builder
}

/// Steps the simulation for so long.
fn run_for(sim: &mut turmoil::Sim<'_>, duration: Duration) {
    let end = sim.elapsed() + duration;
    while sim.elapsed() < end {
        sim.step().unwrap();
    }
}

fn weather(seed: u64, loss: f64) -> Rough {
    Rough { loss, ..Rough::new(ChaCha8Rng::seed_from_u64(seed)) }
}

/// Hosts that all live the same life, and what was seen of it.
fn world<'a>(names: &[&str], seed: u64, weather: Rough) -> (turmoil::Sim<'a>, Notes, DatagramLog) {
    let (notes, log) = (Notes::default(), DatagramLog::default());
    let air = Air::new(weather, log.clone());
    let mut sim = builder(seed).build();
    for (index, name) in names.iter().enumerate() {
        let others: Vec<_> =
            names.iter().filter(|other| *other != name).map(|other| (*other).to_owned()).collect();
        let (name, air, notes) = ((*name).to_owned(), air.clone(), notes.clone());
        let seed = seed.wrapping_mul(1000) + index as u64;
        sim.host(name.clone(), move || {
            live(name.clone(), others.clone(), seed, air.clone(), notes.clone())
        });
    }
    (sim, notes, log)
}

#[test]
fn two_nodes_talk_while_one_datagram_in_twenty_is_lost() {
    let (mut sim, notes, log) = world(&["a", "b"], 1, weather(1, 0.05));
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
    let foul = Rough { corruption: 0.05, duplication: 0.05, reordering: 0.2, ..weather(2, 0.02) };
    let (mut sim, notes, _) = world(&["a", "b"], 2, foul);
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
    let (mut sim, notes, _) = world(&["a", "b"], 3, weather(3, 0.0));
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
    let (mut sim, notes, _) = world(&["a", "b"], 4, Rough { mtu_bytes: 1250, ..weather(4, 0.0) });
    run_for(&mut sim, Duration::from_secs(5));
    assert!(notes.count("a", "answered") > 100, "{:?}", notes.of("a"));
    assert_eq!(notes.count("a", "down"), 0);
}

/// Five nodes with loss, a partition, and a crash and restart.
fn eventful(seed: u64) -> Vec<String> {
    let names = ["a", "b", "c", "d", "e"];
    let foul =
        Rough { duplication: 0.01, corruption: 0.01, reordering: 0.05, ..weather(seed, 0.05) };
    let (mut sim, notes, log) = world(&names, seed, foul);
    run_for(&mut sim, Duration::from_secs(2));
    sim.partition("a", "b");
    run_for(&mut sim, Duration::from_secs(4));
    sim.repair("a", "b");
    sim.crash("c");
    run_for(&mut sim, Duration::from_secs(2));
    sim.bounce("c");
    run_for(&mut sim, Duration::from_secs(4));
    assert!(notes.of("a").contains(&"up c 2".to_owned()), "{:?}", notes.of("a"));
    let mut lines = log.lines();
    for name in names {
        lines.extend(notes.of(name).into_iter().map(|line| format!("{name} {line}")));
    }
    lines
}

/// Runs this very test in a process of its own, where it prints the log of one run.
fn eventful_elsewhere(seed: u64) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_same_seed_is_the_same_run_in_every_process", "--nocapture"])
        .env(CHILD, seed.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("log ")).map(str::to_owned).collect()
}

#[test]
fn the_same_seed_is_the_same_run_in_every_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        eventful(seed.parse().unwrap()).iter().for_each(|line| println!("log {line}"));
        return;
    }
    let first = eventful_elsewhere(7);
    let second = eventful_elsewhere(7);
    assert!(first.len() > 5000, "only {} lines", first.len());
    let difference = first.iter().zip(&second).position(|(one, other)| one != other);
    if let Some(at) = difference {
        panic!("line {at} differs:\n{}\n{}", first[at], second[at]);
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, eventful_elsewhere(8), "another seed is another run");
}
