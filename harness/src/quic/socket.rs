//! quinn's socket and runtime, over whatever carries datagrams.
#![allow(clippy::disallowed_methods, reason = "this is a world, not something in one")]

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quinn::{
    AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::time::Sleep;

use super::{Air, Copy, Damage, Datagram};
use crate::world::{Alarm, Alarms};

/// The line from a socket into a simulated network. It never pushes back.
pub(crate) trait Line: Send + Sync + 'static {
    /// Simulated time since the start.
    fn now(&self) -> Duration;
    /// Has a datagram set out once it has been held back for so long. One that nobody listens for is lost.
    fn emit(&self, to: SocketAddr, bytes: Vec<u8>, held: Duration);
    /// Takes what has arrived, or says that it would block.
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    /// Waits for something to take.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// quinn's socket at the end of a line.
pub(crate) struct SimUdp<L> {
    pub(crate) line: Arc<L>,
    pub(crate) address: SocketAddr,
    pub(crate) air: Air,
}

impl<L: Line> SimUdp<L> {
    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram { at: self.line.now(), from: self.address, to, bytes };
        for Copy { held, damage } in self.air.decide(&datagram) {
            self.line.emit(to, damaged(bytes, damage), held);
        }
    }

    /// Takes what has arrived, as far as there are buffers.
    fn take(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let mut taken = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta) {
            let (len, from) = match self.line.try_recv(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..len];
            self.air.received(&Datagram { at: self.line.now(), from, to: self.address, bytes });
            *meta = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            taken += 1;
        }
        Ok(taken)
    }
}

fn damaged(bytes: &[u8], damage: Option<Damage>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match damage {
        Some(Damage::FlippedBit(bit)) => {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Some(Damage::CutTo(left)) => bytes.truncate(left),
        None => {}
    }
    bytes
}

impl<L: Line> AsyncUdpSocket for SimUdp<L> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment_bytes = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for segment in transmit.contents.chunks(segment_bytes) {
            self.send(transmit.destination, segment);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.line.poll_readable(cx))?;
            let taken = self.take(bufs, meta)?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl<L> fmt::Debug for SimUdp<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimUdp({})", self.address)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// quinn's timers and tasks on the runtime of a simulated host, whose turn comes when one of the timers goes off.
pub(crate) struct SimRuntime<L> {
    pub(crate) line: Arc<L>,
    pub(crate) alarms: Alarms,
}

impl<L: Line> Runtime for SimRuntime<L> {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let sleep = Box::pin(tokio::time::sleep_until(at.into()));
        let line = Arc::clone(&self.line);
        let alarm = self.alarms.set(since_start(&*line, at));
        Box::pin(Timer { sleep, alarm, line })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(future);
    }

    fn wrap_udp_socket(&self, _socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a simulation has no real sockets"))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl<L> fmt::Debug for SimRuntime<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimRuntime")
    }
}

/// A time of the runtime that calls, since the start of the simulation.
fn since_start(line: &impl Line, at: Instant) -> Duration {
    let now = tokio::time::Instant::now().into_std();
    line.now().saturating_add(at.saturating_duration_since(now))
}

struct Timer<L> {
    sleep: Pin<Box<Sleep>>,
    alarm: Alarm,
    line: Arc<L>,
}

impl<L: Line> AsyncTimer for Timer<L> {
    fn reset(self: Pin<&mut Self>, at: Instant) {
        let timer = self.get_mut();
        timer.alarm.reset(since_start(&*timer.line, at));
        timer.sleep.as_mut().reset(at.into());
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.get_mut().sleep.as_mut(), cx)
    }
}

impl<L> fmt::Debug for Timer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.sleep).finish()
    }
}
