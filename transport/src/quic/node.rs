//! What all tasks of one link share.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quinn::{ClientConfig, ConnectionError, Endpoint, TransportConfig};
use tokio::sync::mpsc;

use super::{
    QuicConfig, QuicError, accept, bodies,
    clock::Clock,
    config, keeper,
    peer::Peer,
    queue::Rejected,
    refusals::Refusals,
    words::{self, Close, REVOKED},
};
use crate::{
    body::{Label, Outgoing},
    counts::{Counts, Refused, Tally},
    host::Host,
    id::{Incarnation, NodeId, PeerIdentity},
    join::Admission,
    key::PublicKey,
    link::{EVENTS_MAX, Event, LinkError},
    tls::{Beliefs, Credentials, Crypto},
    wire::{Class, Frame, Hello, WireVersions},
};

/// Peers of one node: more than any cloud has, so that a bug that makes names up is noticed.
const PEERS_MAX: usize = 16_384;
/// Keys revoked at once: four for each peer that a node may have. A key may be left out again when its last
/// certificate has expired.
pub(super) const REVOKED_MAX: usize = 65_536;
/// How long closing waits for what is queued.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How long closing waits for the peers to hear of it.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Node {
    local: PeerIdentity,
    incarnation: Incarnation,
    versions: WireVersions,
    pub(super) host: Arc<dyn Host>,
    pub(super) clock: Clock,
    crypto: Crypto,
    beliefs: Beliefs,
    pub(super) tally: Arc<Tally>,
    pub(super) admission: Option<Arc<dyn Admission>>,
    transport: Arc<TransportConfig>,
    endpoint: Endpoint,
    dialling: Mutex<ClientConfig>,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// `None` once the link closes.
    running: Mutex<Option<Running>>,
    closing: AtomicBool,
    refusals: Refusals,
}

struct Running {
    events: mpsc::Sender<Event>,
    /// Held by each keeper; the receiver ends when the last one has.
    alive: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

impl Node {
    pub(super) fn start(
        config: QuicConfig,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Event>), QuicError> {
        let QuicConfig {
            credentials,
            incarnation,
            versions,
            socket,
            runtime,
            host,
            admission,
            mtu_discovery,
        } = config;
        let crypto = Crypto::new(&host);
        let tally = Arc::<Tally>::default();
        let beliefs = Beliefs::new(Arc::clone(&tally));
        let transport = Arc::new(config::transport(mtu_discovery));
        let server = config::server(
            &host,
            &credentials,
            &crypto,
            &beliefs,
            Arc::clone(&transport),
            admission.is_some(),
        )?;
        let dialling =
            config::client(&host, &credentials, &crypto, &beliefs, Arc::clone(&transport))?;
        let endpoint = Endpoint::new_with_abstract_socket(
            config::endpoint(&host, credentials.key()),
            Some(server),
            socket,
            Arc::clone(&runtime),
        )
        .map_err(QuicError::Socket)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (alive, ended) = mpsc::channel(1);
        let node = Arc::new(Self {
            local: credentials.identity().clone(),
            incarnation,
            versions,
            clock: Clock::new(runtime),
            host,
            crypto,
            beliefs,
            tally,
            admission,
            transport,
            endpoint,
            dialling: Mutex::new(dialling),
            peers: Mutex::default(),
            running: Mutex::new(Some(Running { events, alive, ended })),
            closing: AtomicBool::new(false),
            refusals: Refusals::default(),
        });
        let accepting = accept::run(Arc::clone(&node), node.endpoint.clone());
        node.host.spawn("quic accept", Box::pin(accepting));
        Ok((node, receiver))
    }

