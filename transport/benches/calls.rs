//! What a call costs over the loopback interface, between two processes: QUIC with mutual TLS, beside
//! the floor of bare TCP with the same frames and the same batching.
//!
//! `cargo bench -p updraft-transport --bench calls`. CPU is the sum over all threads of a process, and
//! counts the kernel's work for it. The rounds are interleaved, so that what else runs on the machine
//! hits both alike; each figure is the median.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people"
)]

use std::{
    fs,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;
use rand::RngCore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::mpsc::Receiver,
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, Transport,
    ca::{CloudCa, Validity},
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig, udp},
    tls::Credentials,
    wire::{Decoder, WireVersion, WireVersions, encode},
};

const ROUNDS: usize = 5;
const BODY_BYTES: usize = 128;
const CALLS: [(usize, usize); 2] = [(1, 20_000), (64, 300_000)];
const NOW: u64 = 1_800_000_000;
/// Set in the process that answers, to the link it shall answer on.
const SERVER: &str = "UPDRAFT_BENCH_SERVER";

struct Machine(Handle);

impl Host for Machine {
    fn spawn(&self, _name: &'static str, task: Task) {
        self.0.spawn(task);
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        seed
    }

    fn unix_secs(&self) -> u64 {
        NOW
    }
}

fn credentials(name: &str) -> Credentials {
    let validity = Validity::starting(NOW, Duration::from_secs(86_400));
    let ca = CloudCa::create("bench", NodeKey::from_seed(&[1; 32]).unwrap(), validity).unwrap();
    let mut seed = [2; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    let key = NodeKey::from_seed(&seed).unwrap();
    let identity = PeerIdentity::new(NodeId::new(name).unwrap(), &["compute"]);
    let certificate = ca.issue(&identity, &key.public(), validity).unwrap();
    Credentials::new(certificate, key, vec![ca.certificate().clone()]).unwrap()
}

fn start(name: &str) -> (Arc<Quic>, Receiver<Event>) {
    let (socket, runtime) = udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = QuicConfig {
        credentials: credentials(name),
        incarnation: Incarnation(1),
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(Machine(Handle::current())),
        admission: None,
        mtu_discovery: true,
    };
    Quic::start(config).unwrap()
}

fn call(number: u64) -> Frame {
    let header = Header {
        kind: Kind::Call,
        method: "compute/report".into(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 60_000,
        trace_id: [7; 16],
        span_id: [7; 8],
        trace_flags: 0,
        context: vec![7; 64].into(),
    };
    Frame { header, body: vec![7; BODY_BYTES].into() }
}

fn reply(mut call: Frame) -> Frame {
    call.header.kind = Kind::Reply;
    call.header.method = ByteString::new();
    call
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn answer_quic() {
    let (link, mut events) = start("server");
    println!("{}", link.local_addr().unwrap());
    while let Some(event) = events.recv().await {
        if let Event::Frame { peer, frame } = event {
            link.send(&peer.node, Class::Calls, reply(frame)).unwrap();
        }
    }
}

async fn answer_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut decoder, mut out) = (Decoder::new(Class::Calls, WireVersion::NEWEST), Vec::new());
        while take(&mut stream, &mut decoder).await {
            while let Some(frame) = decoder.next_frame().unwrap() {
                encode(&reply(frame), Class::Calls, WireVersion::NEWEST, &mut out).unwrap();
            }
            stream.write_all(&out).await.unwrap();
            out.clear();
        }
    }
}

async fn take(stream: &mut TcpStream, decoder: &mut Decoder) -> bool {
    let mut buffer = [0; 64 * 1024];
    let bytes = stream.read(&mut buffer).await.unwrap_or(0);
    decoder.feed(Bytes::copy_from_slice(&buffer[..bytes]));
    bytes > 0
}

/// Calls with so many in flight; returns how long each took.
async fn call_quic(server: SocketAddr, in_flight: usize, calls: usize) -> Vec<Duration> {
    let (link, mut events) = start("client");
    let peer = NodeId::new("server").unwrap();
    link.learn(&peer, server);
    let mut clock = Stopwatch::new(calls);
    let send = |clock: &mut Stopwatch| {
        if let Some(number) = clock.begin() {
            link.send(&peer, Class::Calls, call(number)).unwrap();
        }
    };
    (0..in_flight).for_each(|_| send(&mut clock));
    while !clock.is_done() {
        if let Some(Event::Frame { frame, .. }) = events.recv().await {
            clock.end(frame.header.id);
            send(&mut clock);
        }
    }
    link.close();
    while events.recv().await.is_some() {}
    clock.taken
}

