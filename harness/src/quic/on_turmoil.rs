//! Sockets in a simulation of turmoil's.
#![allow(clippy::disallowed_methods, reason = "this is a world, not something in one")]

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use quinn::{AsyncUdpSocket, Runtime};
use turmoil::net::UdpSocket;

use super::{Air, Line, SimRuntime, SimUdp};
use crate::world::Alarms;

/// A simulated socket at this address of the turmoil host that calls, and the runtime whose timers go with it.
pub async fn bind(
    address: SocketAddr,
    air: Air,
) -> io::Result<(Arc<dyn AsyncUdpSocket>, Arc<dyn Runtime>)> {
    let io = Arc::new(UdpSocket::bind(("0.0.0.0", address.port())).await?);
    let line = Arc::new(OnTurmoil { io, readable: Mutex::new(None) });
    let runtime = SimRuntime { line: Arc::clone(&line), alarms: Alarms::default() };
    // turmoil reports the unspecified address: quinn is given the host's own.
    Ok((Arc::new(SimUdp { line, address, air }), Arc::new(runtime)))
}

/// Waits for a socket to have something.
type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

struct OnTurmoil {
    io: Arc<UdpSocket>,
    readable: Mutex<Option<Readable>>,
}

impl Line for OnTurmoil {
    fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }

    fn emit(&self, to: SocketAddr, bytes: Vec<u8>, held: Duration) {
        if held.is_zero() {
            // A datagram that nobody listens for is a lost datagram, here and below.
            let _ = self.io.try_send_to(&bytes, to);
            return;
        }
        let io = Arc::clone(&self.io);
        tokio::spawn(async move {
            tokio::time::sleep(held).await;
            let _ = io.try_send_to(&bytes, to);
        });
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_recv_from(buffer)
    }

    /// A wait under way holds turmoil's lock on the socket, so nothing is taken before it has ended.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut readable = self.readable.lock();
        let waiting = readable.get_or_insert_with(|| {
            let io = Arc::clone(&self.io);
            Box::pin(async move { io.readable().await })
        });
        let result = ready!(waiting.as_mut().poll(cx));
        *readable = None;
        Poll::Ready(result)
    }
}
