//! Simulated UDP for QUIC: quinn's socket and runtime over turmoil.
//!
//! Owns what happens to each datagram between a node and the simulated network: a [`Weather`] loses,
//! doubles, delays and damages, and a [`Watcher`] sees everything. Time is turmoil's. turmoil itself
//! delivers in order of time, without bound on size and with the latency of its links; give its builder
//! a `udp_capacity` of thousands, because it drops what is over it without a word.
#![allow(clippy::disallowed_methods, reason = "this is a world, not something in one")]

use std::{
    fmt::{self, Write},
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use turmoil::net::UdpSocket;
use updraft_transport::{NodeId, id::InvalidNodeId};

pub use crate::fault::{Copy, Damage};
use crate::{
    fault::{Fault, Faults, LinkTrouble},
    world::Tier,
};

/// The largest datagram that an Ethernet link carries beneath IPv4 and UDP.
pub const ETHERNET_MTU_BYTES: u32 = 1472;

/// One datagram at one end of its way.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Simulated time since the start.
    pub at: Duration,
    /// Its sender.
    pub from: SocketAddr,
    /// Its receiver.
    pub to: SocketAddr,
    /// Its payload, encrypted as on a real wire.
    pub bytes: &'a [u8],
}

/// Decides what happens to each datagram. No copy is a loss, two are a duplicate.
pub trait Weather: Send {
    /// The copies that the network will carry.
    fn decide(&mut self, datagram: &Datagram<'_>) -> Vec<Copy>;
}

/// Sees every datagram at both ends.
pub trait Watcher: Send {
    /// It was sent, and this will happen to it.
    fn sent(&mut self, datagram: &Datagram<'_>, copies: &[Copy]);
    /// It has arrived.
    fn received(&mut self, datagram: &Datagram<'_>);
}

/// Weather that is the same between all hosts and at all times.
pub struct Everywhere(Faults);

impl Everywhere {
    /// All this trouble at once; no two of a kind. Everything that follows from chance follows from the seed.
    #[must_use]
    pub fn new(seed: u64, troubles: &[LinkTrouble]) -> Self {
        let faults = Faults::new(seed, Tier::Quic);
        for fault in troubles.iter().map(|trouble| Fault::everywhere(*trouble)) {
            faults.set(fault.kind(), Some(fault));
        }
        Self(faults)
    }
}

impl Weather for Everywhere {
    fn decide(&mut self, datagram: &Datagram<'_>) -> Vec<Copy> {
        let ends = [datagram.from, datagram.to].map(|end| named(end.ip()));
        let [Ok(from), Ok(to)] = ends else { return vec![Copy::default()] };
        self.0.carry(datagram.at, &from, &to, datagram.bytes.len())
    }
}

/// A host as a node: its address, in letters that a name may have.
fn named(host: IpAddr) -> Result<NodeId, InvalidNodeId> {
    NodeId::new(&host.to_string().replace(['.', ':'], "-"))
}

/// A watcher that writes everything down, a line for each end of each datagram.
#[derive(Clone, Default)]
pub struct DatagramLog {
    lines: Arc<Mutex<Vec<String>>>,
}

impl DatagramLog {
    /// The lines so far: time in microseconds, what happened, sender, receiver, length, and a hash of the
    /// bytes. Two runs of the same seed have the same.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    fn add(&self, datagram: &Datagram<'_>, words: &str) {
        self.lines.lock().push(format!("{:>10} {words}", datagram.at.as_micros()));
    }
}

impl Watcher for DatagramLog {
    fn sent(&mut self, datagram: &Datagram<'_>, copies: &[Copy]) {
        self.add(datagram, &told_as_sent(datagram, copies));
    }

