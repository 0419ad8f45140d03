//! What guests are told about themselves at 169.254.169.254.
//!
//! Each network with a DHCP server has a listener of its own, in that server's namespace. Who asks is found
//! by network and source address alone, among the leases that the agent was told of; no header is believed.
//! What there is to know comes from a conductor, per request, and is never kept.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use updraft_protocol::{
    compute::{Conductor, GetMetadata, ServerMetadata},
    network::DHCP,
};
use updraft_runtime::{
    Env,
    rpc::{CallError, Cx, FaultKind, Rpc, TraceContext},
};
use uuid::Uuid;

mod content;
mod leases;
mod serve;
mod transport;
mod tree;

pub(super) use leases::Leases;
pub use transport::{Connection, MemoryMetadata, MetadataListener, MetadataTransport};

use leases::Guest;

/// Where guests find it.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The port at which guests find it.
pub const METADATA_PORT: u16 = 80;

/// How long the conductor may take: guests ask again after some ten seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// How metadata reaches guests.
#[derive(Clone)]
pub struct MetadataConfig {
    /// Gives a listener for each network.
    pub transport: Arc<dyn MetadataTransport>,
}

impl MetadataConfig {
    /// Metadata by way of this transport.
    pub fn new(transport: impl MetadataTransport) -> Self {
        Self { transport: Arc::new(transport) }
    }
}

impl fmt::Debug for MetadataConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataConfig").finish_non_exhaustive()
    }
}

/// A network's listener.
struct Open {
    namespace: u64,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

struct Shared {
    env: Env,
    rpc: Rpc,
    config: MetadataConfig,
    leases: Leases,
    open: Mutex<BTreeMap<Uuid, Open>>,
}

/// The metadata service of one host; clones are the same one.
#[derive(Clone)]
pub(super) struct Metadata {
    shared: Arc<Shared>,
}

/// Why a guest gets no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Nobody known has this address, or there is nothing to know about them.
    Unknown,
    /// It may work later.
    Unavailable,
}

impl Metadata {
    /// A service that listens nowhere yet.
    pub(super) fn new(env: &Env, rpc: &Rpc, config: MetadataConfig, leases: Leases) -> Self {
        let (env, rpc) = (env.clone(), rpc.clone());
        let shared = Shared { env, rpc, config, leases, open: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Listens for the network's guests in this making of its namespace. Only one caller per network at once.
    pub(super) async fn open(&self, network: Uuid, namespace: u64) -> io::Result<()> {
        let listens = |open: &Open| open.namespace == namespace && !open.stop.is_closed();
        if self.shared.open.lock().get(&network).is_some_and(listens) {
            return Ok(());
        }
        self.close(network).await;
        let listener = self.shared.config.transport.listen(network).await?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let server = serve::Server::new(self.clone(), network);
        self.shared.env.spawn("metadata", async move {
            server.run(listener, stopped).await;
            // Whoever would hear of it may be gone with the node.
            let _ = end.send(());
        });
        self.shared.open.lock().insert(network, Open { namespace, stop, ended });
        Ok(())
    }

    /// Listens for the network's guests no longer; nothing is left in its namespace.
    pub(super) async fn close(&self, network: Uuid) {
        let open = self.shared.open.lock().remove(&network);
        if let Some(Open { stop, ended, .. }) = open {
            stop.send_replace(true);
            // An error says that the task is gone, which is what was wanted.
            let _ = ended.await;
        }
    }

    /// Listens for nobody any longer.
    pub(super) async fn close_all(&self) {
        let networks: Vec<Uuid> = self.shared.open.lock().keys().copied().collect();
        for network in networks {
            self.close(network).await;
        }
    }

    /// Whether the network's guests are listened for.
    pub(super) fn listens(&self, network: Uuid) -> bool {
        self.shared.open.lock().get(&network).is_some_and(|open| !open.stop.is_closed())
    }

    /// Who has this address on this network, and what they may know.
    async fn about(
        &self,
        network: Uuid,
        source: IpAddr,
    ) -> Result<(Guest, ServerMetadata), Unanswered> {
        let guest = self.shared.leases.guest(network, source).ok_or(Unanswered::Unknown)?;
        let cx = Cx::new(DHCP, TraceContext::default()).within(&self.shared.env, CALL_DEADLINE);
        let question = GetMetadata { server: guest.server };
        match self.shared.rpc.client::<Conductor>().call(&question, &cx).await {
            Ok(metadata) if metadata.server == guest.server => Ok((guest, metadata)),
            Ok(metadata) => {
                let (asked, answered) = (guest.server, metadata.server);
                tracing::error!(%asked, %answered, "a conductor answered about another server");
                Err(Unanswered::Unavailable)
            }
            Err(CallError::Rejected(fault)) if fault.kind == FaultKind::NotFound => {
                Err(Unanswered::Unknown)
            }
            Err(error) => {
                tracing::warn!(server = %guest.server, %error, "no metadata");
                Err(Unanswered::Unavailable)
            }
        }
    }
}
