//! Nodes for tests: each on a runtime of its own, so that dropping it is a crash.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use rand::RngCore;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc::Receiver,
    time::timeout,
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, LinkError, NodeId, PeerIdentity, Transport,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    join::Admission,
    key::NodeKey,
    quic::{Quic, QuicConfig, udp},
    tls::Credentials,
    wire::WireVersions,
};

/// The date of every test, unless it says otherwise.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Far longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Any free port of the loopback interface.
pub(crate) const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The machine, with a clock that a test can set.
pub(crate) struct TestHost {
    pub(crate) handle: Handle,
    pub(crate) unix_secs: AtomicU64,
}

impl Host for TestHost {
    fn spawn(&self, _name: &'static str, task: Task) {
        self.handle.spawn(task);
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        seed
    }

    fn unix_secs(&self) -> u64 {
        self.unix_secs.load(Ordering::Relaxed)
    }
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn ca(seed: u8) -> CloudCa {
    let key = NodeKey::from_seed(&[seed; 32]).unwrap();
    CloudCa::create("test", key, Validity::starting(NOW, 365 * DAY)).unwrap()
}

/// The key of the node of this name.
pub(crate) fn key(name: &str) -> NodeKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    NodeKey::from_seed(&seed).unwrap()
}

/// Credentials of a host, valid for a day, that believes these authorities.
pub(crate) fn credentials(name: &str, issuer: &CloudCa, believed: &[&CloudCa]) -> Credentials {
    credentials_as("compute", name, issuer, believed)
}

/// The same of a node with this role.
fn credentials_as(role: &str, name: &str, issuer: &CloudCa, believed: &[&CloudCa]) -> Credentials {
    let key = key(name);
    let identity = PeerIdentity::new(id(name), &[role]);
    let certificate = issuer.issue(&identity, &key.public(), Validity::starting(NOW, DAY)).unwrap();
    let authorities = believed.iter().map(|ca| ca.certificate().clone()).collect();
    Credentials::new(certificate, key, authorities).unwrap()
}

/// How to start a node; the defaults suit most tests.
pub(crate) struct Plan {
    pub(crate) credentials: Credentials,
    pub(crate) incarnation: u64,
    pub(crate) address: SocketAddr,
    pub(crate) versions: WireVersions,
    pub(crate) unix_secs: u64,
    pub(crate) admission: Option<Arc<dyn Admission>>,
}

impl Plan {
    pub(crate) fn new(name: &str) -> Self {
        let ca = ca(1);
        Self::with(credentials(name, &ca, &[&ca]))
    }

    /// A control node that lets machines join as this says.
    pub(crate) fn control(name: &str, admission: Arc<dyn Admission>) -> Self {
        let ca = ca(1);
        let credentials = credentials_as("control", name, &ca, &[&ca]);
        Self { admission: Some(admission), ..Self::with(credentials) }
    }

    pub(crate) fn with(credentials: Credentials) -> Self {
        Self {
            credentials,
            incarnation: 1,
            address: LOCALHOST,
            versions: WireVersions::SUPPORTED,
            unix_secs: NOW,
            admission: None,
        }
    }

    pub(crate) fn start(self) -> Node {
        self.start_with(|timers| timers)
    }

    /// Starts it with other timers than the machine's.
    pub(crate) fn start_with(
        self,
        timers_of: impl FnOnce(Arc<dyn quinn::Runtime>) -> Arc<dyn quinn::Runtime>,
    ) -> Node {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let host = Arc::new(TestHost {
            handle: runtime.handle().clone(),
            unix_secs: AtomicU64::new(self.unix_secs),
        });
        let _entered = runtime.enter();
        let (socket, timers) = udp::bind(self.address).unwrap();
        let config = QuicConfig {
            credentials: self.credentials,
            incarnation: Incarnation(self.incarnation),
            versions: self.versions,
            socket,
            runtime: timers_of(timers),
            host: host.clone(),
            admission: self.admission,
            mtu_discovery: true,
        };
        let (link, events) = Quic::start(config).unwrap();
        let address = link.local_addr().unwrap();
        drop(_entered);
        Node { runtime: Some(runtime), link, events, address, host }
    }
}

