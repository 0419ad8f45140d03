//! A link of its own on a simulated host, without anything above it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use turmoil::Sim;
use updraft_harness::{
    quic::{Air, bind},
    world::EPOCH,
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, Transport,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig},
    tls::Credentials,
    wire::WireVersions,
};

/// The UDP port of every host.
const PORT: u16 = 7_000;

/// How long certificates last: longer than any run.
const CERTIFICATES_LAST: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// A frame that came.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) by: String,
    pub(super) from: String,
    pub(super) incarnation: u64,
}

/// All frames that came anywhere, in order.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<Said>>>);

impl Heard {
    /// What a node has heard.
    pub(super) fn by(&self, node: &str) -> Vec<Said> {
        self.0.lock().iter().filter(|said| said.by == node).cloned().collect()
    }
}

enum Order {
    Send(NodeId),
    Revoke(String),
}

/// Tells a node what to do.
pub(super) struct Orders(mpsc::UnboundedSender<Order>);

impl Orders {
    pub(super) fn send(&self, to: &str) {
        let to = NodeId::new(to).unwrap_or_else(|error| panic!("{error}"));
        let _ = self.0.send(Order::Send(to));
    }

    pub(super) fn revoke(&self, node: &str) {
        let _ = self.0.send(Order::Revoke(node.to_owned()));
    }
}

type Wrong = Box<dyn std::error::Error>;

fn key_of(node: &str) -> Result<NodeKey, Wrong> {
    let mut seed = [2; 32];
    for (byte, letter) in seed.iter_mut().zip(node.bytes()) {
        *byte = letter;
    }
    Ok(NodeKey::from_seed(&seed)?)
}

fn credentials(node: &str) -> Result<Credentials, Wrong> {
    let validity = Validity::starting(EPOCH.secs(), CERTIFICATES_LAST);
    let ca = CloudCa::create("simulated", NodeKey::from_seed(&[1; 32])?, validity)?;
    let key = key_of(node)?;
    let identity = PeerIdentity::new(NodeId::new(node)?, &["control"]);
    let certificate = ca.issue(&identity, &key.public(), validity)?;
    Ok(Credentials::new(certificate, key, vec![ca.certificate().clone()])?)
}

/// A host whose entropy follows from its name.
struct NamedHost {
    seed: u64,
    draws: AtomicU64,
}

impl Host for NamedHost {
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

/// Adds a host, the node on it, and which life of the node it is.
pub(super) fn add(
    sim: &mut Sim<'static>,
    air: &Air,
    (host, node, incarnation): (&'static str, &'static str, Incarnation),
    heard: &Heard,
) -> Orders {
    let (orders, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let (air, heard) = (air.clone(), heard.clone());
    sim.host(host, move || {
        let (air, heard, receiver) = (air.clone(), heard.clone(), receiver.clone());
        async move {
            let Some(orders) = receiver.lock().take() else { return Ok(()) };
            live(host, node, incarnation, air, heard, orders).await
        }
    });
    Orders(orders)
}

fn address_of(host: &str) -> SocketAddr {
    SocketAddr::new(turmoil::lookup(host), PORT)
}

async fn live(
    host: &'static str,
    node: &'static str,
    incarnation: Incarnation,
    air: Air,
    heard: Heard,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> turmoil::Result {
    let (socket, runtime) = bind(address_of(host), air).await?;
    let seed = host.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    let (link, mut events) = Quic::start(QuicConfig {
        credentials: credentials(node)?,
        incarnation,
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(NamedHost { seed, draws: AtomicU64::new(0) }),
        admission: None,
        mtu_discovery: false,
    })?;
    let hearer = NodeId::new("hearer")?;
    if node != "hearer" {
        link.learn(&hearer, address_of("hearer"));
    }
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(Event::Frame { peer, frame }) => heard.0.lock().push(Said {
                    by: node.to_owned(),
                    from: peer.node.to_string(),
                    incarnation: frame.header.incarnation.0,
                }),
                Some(_) => {}
                None => return Ok(()),
            },
            order = orders.recv() => match order {
                Some(Order::Send(to)) => {
                    let _ = link.send(&to, Class::Calls, frame(incarnation));
                }
                Some(Order::Revoke(node)) => {
                    link.revoke(&BTreeSet::from([key_of(&node)?.public()]))?;
                }
                None => return Ok(()),
            },
        }
    }
}

fn frame(incarnation: Incarnation) -> Frame {
    let header = Header {
        kind: Kind::Cast,
        method: "bugs/said".into(),
        id: 1,
        incarnation,
        deadline_ms: 1_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: Default::default(),
    };
    Frame { header, body: "said".into() }
}
