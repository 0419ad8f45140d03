//! Nodes that keep a book, and one that reads it onto a disk which outlives it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use updraft_harness::world::{NodeContext, Tier, World};
use updraft_runtime::{
    bulk::{Digest, FetchError, Progress, Sink, SinkError, Source},
    message, protocol,
    rpc::{CallError, Cx, Fault, FaultKind, Rpc, Service, TraceContext},
};
use updraft_transport::NodeId;

use crate::{LIMIT, content, sha256};

/// The size of a book: some pieces more than wait at most between its two ends.
pub(crate) const SIZE_BYTES: u64 = 12 * 1024 * 1024 + 77;

/// What keepers of the book understand.
pub(crate) struct Desk;
protocol!(Desk = "library");

/// "Give me the book."
#[derive(Serialize, Deserialize)]
pub(crate) struct Read;
message!(body Read = Desk / "read", from ["compute"], to ["control"]);

/// "Are you there?"
#[derive(Serialize, Deserialize)]
pub(crate) struct Ping;
message!(call Ping = Desk / "ping", Fenced, from ["compute"], to ["control"], reply (),
    deadline_ms 1_000);

/// What all keepers have, and what they do with it.
#[derive(Clone)]
pub(crate) struct Book(Arc<State>);

pub(crate) struct State {
    content: Mutex<Bytes>,
    digest: Mutex<Option<Digest>>,
    /// Where reading has begun, each time that it did not go on where it was.
    starts: Mutex<Vec<u64>>,
    next: AtomicU64,
    read_bytes: AtomicU64,
    /// How often it was asked for.
    pub(crate) asks: AtomicU64,
    /// Whether the disk fails.
    pub(crate) fails: AtomicBool,
    /// Whether the disk hangs.
    pub(crate) hangs: AtomicBool,
    /// How many bytes more than asked for a read gives.
    pub(crate) more: AtomicU64,
    /// Where reads say that nothing is left.
    pub(crate) ends_at: AtomicU64,
}

impl std::ops::Deref for Book {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Book {
    fn new() -> Self {
        let content = content(1, usize::try_from(SIZE_BYTES).unwrap());
        Self(Arc::new(State {
            digest: Mutex::new(Some(sha256(&content))),
            content: Mutex::new(content),
            starts: Mutex::default(),
            next: AtomicU64::new(u64::MAX),
            read_bytes: AtomicU64::new(0),
            asks: AtomicU64::new(0),
            fails: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            more: AtomicU64::new(0),
            ends_at: AtomicU64::new(u64::MAX),
        }))
    }

    pub(crate) fn content(&self) -> Bytes {
        self.content.lock().clone()
    }

    pub(crate) fn replace(&self, content: Bytes) {
        *self.digest.lock() = Some(sha256(&content));
        *self.content.lock() = content;
    }

    pub(crate) fn lie_about_the_digest(&self) {
        *self.digest.lock() = Some(sha256(b"something else"));
    }

    pub(crate) fn starts(&self) -> Vec<u64> {
        self.starts.lock().clone()
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// How many are being sent.
    pub(crate) fn in_use(&self) -> usize {
        // The test itself, and a service on each keeper that runs, have one each.
        Arc::strong_count(&self.0)
    }

    fn opened(&self) -> Opened {
        self.asks.fetch_add(1, Ordering::Relaxed);
        let (content, digest) = (self.content(), self.digest.lock().unwrap());
        Opened { book: self.clone(), content, digest }
    }
}

/// The book as it was when it was asked for.
struct Opened {
    book: Book,
    content: Bytes,
    digest: Digest,
}

#[async_trait]
impl Source for Opened {
    fn size_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        if self.book.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.book.fails.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Unavailable, "Disk", "the disk says EIO"));
        }
        if offset_bytes >= self.book.ends_at.load(Ordering::Relaxed) {
            return Ok(Bytes::new());
        }
        let more = usize::try_from(self.book.more.load(Ordering::Relaxed)).unwrap();
        let from = usize::try_from(offset_bytes).unwrap();
        let mut bytes = self.content.slice(from..from + length_bytes).to_vec();
        bytes.resize(length_bytes + more, 0);
        let end = offset_bytes + bytes.len() as u64;
        if self.book.next.swap(end, Ordering::Relaxed) != offset_bytes {
            self.book.starts.lock().push(offset_bytes);
        }
        self.book.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.into())
    }
}

/// What the reader has of the book; outlives it.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Vec<u8>>>);

/// Where the reader puts the book.
pub(crate) struct ShelfSink {
    pub(crate) shelf: Shelf,
    pub(crate) env: updraft_runtime::Env,
    /// What each piece takes.
    pub(crate) pause: Duration,
}

