//! Simulated UDP for QUIC: quinn's socket and runtime over a simulated network.
//!
//! Owns what happens to each datagram between a node and the network: a [`Weather`] loses, doubles, delays and damages,
//! and a [`Watcher`] sees everything. Two networks carry what is left: that of a [`World`](crate::world::World), and
//! turmoil's, for whoever has a simulation of turmoil's and [binds](bind) a socket in it. turmoil delivers in order of
//! time, without bound on size and with the latency of its links; give its builder a `udp_capacity` of thousands, because
//! it drops what is over it without a word.

mod on_turmoil;
mod socket;

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use updraft_transport::{NodeId, id::InvalidNodeId};

pub use crate::fault::{Copy, Damage};
pub use on_turmoil::bind;

pub(crate) use socket::{Line, SimRuntime, SimUdp};

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