    fn received(&mut self, datagram: &Datagram<'_>) {
        self.add(datagram, &told_as_received(datagram));
    }
}

/// What is told of a datagram that is sent: between whom, its size and hash, and what each copy meets.
pub(crate) fn told_as_sent(datagram: &Datagram<'_>, copies: &[Copy]) -> String {
    let mut words = told(if copies.is_empty() { "LOST" } else { "SEND" }, datagram);
    for Copy { held, damage } in copies {
        // Writing to a string cannot fail, here and below.
        let _ = write!(words, " +{}", held.as_micros());
        let _ = match damage {
            Some(Damage::FlippedBit(bit)) => write!(words, "!{bit}"),
            Some(Damage::CutTo(left)) => write!(words, "<{left}"),
            None => Ok(()),
        };
    }
    words
}

/// The same of one that has arrived.
pub(crate) fn told_as_received(datagram: &Datagram<'_>) -> String {
    told("RECV", datagram)
}

fn told(what: &str, Datagram { from, to, bytes, .. }: &Datagram<'_>) -> String {
    format!("{what} {from}>{to} {} {:016x}", bytes.len(), fingerprint(bytes))
}

/// FNV-1a: enough to tell two runs apart.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What all sockets of a simulation share; cheap to clone.
#[derive(Clone)]
pub struct Air {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    weather: Box<dyn Weather>,
    watcher: Box<dyn Watcher>,
}

impl Air {
    /// Air with this weather, seen by this watcher.
    #[must_use]
    pub fn new(weather: impl Weather + 'static, watcher: impl Watcher + 'static) -> Self {
        let shared = Shared { weather: Box::new(weather), watcher: Box::new(watcher) };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Changes the weather from now on.
    pub fn set_weather(&self, weather: impl Weather + 'static) {
        self.shared.lock().weather = Box::new(weather);
    }

    fn decide(&self, datagram: &Datagram<'_>) -> Vec<Copy> {
        let mut shared = self.shared.lock();
        let copies = shared.weather.decide(datagram);
        shared.watcher.sent(datagram, &copies);
        copies
    }

    fn received(&self, datagram: &Datagram<'_>) {
        self.shared.lock().watcher.received(datagram);
    }
}

/// A simulated socket at this address of the host that calls, and the runtime whose timers go with it.
pub async fn bind(
    address: SocketAddr,
    air: Air,
) -> io::Result<(Arc<dyn AsyncUdpSocket>, Arc<dyn Runtime>)> {
    let io = Arc::new(UdpSocket::bind(("0.0.0.0", address.port())).await?);
    let readable = Mutex::new(None);
    Ok((Arc::new(SimUdp { io, address, air, readable }), Arc::new(SimRuntime)))
}

/// Waits for a socket to have something.
type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// quinn's socket over turmoil's.
struct SimUdp {
    io: Arc<UdpSocket>,
    /// The host's own address: turmoil reports the unspecified one.
    address: SocketAddr,
    air: Air,
    readable: Mutex<Option<Readable>>,
}

impl SimUdp {
    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram { at: now(), from: self.address, to, bytes };
        for Copy { held, damage } in self.air.decide(&datagram) {
            let bytes = damaged(bytes, damage);
            if held.is_zero() {
                emit(&self.io, to, &bytes);
            } else {
                let io = Arc::clone(&self.io);
                tokio::spawn(async move {
                    tokio::time::sleep(held).await;
                    emit(&io, to, &bytes);
                });
            }
        }
    }

    /// Takes what has arrived, as far as there are buffers.
    fn take(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let mut taken = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta) {
            let (len, from) = match self.io.try_recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..len];
            self.air.received(&Datagram { at: now(), from, to: self.address, bytes });
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

/// A datagram that nobody listens for is a lost datagram.
fn emit(io: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let _ = io.try_send_to(bytes, to);
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl AsyncUdpSocket for SimUdp {
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
        let mut readable = self.readable.lock();
        loop {
            // A wait under way holds turmoil's lock on the socket, so it is ended first.
            if let Some(waiting) = readable.as_mut() {
                std::task::ready!(waiting.as_mut().poll(cx))?;
                *readable = None;
            }
            let taken = self.take(bufs, meta)?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            let io = Arc::clone(&self.io);
            *readable = Some(Box::pin(async move { io.readable().await }));
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for SimUdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimUdp({})", self.address)
    }
}

/// turmoil's UDP never pushes back.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// quinn's timers and tasks on a turmoil host.
#[derive(Debug)]
struct SimRuntime;

impl Runtime for SimRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(tokio::time::sleep_until(at.into()))
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
