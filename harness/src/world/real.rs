//! Tier 4 in one process: each node on a thread of its own, over real QUIC and TLS on loopback, in real time.
//!
//! Owns the threads, and who is cut off from whom. A crash drops a node's runtime with every task on it. Nothing here
//! follows from a seed: it shows that what was proven in a simulation runs on a machine.

use std::{
    collections::BTreeMap,
    fmt, io,
    io::IoSliceMut,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::sync::mpsc;
use updraft_runtime::{Env, env::BoxFuture};
use updraft_transport::{
    Incarnation, NodeId, PeerIdentity,
    quic::{Quic, QuicConfig, udp},
    wire::WireVersions,
};

use super::{
    Backend,
    node::{Boot, Disk, NodeContext, host_seed},
    quic::credentials,
};
use crate::fault::Faults;

/// The UDP port of every node; each has a loopback address of its own.
const PORT: u16 = 7_000;

type Jobs = mpsc::UnboundedSender<BoxFuture<'static, ()>>;

/// Who has which address.
type Names = Arc<Mutex<BTreeMap<SocketAddr, NodeId>>>;

struct Life {
    jobs: Jobs,
    handles: Disk,
    thread: JoinHandle<()>,
}

struct Member {
    identity: PeerIdentity,
    boot: Boot,
    disk: Disk,
    lives: AtomicU64,
    life: Option<Life>,
}

/// Nodes on this machine.
pub(super) struct Real {
    started: Instant,
    members: BTreeMap<NodeId, Member>,
    names: Names,
    faults: Faults,
}

impl Real {
    #[allow(clippy::disallowed_methods, reason = "this tier runs in real time")]
    pub(super) fn new(faults: Faults) -> Self {
        let (members, names) = (BTreeMap::new(), Names::default());
        Self { started: Instant::now(), members, names, faults }
    }
}

impl Backend for Real {
    fn add(&mut self, identity: PeerIdentity, boot: Boot) {
        let node = identity.node.clone();
        self.names.lock().insert(address_of(&node), node.clone());
        let (disk, lives) = (Disk::default(), AtomicU64::new(0));
        self.members.insert(node.clone(), Member { identity, boot, disk, lives, life: None });
        self.start(&node);
    }

    fn start(&mut self, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node).filter(|member| member.life.is_none()) {
            member.life = Some(member.begin(self.names.clone(), self.faults.clone()));
        }
    }

    fn crash(&mut self, node: &NodeId) {
        let life = self.members.get_mut(node).and_then(|member| member.life.take());
        if let Some(Life { jobs, handles, thread }) = life {
            drop((jobs, handles));
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|member| member.life.is_some())
    }

    fn disk(&self, node: &NodeId) -> Option<Disk> {
        self.members.get(node).map(|member| member.disk.clone())
    }

    fn handles(&self, node: &NodeId) -> Option<Disk> {
        self.members.get(node)?.life.as_ref().map(|life| life.handles.clone())
    }

    #[allow(clippy::disallowed_methods, reason = "this tier runs in real time")]
    fn step(&mut self, tick: Duration) -> Duration {
        std::thread::sleep(tick);
        self.started.elapsed()
    }

    fn spawn(&self, node: &NodeId, task: BoxFuture<'static, ()>) -> Option<()> {
        self.members.get(node)?.life.as_ref()?.jobs.send(task).ok()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let nodes: Vec<_> = self.members.keys().cloned().collect();
        for node in &nodes {
            self.crash(node);
        }
    }
}

impl Member {
    /// Starts a thread that is the node until its jobs end.
    #[allow(clippy::disallowed_methods, reason = "each node of this tier is a thread")]
    fn begin(&self, names: Names, faults: Faults) -> Life {
        let incarnation = Incarnation(self.lives.fetch_add(1, Ordering::Relaxed) + 1);
        let (jobs, work) = mpsc::unbounded_channel();
        let handles = Disk::default();
        let present = Present {
            identity: self.identity.clone(),
            boot: self.boot.clone(),
            disk: self.disk.clone(),
            handles: handles.clone(),
            incarnation,
            names,
            faults,
        };
        let thread = std::thread::spawn(move || {
            let node = present.identity.node.clone();
            if let Err(error) = present.live(work) {
                tracing::error!(%node, error, "a node did not start");
            }
        });
        Life { jobs, handles, thread }
    }
}

/// One life of a node.
struct Present {
    identity: PeerIdentity,
    boot: Boot,
    disk: Disk,
    handles: Disk,
    incarnation: Incarnation,
    names: Names,
    faults: Faults,
}

impl Present {
    #[allow(clippy::disallowed_methods, reason = "each node of this tier has a runtime of its own")]
    fn live(self, mut work: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async move {
            let boot = self.boot.clone();
            boot(self.context()?).await;
            while let Some(job) = work.recv().await {
                tokio::spawn(job);
            }
            Ok(())
        })
    }

    fn context(self) -> Result<NodeContext, String> {
        let Self { identity, disk, handles, incarnation, names, faults, .. } = self;
        let (env, address) = (Env::real(), address_of(&identity.node));
        let node = identity.node.clone();
        let (socket, runtime) =
            udp::bind(address).map_err(|error| format!("UDP {address}: {error}"))?;
        let quic = Quic::start(QuicConfig {
            credentials: credentials(&identity, env.wall()).map_err(|error| error.to_string())?,
            incarnation,
            versions: WireVersions::SUPPORTED,
            socket: Arc::new(Sieve { socket, node, names, faults: faults.clone() }),
            runtime,
            host: Arc::new(env.clone()),
            admission: None,
            mtu_discovery: true,
        });
        let (transport, events) = quic.map_err(|error| error.to_string())?;
        let drive = disk.drive(&identity.node, &faults);
        Ok(NodeContext {
            env,
            transport,
            events,
            incarnation,
            disk,
            drive,
            faults,
            handles,
            address_of: Arc::new(address_of),
            tcp: None,
        })
    }
}

/// A loopback address of its own for each node of each process.
fn address_of(node: &NodeId) -> SocketAddr {
    let [.., a, b, c] = host_seed(u64::from(std::process::id()), node.as_str()).to_be_bytes();
    // Neither the address of the network nor its broadcast, and not where others listen.
    SocketAddr::from((Ipv4Addr::new(127, a | 0x40, b, c.clamp(1, 254)), PORT))
}

/// A socket that loses what a fault of the world takes.
struct Sieve {
    socket: Arc<dyn AsyncUdpSocket>,
    node: NodeId,
    names: Names,
    faults: Faults,
}

impl Sieve {
    fn loses(&self, transmit: &Transmit<'_>) -> bool {
        let Some(to) = self.names.lock().get(&transmit.destination).cloned() else { return false };
        self.faults.carry(self.faults.now(), &self.node, &to, transmit.contents.len()).is_empty()
    }
}

impl AsyncUdpSocket for Sieve {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.loses(transmit) {
            // Lost on the way, as far as the sender knows.
            return Ok(());
        }
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl fmt::Debug for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sieve").field("node", &self.node).finish_non_exhaustive()
    }
}