    pub(super) fn local(&self) -> &PeerIdentity {
        &self.local
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn dialling(&self) -> ClientConfig {
        self.dialling.lock().clone()
    }

    pub(super) fn versions(&self) -> WireVersions {
        self.versions
    }

    /// What this node says of itself when a connection opens.
    pub(super) fn hello(&self) -> Hello {
        let (versions, incarnation) = (self.versions, self.incarnation);
        Hello { versions, node: self.local.node.clone(), incarnation }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn renew(&self, credentials: &Credentials) -> Result<(), QuicError> {
        if *credentials.identity() != self.local {
            return Err(QuicError::OtherNode(credentials.identity().node.clone()));
        }
        let transport = || Arc::clone(&self.transport);
        let joins = self.admission.is_some();
        let (host, crypto, beliefs) = (&self.host, &self.crypto, &self.beliefs);
        let server = config::server(host, credentials, crypto, beliefs, transport(), joins)?;
        let dialling = config::client(host, credentials, crypto, beliefs, transport())?;
        self.endpoint.set_server_config(Some(server));
        *self.dialling.lock() = dialling;
        Ok(())
    }

    pub(super) fn revoke(&self, keys: &BTreeSet<PublicKey>) -> Result<(), QuicError> {
        if keys.len() > REVOKED_MAX {
            return Err(QuicError::TooManyRevoked(keys.len()));
        }
        // First for the handshakes to come: a keeper asks again once its connection is known to stand.
        self.beliefs.revoke(keys);
        let peers: Vec<Arc<Peer>> = self.peers.lock().values().map(Arc::clone).collect();
        for peer in peers {
            let standing = peer.standing().filter(|standing| keys.contains(standing.key()));
            if standing.is_some_and(|standing| standing.strike()) {
                self.tally.refused(Refused::Revoked);
                self.log_refusal(&format!("node {}", peer.id()), REVOKED);
            }
        }
        Ok(())
    }

    /// Whether certificates of this key are no longer believed.
    pub(super) fn has_revoked(&self, key: &PublicKey) -> bool {
        self.beliefs.has_revoked(key)
    }

    pub(super) fn learn(self: &Arc<Self>, peer: &NodeId, address: SocketAddr) {
        if let Ok(peer) = self.peer(peer) {
            peer.learn(address);
        }
    }

    pub(super) fn send(
        self: &Arc<Self>,
        to: &NodeId,
        class: Class,
        frame: Frame,
        bytes: usize,
    ) -> Result<(), LinkError> {
        if *to == self.local.node {
            return self.send_to_itself(frame);
        }
        let peer = self.peers.lock().get(to).cloned();
        let peer = peer.filter(|peer| peer.address().is_some());
        let Some(peer) = peer else {
            return Err(if self.is_closing() {
                LinkError::Closing
            } else {
                LinkError::NoRoute(to.clone())
            });
        };
        peer.push(class, frame, bytes, self.clock.now()).map_err(|rejected| match rejected {
            Rejected::Full => {
                self.tally.turned_away(class);
                LinkError::Busy(to.clone())
            }
            Rejected::Finished => LinkError::Closing,
        })
    }

    pub(super) fn open_body(
        self: &Arc<Self>,
        to: &NodeId,
        label: Label,
    ) -> Result<Outgoing, LinkError> {
        if *to == self.local.node {
            let (outgoing, body) = bodies::to_itself();
            self.tell_itself(Event::Body { peer: self.local.clone(), label, body })?;
            return Ok(outgoing);
        }
        let peer = self.peers.lock().get(to).cloned();
        let standing = peer.and_then(|peer| peer.standing());
        let standing = standing.ok_or_else(|| LinkError::NotConnected(to.clone()))?;
        bodies::open(self, &standing, to, label)
    }

    fn send_to_itself(&self, frame: Frame) -> Result<(), LinkError> {
        self.tell_itself(Event::Frame { peer: self.local.clone(), frame })
    }

    fn tell_itself(&self, event: Event) -> Result<(), LinkError> {
        let running = self.running.lock();
        let Running { events, .. } = running.as_ref().ok_or(LinkError::Closing)?;
        events.try_send(event).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LinkError::Busy(self.local.node.clone()),
            mpsc::error::TrySendError::Closed(_) => LinkError::Closing,
        })
    }

    /// The peer of this name; a new one, with its keeper, if it was not known.
    pub(super) fn peer(self: &Arc<Self>, id: &NodeId) -> Result<Arc<Peer>, LinkError> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get(id) {
            return Ok(Arc::clone(peer));
        }
        let running = self.running.lock();
        let Running { events, alive, .. } = running.as_ref().ok_or(LinkError::Closing)?;
        if *id == self.local.node || peers.len() >= PEERS_MAX {
            return Err(LinkError::NoRoute(id.clone()));
        }
        let peer = Arc::new(Peer::new(id.clone()));
        peers.insert(id.clone(), Arc::clone(&peer));
        let keeping =
            keeper::run(Arc::clone(self), Arc::clone(&peer), events.clone(), alive.clone());
        self.host.spawn("quic peer", Box::pin(keeping));
        Ok(peer)
    }

    pub(super) fn close(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        let Some(Running { alive, mut ended, .. }) = self.running.lock().take() else { return };
        drop(alive);
        for peer in self.peers.lock().values() {
            peer.finish();
        }
        let node = Arc::clone(self);
        self.host.spawn(
            "quic close",
            Box::pin(async move {
                // Keepers end when their connections have drained.
                node.clock.within(DRAIN_MAX, ended.recv()).await;
                node.endpoint.close(Close::GoingAway.code(), b"this node is going away");
                node.clock.within(FAREWELL_MAX, node.endpoint.wait_idle()).await;
            }),
        );
    }

    /// Counts that this side refuses somebody; returns why, in words.
    pub(super) fn refused(&self, reason: Refused, why: impl Into<String>) -> String {
        self.tally.refused(reason);
        why.into()
    }

    /// Why a handshake failed, in words; counted if this side refuses.
    pub(super) fn not_met(&self, error: &ConnectionError) -> String {
        if let Some(reason) = words::refused_in_handshake(error) {
            self.tally.refused(reason);
        }
        words::of(error)
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.tally.counts();
        for peer in self.peers.lock().values() {
            if let Some(standing) = peer.standing() {
                counts.up += 1;
                *counts.speaking.entry(standing.version()).or_default() += 1;
            }
            for (class, of_class) in &mut counts.classes {
                let stock = peer.queue(*class).stock();
                of_class.waiting_frames += stock.frames as u64;
                of_class.waiting_bytes += stock.bytes as u64;
                of_class.dropped_frames += stock.dropped as u64;
            }
        }
        counts
    }

    /// Logs a refusal, unless the same was the last one of this peer. Who meets a node that ends is no news.
    pub(super) fn log_refusal(&self, who: &str, why: &str) {
        if self.is_closing() {
            return tracing::debug!(node = %self.local.node, "no connection with {who}: {why}");
        }
        if self.refusals.is_news(who, why) {
            tracing::warn!(node = %self.local.node, "no connection with {who}: {why}");
        }
    }

    /// Forgets a peer's refusals: it was accepted.
    pub(super) fn forget_refusal(&self, who: &str) {
        self.refusals.forget(who);
    }
}
