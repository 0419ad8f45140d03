//! Tier 2: each node on a turmoil host, frames over real QUIC and TLS on simulated UDP.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use turmoil::Sim;
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
};
use updraft_transport::{
    Incarnation, NodeId, PeerIdentity,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig},
    tls::Credentials,
    wire::{WireVersion, WireVersions},
};

use super::{
    Backend, EPOCH,
    node::{Boot, Disk, NodeContext, SimWorld, Time, host_seed},
};
use crate::{
    fault::{self, Faults},
    quic::{Air, Copy, Datagram, Watcher, Weather, bind, told_as_received, told_as_sent},
    record::{Recorder, What},
};

/// The UDP port of every node.
const PORT: u16 = 7_000;

/// How long certificates last: longer than any run.
const CERTIFICATES_LAST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What nodes speak.
const PRESENT: WireVersions = WireVersions::SUPPORTED;

/// What those of the release before spoke.
const FORMER: WireVersions = WireVersions { min: PRESENT.min, max: WireVersion(PRESENT.max.0 - 1) };

/// Datagrams that wait at a socket; turmoil's own 64 would be overrun by one burst of QUIC.
const UDP_QUEUE: usize = 8_192;

type Jobs = mpsc::UnboundedSender<BoxFuture<'static, ()>>;

/// What is outside of a node's lives.
#[derive(Clone, Default)]
struct Outside {
    disk: Disk,
    lives: Arc<AtomicU64>,
    /// Whether the next life runs the former release.
    former_wire: Arc<AtomicBool>,
    present: Arc<Mutex<Option<(Jobs, Disk)>>>,
}

/// Nodes over simulated UDP.
pub(super) struct OverQuic {
    seed: u64,
    sim: Sim<'static>,
    air: Air,
    names: Names,
    faults: Faults,
    recorder: Recorder,
    nodes: BTreeMap<NodeId, Outside>,
}

/// Who has which address.
type Names = Arc<Mutex<BTreeMap<IpAddr, NodeId>>>;

/// The faults of the world, as the weather of its datagrams.
struct Sky {
    names: Names,
    faults: Faults,
}

impl Weather for Sky {
    fn decide(&mut self, datagram: &Datagram<'_>) -> Vec<Copy> {
        let names = self.names.lock();
        let ends = [datagram.from, datagram.to].map(|end| names.get(&end.ip()));
        let [Some(from), Some(to)] = ends else { return vec![Copy::default()] };
        self.faults.carry(datagram.at, from, to, datagram.bytes.len())
    }
}

/// Has every datagram recorded.
struct Told(Recorder);

impl Watcher for Told {
    fn sent(&mut self, datagram: &Datagram<'_>, copies: &[Copy]) {
        self.0.tell_at(datagram.at, || What::Datagram(told_as_sent(datagram, copies)));
    }

    fn received(&mut self, datagram: &Datagram<'_>) {
        self.0.tell_at(datagram.at, || What::Datagram(told_as_received(datagram)));
    }
}

impl OverQuic {
    pub(super) fn new(seed: u64, tick: Duration, faults: Faults, recorder: Recorder) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(std::time::UNIX_EPOCH + Duration::from_micros(EPOCH.0))
            .tick_duration(tick)
            .simulation_duration(Duration::from_secs(24 * 3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5))
            .udp_capacity(UDP_QUEUE)
            .build();
        let names = Names::default();
        let sky = Sky { names: names.clone(), faults: faults.clone() };
        let air = Air::new(sky, Told(recorder.clone()));
        Self { seed, sim, air, names, faults, recorder, nodes: BTreeMap::new() }
    }
}