/// A running node.
pub(crate) struct Node {
    runtime: Option<Runtime>,
    pub(crate) link: Arc<Quic>,
    pub(crate) events: Receiver<Event>,
    pub(crate) address: SocketAddr,
    pub(crate) host: Arc<TestHost>,
}

impl Node {
    pub(crate) fn name(&self) -> &str {
        self.link.local().node.as_str()
    }

    pub(crate) fn learn(&self, other: &Self) {
        self.link.learn(&other.link.local().node, other.address);
    }

    pub(crate) fn send(&self, to: &str, number: u64) {
        self.try_send(to, number).unwrap();
    }

    pub(crate) fn try_send(&self, to: &str, number: u64) -> Result<(), LinkError> {
        self.link.send(&id(to), Class::Calls, frame(number, 0))
    }

    /// Runs a future on the node's runtime.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// Begins something on the node's own runtime.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(work)
    }

    /// The next thing that happens; `None` after the link has closed.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let runtime = self.runtime.as_ref().unwrap();
        let events = &mut self.events;
        runtime
            .block_on(async { timeout(PATIENCE, events.recv()).await })
            .expect("nothing happened for a long time")
    }

    /// The next thing that happens, in words.
    pub(crate) fn heard(&mut self) -> String {
        match self.next() {
            Some(Event::Frame { peer, frame }) => format!("{} from {}", frame.header.id, peer.node),
            Some(Event::Body { peer, .. }) => format!("a body from {}", peer.node),
            Some(Event::Up { peer, incarnation }) => format!("up {} {}", peer.node, incarnation.0),
            Some(Event::Down { peer, reason }) => format!("down {peer}: {reason}"),
            None => "the end".to_owned(),
        }
    }

    /// Nothing has happened that was not asked for yet.
    pub(crate) fn is_quiet(&self) -> bool {
        self.events.is_empty()
    }

    /// Stops the node without a word to anybody.
    pub(crate) fn crash(mut self) -> SocketAddr {
        self.stop();
        self.address
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Two nodes, `a` knowing where `b` is.
pub(crate) fn pair() -> (Node, Node) {
    let (a, b) = (Plan::new("a").start(), Plan::new("b").start());
    a.learn(&b);
    (a, b)
}

/// Two nodes that are connected, `a` having dialled.
pub(crate) fn connected_pair() -> (Node, Node) {
    let (mut a, mut b) = pair();
    a.send("b", 0);
    assert_eq!(a.heard(), "up b 1");
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "0 from a");
    (a, b)
}

pub(crate) fn frame(number: u64, body_bytes: usize) -> Frame {
    let header = Header {
        kind: Kind::Reply,
        method: ByteString::new(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 0,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: vec![7; 3].into(),
    };
    // Bytes that differ from frame to frame and within one.
    let body: Vec<u8> = (0..body_bytes).map(|at| (at as u64 * 31 + number) as u8).collect();
    Frame { header, body: body.into() }
}

/// Every warning of this process so far.
static WARNINGS: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Sink(Arc::clone(&log));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .init();
    log
});

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to record warnings; call it before what shall be recorded.
pub(crate) fn record_warnings() {
    LazyLock::force(&WARNINGS);
}

/// The warnings of one node so far, each with how often it was logged.
pub(crate) fn warnings_of(node: &str) -> BTreeMap<String, usize> {
    let log = String::from_utf8(WARNINGS.lock().unwrap().clone()).unwrap();
    let mark = format!(" node={node}");
    let mut counted = BTreeMap::new();
    for line in log.lines().filter_map(|line| line.strip_suffix(&mark)) {
        let text = line.split_once("no connection with ").map_or(line, |(_, text)| text);
        *counted.entry(text.to_owned()).or_default() += 1;
    }
    counted
}

/// Waits until a node has logged a warning with these words.
pub(crate) fn wait_for_warning(node: &str, words: &str) -> String {
    let started = std::time::Instant::now();
    loop {
        let warnings = warnings_of(node);
        if let Some(found) = warnings.keys().find(|line| line.contains(words)) {
            return found.clone();
        }
        assert!(started.elapsed() < PATIENCE, "{node} logged only {warnings:?}");
        std::thread::yield_now();
    }
}
