//! Tier 2: frames over real QUIC and TLS, on simulated UDP.
//!
//! Owns the addresses of nodes, and what carries their datagrams: a wire of the world's own between sockets of
//! the world's own. It is not turmoil, though the transport by itself is tested on that. turmoil looks at every pair of
//! hosts in every millisecond, so that fifty hosts are its end; a rack of nodes on one of its hosts would be loopback to
//! it, without latency or faults, would crash as one, and could neither be paused nor slowed down by node. Every fault of
//! a datagram is decided by this side of the socket anyhow. So each node has a runtime of its own as on tier 1, has a turn
//! when something is due, and crashes by itself.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use updraft_runtime::env::UnixMicros;
use updraft_transport::{
    Class, Event, Frame, NodeId, PeerIdentity, Transport,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig},
    tls::Credentials,
    wire::{WireVersion, WireVersions},
};

use super::{
    EPOCH, Network,
    overheard::Ears,
    simulated::{Birth, Carrier, Unborn},
    turn::Clock,
};
use crate::{
    fault::Faults,
    quic::{
        Air, Copy, Datagram, SimRuntime, SimUdp, Watcher, Weather, told_as_received, told_as_sent,
    },
    record::{Recorder, What},
    tcp::{Streams, Tcp},
    wire::Wire,
};

/// The UDP port of every node.
const PORT: u16 = 7_000;

/// The network that nodes are numbered in, from 1 on.
const NET: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 0);

/// How long certificates last: longer than any run.
const CERTIFICATES_LAST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What nodes speak.
const PRESENT: WireVersions = WireVersions::SUPPORTED;

/// What those of the release before spoke.
const FORMER: WireVersions = WireVersions { min: PRESENT.min, max: WireVersion(PRESENT.max.0 - 1) };

/// Nodes over simulated UDP.
pub(super) struct OverQuic {
    wire: Wire,
    streams: Streams,
    air: Air,
    names: Names,
    recorder: Recorder,
}

/// Who has which address, in the order in which they were asked for; clones are the same.
#[derive(Clone, Default)]
struct Names {
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    nodes: BTreeMap<IpAddr, NodeId>,
    addresses: BTreeMap<NodeId, SocketAddr>,
}

impl Names {
    fn address_of(&self, node: &NodeId) -> SocketAddr {
        let mut known = self.known.lock();
        if let Some(address) = known.addresses.get(node) {
            return *address;
        }
        let number = u32::try_from(known.addresses.len()).unwrap_or(u32::MAX).saturating_add(1);
        let address = SocketAddr::from((Ipv4Addr::from_bits(NET.to_bits() + number), PORT));
        known.addresses.insert(node.clone(), address);
        known.nodes.insert(address.ip(), node.clone());
        address
    }
}

/// The faults of the world, as the weather of its datagrams.
struct Sky {
    names: Names,
    faults: Faults,
}

impl Weather for Sky {
    fn decide(&mut self, datagram: &Datagram<'_>) -> Vec<Copy> {
        let known = self.names.known.lock();
        let ends = [datagram.from, datagram.to].map(|end| known.nodes.get(&end.ip()));
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
    pub(super) fn new(network: &Network, faults: &Faults, recorder: &Recorder) -> Self {
        let names = Names::default();
        let sky = Sky { names: names.clone(), faults: faults.clone() };
        let air = Air::new(sky, Told(recorder.clone()));
        let streams = Streams::new(network.clone(), faults.clone());
        let (wire, recorder) = (Wire::new(network.clone()), recorder.clone());
        Self { wire, streams, air, names, recorder }
    }
}

impl Carrier for OverQuic {
    fn attach(&self, birth: Birth) -> Result<(Arc<dyn Transport>, mpsc::Receiver<Event>), Unborn> {
        let address = self.names.address_of(&birth.identity.node);
        self.streams.join(&birth.identity.node, address);
        let line = Arc::new(self.wire.bind(address));
        let runtime = SimRuntime { line: Arc::clone(&line), alarms: birth.alarms };
        let ears = Ears {
            node: birth.identity.node.clone(),
            clock: birth.clock.clone(),
            recorder: self.recorder.clone(),
        };
        let (seed, draws) = (birth.seed ^ birth.incarnation.0 << 32, AtomicU64::new(0));
        let (transport, events) = Quic::start(QuicConfig {
            credentials: credentials(&birth.identity, EPOCH)?,
            incarnation: birth.incarnation,
            versions: if birth.former_wire { FORMER } else { PRESENT },
            socket: Arc::new(SimUdp { line, address, air: self.air.clone() }),
            runtime: Arc::new(runtime),
            host: Arc::new(SeededHost { seed, draws, clock: birth.clock, ears: ears.clone() }),
            admission: None,
            mtu_discovery: false,
        })?;
        Ok((ears.at(transport), events))
    }

    fn detach(&self, node: &NodeId) {
        self.wire.unbind(self.names.address_of(node));
        self.streams.leave(node);
    }

    fn advance(&self, now: Duration) {
        self.wire.advance(now);
        self.streams.advance(now);
    }

    fn next_due(&self) -> Option<Duration> {
        self.wire.next_due().into_iter().chain(self.streams.next_due()).min()
    }

    fn address_of(&self) -> Arc<dyn Fn(&NodeId) -> SocketAddr + Send + Sync> {
        let names = self.names.clone();
        Arc::new(move |node| names.address_of(node))
    }

    fn tcp(&self, node: &NodeId) -> Option<Tcp> {
        Some(self.streams.of(node))
    }
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
    clock: Clock,
    ears: Ears,
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
        EPOCH.plus(self.clock.now()).secs()
    }

    fn heard(&self, from: &NodeId, class: Class, frame: &Frame) {
        self.ears.heard(from, class, frame);
    }
}