impl Backend for OverQuic {
    fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        let node = identity.node.clone();
        let outside = Outside::default();
        self.nodes.insert(node.clone(), outside.clone());
        let (seed, air) = (host_seed(self.seed, node.as_str()), self.air.clone());
        let (faults, recorder) = (self.faults.clone(), self.recorder.clone());
        self.sim.host(node.as_str(), move || {
            let (identity, boot) = (identity.clone(), boot.clone());
            let around = (air.clone(), faults.clone(), recorder.clone());
            live(identity, boot, seed, around, outside.clone())
        });
        self.names.lock().insert(self.sim.lookup(node.as_str()), node);
    }

    fn start(&mut self, node: &NodeId) {
        if !self.is_up(node) {
            self.sim.bounce(node.as_str());
        }
    }

    fn crash(&mut self, node: &NodeId) {
        // First what the test holds: a socket that outlives its turmoil host is never unbound.
        if let Some(outside) = self.nodes.get(node) {
            *outside.present.lock() = None;
        }
        self.sim.crash(node.as_str());
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|outside| outside.present.lock().is_some())
    }

    fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.nodes.get(node).map(|outside| outside.disk.clone())
    }

    fn handles(&self, node: &NodeId) -> Option<Disk> {
        self.nodes.get(node)?.present.lock().as_ref().map(|(_, handles)| handles.clone())
    }

    fn step(&mut self, _tick: Duration) -> Duration {
        if let Err(error) = self.sim.step() {
            tracing::error!(%error, "a simulated host ended");
        }
        self.sim.elapsed()
    }

    fn live(&mut self, node: &NodeId, life: fault::Life) {
        if let Some(outside) = self.nodes.get(node) {
            outside.former_wire.store(life.former_wire, Ordering::Relaxed);
        }
    }

    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()> {
        let present = self.nodes.get(node)?.present.lock();
        present.as_ref()?.0.send(task).ok()
    }
}

/// One life of a node, on its turmoil host.
#[allow(clippy::disallowed_methods, reason = "the harness starts what a test asks for")]
async fn live(
    identity: PeerIdentity,
    boot: Boot,
    seed: u64,
    (air, faults, recorder): (Air, Faults, Recorder),
    outside: Outside,
) -> turmoil::Result {
    let incarnation = Incarnation(outside.lives.fetch_add(1, Ordering::Relaxed) + 1);
    let node = identity.node.clone();
    let (socket, runtime) = bind(address_of(&node), air).await?;
    let (transport, events) = Quic::start(QuicConfig {
        credentials: credentials(&identity, EPOCH)?,
        incarnation,
        versions: if outside.former_wire.load(Ordering::Relaxed) { FORMER } else { PRESENT },
        socket,
        runtime,
        host: Arc::new(SeededHost { seed: seed ^ incarnation.0 << 32, draws: AtomicU64::new(0) }),
        admission: None,
        mtu_discovery: false,
    })?;
    let (jobs, mut work) = mpsc::unbounded_channel();
    let handles = Disk::default();
    *outside.present.lock() = Some((jobs, handles.clone()));
    let time = Time::of_runtime(turmoil::sim_elapsed().unwrap_or_default());
    let seed = seed.wrapping_add(incarnation.0);
    let machine = SimWorld::new(seed, time, node, faults.clone(), recorder);
    let env = Env::new(machine);
    let (disk, drive) = (outside.disk.clone(), outside.disk.drive(&identity.node, &faults));
    let context = NodeContext {
        env,
        transport,
        events,
        incarnation,
        disk,
        drive,
        faults,
        handles,
        address_of,
    };
    boot(context).await;
    while let Some(job) = work.recv().await {
        tokio::spawn(job);
    }
    Ok(())
}

fn address_of(node: &NodeId) -> SocketAddr {
    SocketAddr::new(turmoil::lookup(node.as_str()), PORT)
}

/// Certificates, valid from this time, of a CA that every cloud of a world has: its key is no secret.
pub(super) fn credentials(
    identity: &PeerIdentity,
    from: UnixMicros,
) -> Result<Credentials, Box<dyn std::error::Error>> {
    let validity = Validity::starting(from.secs(), CERTIFICATES_LAST);
    let ca = CloudCa::create("simulated", NodeKey::from_seed(&[1; 32])?, validity)?;
    let mut seed = [2; 32];
    for (byte, letter) in seed.iter_mut().zip(identity.node.as_str().bytes()) {
        *byte = letter;
    }
    let key = NodeKey::from_seed(&seed)?;
    let certificate = ca.issue(identity, &key.public(), validity)?;
    Ok(Credentials::new(certificate, key, vec![ca.certificate().clone()])?)
}

/// A host whose entropy follows from a seed and whose clock is the simulation's.
struct SeededHost {
    seed: u64,
    draws: AtomicU64,
}

impl Host for SeededHost {
    #[allow(clippy::disallowed_methods, reason = "the simulated door opens on the host's runtime")]
    fn spawn(&self, _name: &'static str, task: Task) {
        tokio::spawn(task);
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.draws.fetch_add(1, Ordering::Relaxed));
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        seed
    }

    fn unix_secs(&self) -> u64 {
        EPOCH.plus(turmoil::sim_elapsed().unwrap_or_default()).secs()
    }
}