#[async_trait]
impl Sink for ShelfSink {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        Ok(self.shelf.0.lock().len() as u64)
    }

    async fn read_kept(&mut self, offset: u64, length: usize) -> Result<Bytes, SinkError> {
        let offset = usize::try_from(offset).unwrap();
        Ok(Bytes::copy_from_slice(&self.shelf.0.lock()[offset..offset + length]))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        if !self.pause.is_zero() {
            self.env.sleep(self.pause).await;
        }
        self.shelf.0.lock().extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.shelf.0.lock().clear();
        Ok(())
    }
}

/// A fetch that has begun on the reader.
pub(crate) struct Begun {
    pub(crate) progress: watch::Receiver<Progress>,
    outcome: oneshot::Receiver<Result<Digest, FetchError>>,
}

impl Begun {
    pub(crate) fn done_bytes(&self) -> u64 {
        self.progress.borrow().done_bytes
    }
}

/// The world of the tests.
pub(crate) struct Library {
    pub(crate) world: World,
    pub(crate) book: Book,
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn cx() -> Cx {
    Cx::new("reader", TraceContext::default())
}

fn service(rpc: &Rpc, book: &Book) -> Service {
    let book = book.clone();
    Service::of::<Desk>()
        .body(rpc, move |_, Read| {
            let opened = book.opened();
            async move { Ok(opened) }
        })
        .call(|_, Ping| async { Ok(()) })
        .into()
}

impl Library {
    /// Keepers of these names, and a reader, all known to one another.
    pub(crate) fn start(tier: Tier, seed: u64, keepers: &'static [&'static str]) -> Self {
        let (mut world, book) = (World::on_tier(seed, tier), Book::new());
        for keeper in keepers {
            let book = book.clone();
            world.node(keeper, &["control"], move |context: NodeContext| {
                let book = book.clone();
                context.serve(keepers, move |node| {
                    vec![node.directory().service(), service(&node.rpc(), &book)]
                })
            });
        }
        world.node("reader", &["compute"], move |context| context.serve(keepers, |_| Vec::new()));
        let mut library = Self { world, book };
        library.until_known(keepers.len());
        library
    }

    /// Steps until the reader knows so many keepers.
    pub(crate) fn until_known(&mut self, keepers: usize) {
        let known = self.world.run_until(LIMIT, |world| {
            let rpc: Option<Rpc> = world.handle(&id("reader"));
            rpc.is_some_and(|rpc| rpc.directory().servers_of::<Ping>().len() == keepers)
        });
        assert!(known, "the keepers are not known");
    }

    pub(crate) fn shelf(&self) -> Shelf {
        self.world.disk(&id("reader")).unwrap().keep(Shelf::default)
    }

    /// What the reader has.
    pub(crate) fn kept(&self) -> Vec<u8> {
        self.shelf().0.lock().clone()
    }

    pub(crate) fn put(&self, bytes: &[u8]) {
        *self.shelf().0.lock() = bytes.to_vec();
    }

    pub(crate) fn rpc(&self) -> Rpc {
        self.world.handle(&id("reader")).unwrap()
    }

    pub(crate) fn begin_fetch(&mut self) -> Begun {
        self.begin_slow_fetch(Duration::ZERO)
    }

    /// A fetch whose disk takes so long for each piece.
    pub(crate) fn begin_slow_fetch(&mut self, pause: Duration) -> Begun {
        let (rpc, shelf) = (self.rpc(), self.shelf());
        let (tell, told) = oneshot::channel();
        let work = async move {
            let mut sink = ShelfSink { shelf, env: rpc.env().clone(), pause };
            let fetch = rpc.client::<Desk>().fetch(Read, &cx());
            tell.send(fetch.progress()).unwrap();
            fetch.into(&mut sink).await
        };
        let outcome = self.world.begin(&id("reader"), work).unwrap();
        let (mut told, mut progress) = (told, None);
        self.world.run_until(LIMIT, |_| {
            progress = told.try_recv().ok();
            progress.is_some()
        });
        Begun { progress: progress.unwrap(), outcome }
    }

    /// Steps until so much has come.
    pub(crate) fn until_done(&mut self, fetch: &Begun, bytes: u64) {
        let came = self.world.run_until(LIMIT, |_| fetch.done_bytes() >= bytes);
        assert!(came, "{} of {bytes} bytes have come", fetch.done_bytes());
    }

    /// Steps until the fetch has ended.
    pub(crate) fn end_fetch(&mut self, fetch: &mut Begun) -> Result<Digest, FetchError> {
        let mut ended = None;
        self.world.run_until(LIMIT, |_| {
            ended = fetch.outcome.try_recv().ok();
            ended.is_some()
        });
        ended.unwrap_or_else(|| panic!("it does not end: {:?}", fetch.progress.borrow()))
    }

    pub(crate) fn ping(&mut self) -> Result<(), CallError> {
        let rpc = self.rpc();
        let ping = async move { rpc.client::<Desk>().call(&Ping, &cx()).await };
        self.world.on(&id("reader"), LIMIT, ping).unwrap()
    }

    /// What has come is the book.
    pub(crate) fn assert_read(&self) {
        assert!(self.kept() == self.book.content(), "the reader has other bytes");
    }
}
