//! What carries metadata requests: one listener per network.
//!
//! A real one is bound inside the network's namespace (`driver::linux`); in a simulated world it is memory.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::mpsc,
};
use uuid::Uuid;

/// Bytes under way in each direction of a connection in memory; a TCP window's worth.
const MEMORY_BUFFER_BYTES: usize = 64 << 10;

/// How many connections in memory wait to be accepted; more are refused, as by a full backlog.
const MEMORY_BACKLOG: usize = 128;

/// A byte stream from one guest.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Accepts the connections of one network's guests. Dropping it ends the listening.
#[async_trait]
pub trait MetadataListener: Send {
    /// The next connection and the address it comes from, as the network itself says. Loses nothing when
    /// cancelled.
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, IpAddr)>;
}

/// Yields a listener per network.
#[async_trait]
pub trait MetadataTransport: Send + Sync + 'static {
    /// Listens where the guests of this network look. The network's namespace exists.
    async fn listen(&self, network: Uuid) -> io::Result<Box<dyn MetadataListener>>;
}

type Arrivals = mpsc::Sender<(DuplexStream, IpAddr)>;

/// Metadata connections in memory; clones are the same network of networks.
#[derive(Clone, Default)]
pub struct MemoryMetadata {
    networks: Arc<Mutex<BTreeMap<Uuid, Arrivals>>>,
}

impl MemoryMetadata {
    /// Connects as the guest that has this address on this network.
    pub fn connect(&self, network: Uuid, source: IpAddr) -> io::Result<DuplexStream> {
        let (guest, service) = tokio::io::duplex(MEMORY_BUFFER_BYTES);
        let networks = self.networks.lock();
        let arrivals = networks.get(&network).ok_or(io::ErrorKind::ConnectionRefused)?;
        arrivals.try_send((service, source)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(guest)
    }
}

#[async_trait]
impl MetadataTransport for MemoryMetadata {
    async fn listen(&self, network: Uuid) -> io::Result<Box<dyn MetadataListener>> {
        let (sender, receiver) = mpsc::channel(MEMORY_BACKLOG);
        let mut networks = self.networks.lock();
        if networks.get(&network).is_some_and(|arrivals| !arrivals.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        networks.insert(network, sender);
        Ok(Box::new(MemoryListener { receiver }))
    }
}

struct MemoryListener {
    receiver: mpsc::Receiver<(DuplexStream, IpAddr)>,
}

#[async_trait]
impl MetadataListener for MemoryListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, IpAddr)> {
        let (stream, source) = self.receiver.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok((Box::new(stream), source))
    }
}