async fn call_tcp(server: SocketAddr, in_flight: usize, calls: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut decoder, mut out) = (Decoder::new(Class::Calls, WireVersion::NEWEST), Vec::new());
    let mut clock = Stopwatch::new(calls);
    let send = |clock: &mut Stopwatch, out: &mut Vec<u8>| {
        if let Some(number) = clock.begin() {
            encode(&call(number), Class::Calls, WireVersion::NEWEST, out).unwrap();
        }
    };
    (0..in_flight).for_each(|_| send(&mut clock, &mut out));
    while !clock.is_done() {
        stream.write_all(&out).await.unwrap();
        out.clear();
        assert!(take(&mut stream, &mut decoder).await, "the server has gone");
        while let Some(frame) = decoder.next_frame().unwrap() {
            clock.end(frame.header.id);
            send(&mut clock, &mut out);
        }
    }
    clock.taken
}

struct Stopwatch {
    calls: usize,
    begun: Vec<Instant>,
    taken: Vec<Duration>,
}

impl Stopwatch {
    fn new(calls: usize) -> Self {
        Self { calls, begun: Vec::with_capacity(calls), taken: Vec::with_capacity(calls) }
    }

    fn begin(&mut self) -> Option<u64> {
        let number = self.begun.len();
        (number < self.calls).then(|| {
            self.begun.push(Instant::now());
            number as u64
        })
    }

    fn end(&mut self, number: u64) {
        self.taken.push(self.begun[number as usize].elapsed());
    }

    fn is_done(&self) -> bool {
        self.taken.len() == self.calls
    }
}

/// CPU of all threads of a process.
fn cpu(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.flatten().map(of_thread).sum())
}

struct Server {
    process: Child,
    address: SocketAddr,
    _out: BufReader<ChildStdout>,
}

impl Server {
    fn start(link: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(SERVER, link)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap(), _out: out }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls per second; CPU per call of the caller and of the server, in µs; latency's median and 99th
/// percentile, in µs.
type Figures = [f64; 5];

fn round(link: &str, in_flight: usize, calls: usize) -> Figures {
    let server = Server::start(link);
    let (own_before, its_before) = (cpu(std::process::id()), cpu(server.process.id()));
    let begun = Instant::now();
    let mut taken = if link == "quic" {
        block_on(call_quic(server.address, in_flight, calls))
    } else {
        block_on(call_tcp(server.address, in_flight, calls))
    };
    let lasted = begun.elapsed();
    let own = cpu(std::process::id()) - own_before;
    let its = cpu(server.process.id()) - its_before;
    taken.sort();
    let per_call = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let p99 = taken[taken.len() * 99 / 100];
    [
        calls as f64 / lasted.as_secs_f64(),
        per_call(own),
        per_call(its),
        micros(taken[taken.len() / 2]),
        micros(p99),
    ]
}

fn median(rounds: &[Figures]) -> Figures {
    std::array::from_fn(|at| {
        let mut column: Vec<f64> = rounds.iter().map(|figures| figures[at]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    })
}

fn main() {
    match std::env::var(SERVER).as_deref() {
        Ok(link) => serve(link),
        Err(_) => measure(),
    }
}

fn serve(link: &str) {
    // Ends with its parent, however that ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    if link == "quic" { block_on(answer_quic()) } else { block_on(answer_tcp()) }
}

fn measure() {
    println!("{BODY_BYTES}-byte bodies, median of {ROUNDS} rounds");
    println!("| link | in flight | calls/s | CPU caller µs | CPU server µs | p50 µs | p99 µs |");
    println!("|---|---|---|---|---|---|---|");
    for (in_flight, calls) in CALLS {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (link, figures) in ["tcp", "quic"].into_iter().zip(&mut rounds) {
                figures.push(round(link, in_flight, calls));
            }
        }
        for (link, figures) in ["bare TCP", "QUIC"].into_iter().zip(&rounds) {
            let [rate, own, its, p50, p99] = median(figures);
            println!(
                "| {link} | {in_flight} | {rate:.0} | {own:.2} | {its:.2} | {p50:.0} | {p99:.0} |"
            );
        }
        std::io::stdout().flush().unwrap();
    }
}
