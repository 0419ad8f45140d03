//! Simulated TCP between the nodes of a world, for what they serve beside their transport.
//!
//! Owns the streams and listeners of all nodes. A stream is in order and loses nothing by itself; the faults of links meet
//! its segments as they meet datagrams. What is lost or damaged is sent again after a while, so that loss is delay, a cut
//! is silence for as long as it lasts, and a stream that is not heard of for [`GIVES_UP_AFTER`] ends. A node that crashes
//! says nothing; who sends to its next life is told that there is no such stream. Not simulated are congestion and what a
//! window has to do with it.

mod state;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use updraft_transport::NodeId;

pub use state::GIVES_UP_AFTER;
use state::{End, State};

use crate::{fault::Faults, world::Network};

/// The streams of a world; clones are the same.
#[derive(Clone)]
pub(crate) struct Streams {
    state: Arc<Mutex<State>>,
}

impl Streams {
    pub(crate) fn new(network: Network, faults: Faults) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(network, faults))) }
    }

    /// A life of a node begins, which is found at this address.
    pub(crate) fn join(&self, node: &NodeId, address: SocketAddr) {
        self.state.lock().join(node, address);
    }

    /// A life of a node has ended.
    pub(crate) fn leave(&self, node: &NodeId) {
        self.state.lock().leave(node);
    }

    pub(crate) fn advance(&self, now: Duration) {
        self.state.lock().advance(now);
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.state.lock().next_due()
    }

    pub(crate) fn of(&self, node: &NodeId) -> Tcp {
        Tcp { state: Arc::clone(&self.state), node: node.clone() }
    }
}

/// The TCP of a node; cheap to clone.
#[derive(Clone)]
pub struct Tcp {
    state: Arc<Mutex<State>>,
    node: NodeId,
}

impl Tcp {
    /// Listens on a port of this node until it is dropped or the node crashes.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if somebody does.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let address = self.state.lock().listen(&self.node, port)?;
        Ok(TcpListener { tcp: self.clone(), port, address })
    }

    /// A stream to a port of a node.
    ///
    /// # Errors
    /// If nobody listens there, or nothing is heard of the node for [`GIVES_UP_AFTER`].
    pub async fn connect(&self, node: &NodeId, port: u16) -> io::Result<TcpStream> {
        let end = self.state.lock().dial(&self.node, node, port)?;
        let stream = TcpStream { state: Arc::clone(&self.state), end };
        poll_fn(|cx| self.state.lock().poll_stands(end, cx)).await?;
        Ok(stream)
    }
}

/// Takes streams on a port.
pub struct TcpListener {
    tcp: Tcp,
    port: u16,
    address: SocketAddr,
}

impl TcpListener {
    /// The next stream, and who dialled.
    ///
    /// # Errors
    /// If the node has crashed.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Tcp { state, node } = &self.tcp;
        let accepted = poll_fn(|cx| state.lock().poll_accept(node, self.port, cx)).await;
        let (end, dialler) = accepted?;
        Ok((TcpStream { state: Arc::clone(state), end }, dialler))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.tcp.state.lock().listen_no_more(&self.tcp.node, self.port);
    }
}

/// One end of a stream. Dropped, it is closed.
pub struct TcpStream {
    state: Arc<Mutex<State>>,
    end: End,
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.state.lock().poll_read(self.end, cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state.lock().poll_write(self.end, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.lock().finish(self.end);
        Poll::Ready(Ok(()))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.state.lock().close(self.end);
    }
}
