//! Real QUIC over a simulated network: it works in foul weather, and the same seed is the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

mod connections;
mod quiet;
mod same;
mod talk;
mod upgrade;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
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
use updraft_harness::{
    fault::LinkTrouble,
    quic::{Air, DatagramLog, ETHERNET_MTU_BYTES, Everywhere, bind},
};
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
const ETHERNET: LinkTrouble = LinkTrouble::MtuBlackHole { bytes: ETHERNET_MTU_BYTES };

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

fn credentials(name: &str, lasting: Duration) -> Credentials {
    let validity = Validity::starting(EPOCH, lasting);
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
        method: "test/echo".into(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 60_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: Vec::new().into(),
    };
    Frame { header, body: vec![number as u8; body_bytes].into() }
}

/// How to start a node; the defaults suit most tests.
struct Plan {
    credentials: Credentials,
    seed: u64,
    incarnation: u64,
    versions: WireVersions,
    air: Air,
}

impl Plan {
    fn new(credentials: Credentials, seed: u64, incarnation: u64, air: Air) -> Self {
        Self { credentials, seed, incarnation, versions: WireVersions::SUPPORTED, air }
    }

    /// Starts it on the turmoil host that calls.
    async fn start(self) -> (Arc<Quic>, mpsc::Receiver<Event>) {
        let Self { credentials, seed, incarnation, versions, air } = self;
        let name = credentials.identity().node.to_string();
        let address = SocketAddr::new(turmoil::lookup(name), PORT);
        let (socket, runtime) = bind(address, air).await.unwrap();
        let draws = AtomicU64::new(0);
        let config = QuicConfig {
            credentials,
            incarnation: Incarnation(incarnation),
            versions,
            socket,
            runtime,
            host: Arc::new(SeededHost { seed: seed ^ incarnation << 32, draws }),
            admission: None,
            mtu_discovery: true,
        };
        Quic::start(config).unwrap()
    }
}

/// Starts a node on the turmoil host that calls.
async fn start(
    name: &str,
    seed: u64,
    incarnation: u64,
    air: Air,
) -> (Arc<Quic>, mpsc::Receiver<Event>) {
    Plan::new(credentials(name, DAY), seed, incarnation, air).start().await
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
                Event::Body { peer, .. } => notes.add(&name, format!("a body from {}", peer.node)),
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

/// Weather that loses so much of all, on links like Ethernet.
fn weather(seed: u64, loss_percent: u8) -> Everywhere {
    Everywhere::new(seed, &[LinkTrouble::Loss { percent: loss_percent }, ETHERNET])
}

/// Weather that loses, doubles, damages and reorders these shares, in percent.
fn foul(seed: u64, [loss, twice, damage, late]: [u8; 4]) -> Everywhere {
    let late_max = Duration::from_millis(20);
    let troubles = [
        LinkTrouble::Loss { percent: loss },
        LinkTrouble::Duplication { percent: twice },
        LinkTrouble::Corruption { percent: damage },
        LinkTrouble::Reordering { percent: late, late_max },
        ETHERNET,
    ];
    Everywhere::new(seed, &troubles)
}

/// Hosts that all live the same life, and what was seen of it.
fn world<'a>(
    names: &[&str],
    seed: u64,
    weather: Everywhere,
) -> (turmoil::Sim<'a>, Notes, DatagramLog) {
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
