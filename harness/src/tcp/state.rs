//! All streams of a world, as a state that time moves on.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;
use updraft_transport::NodeId;

use crate::{fault::Faults, world::Network};

/// How long something is sent again and again without an answer before its stream ends.
pub const GIVES_UP_AFTER: Duration = Duration::from_secs(60);

/// When something is sent again at first; twice as late each time, up to the second.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);

/// What may be on its way or unread in one direction.
const WINDOW_BYTES: usize = 256 * 1_024;

/// The most that one segment carries. A real one carries less; this is a burst of them.
const SEGMENT_BYTES: usize = 16 * 1_024;

/// What a segment has around its content.
const HEADERS_BYTES: usize = 40;

/// The first port that who dials has.
const DIALLER_PORTS: u16 = 49_152;

/// One end of a stream: which stream, and who dialled or who was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    stream: u64,
    side: usize,
}

impl End {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

#[derive(Clone, Debug)]
enum Content {
    /// The first of each direction: a stream is wanted, or taken.
    Opens,
    Bytes(Bytes),
    /// The last one.
    Finishes,
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Opens | Self::Finishes => 0,
        }
    }
}

struct Unanswered {
    content: Content,
    since: Duration,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Being {
    /// The node has not heard of it yet.
    Unheard,
    Open,
    /// Whoever had it has dropped it.
    Closed,
    /// The node has crashed since.
    Dead,
}

/// One side of a stream.
struct Side {
    node: NodeId,
    being: Being,
    /// The number of the next segment that it sends.
    next: u64,
    unanswered: BTreeMap<u64, Unanswered>,
    finishes: bool,
    /// The number of the next segment that it takes.
    expected: u64,
    early: BTreeMap<u64, Content>,
    unread: VecDeque<Bytes>,
    finished: bool,
    failed: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Side {
    fn new(node: &NodeId, being: Being) -> Self {
        Self {
            node: node.clone(),
            being,
            next: 0,
            unanswered: BTreeMap::new(),
            finishes: false,
            expected: 0,
            early: BTreeMap::new(),
            unread: VecDeque::new(),
            finished: false,
            failed: None,
            reader: None,
            writer: None,
        }
    }

    fn unanswered_bytes(&self) -> usize {
        self.unanswered.values().map(|sent| sent.content.bytes()).sum()
    }

    fn unread_bytes(&self) -> usize {
        self.early.values().map(Content::bytes).sum::<usize>()
            + self.unread.iter().map(Bytes::len).sum::<usize>()
    }

    fn fail(&mut self, why: io::ErrorKind) {
        self.unanswered.clear();
        self.failed.get_or_insert(why);
        self.wake();
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Takes what has arrived as far as there is no gap.
    fn take(&mut self) {
        while let Some(content) = self.early.remove(&self.expected) {
            self.expected += 1;
            match content {
                Content::Opens => {}
                Content::Bytes(bytes) => self.unread.push_back(bytes),
                Content::Finishes => self.finished = true,
            }
        }
        self.wake();
    }

    fn is_over(&self) -> bool {
        self.being != Being::Open && self.unanswered.is_empty()
    }
}

struct Stream {
    sides: [Side; 2],
    port: u16,
}

/// What happens at a time.
enum Happening {
    /// A segment arrives at an end.
    Arrives(End, u64, Content),
    /// An end hears that a segment has arrived.
    Answered(End, u64),
    /// It is time to send a segment of an end again.
    Again(End, u64),
    /// An end hears that there is no such stream.
    Refused(End),
}

#[derive(Default)]
struct Listener {
    waiting: VecDeque<End>,
    acceptor: Option<Waker>,
}

struct Place {
    address: SocketAddr,
    is_up: bool,
    listeners: BTreeMap<u16, Listener>,
}

pub(super) struct State {
    now: Duration,
    network: Network,
    faults: Faults,
    places: BTreeMap<NodeId, Place>,
    streams: BTreeMap<u64, Stream>,
    dialled: u64,
    /// By when it happens, and then by when that was decided.
    happenings: BTreeMap<(Duration, u64), Happening>,
    decided: u64,
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NetworkDown, "the node does not run")
}

impl State {
    pub(super) fn new(network: Network, faults: Faults) -> Self {
        Self {
            now: Duration::ZERO,
            network,
            faults,
            places: BTreeMap::new(),
            streams: BTreeMap::new(),
            dialled: 0,
            happenings: BTreeMap::new(),
            decided: 0,
        }
    }

    pub(super) fn join(&mut self, node: &NodeId, address: SocketAddr) {
        let place = Place { address, is_up: true, listeners: BTreeMap::new() };
        self.places.insert(node.clone(), place);
    }

    pub(super) fn leave(&mut self, node: &NodeId) {
        if let Some(place) = self.places.get_mut(node) {
            place.is_up = false;
            place.listeners.clear();
        }
        let sides = self.streams.values_mut().flat_map(|stream| &mut stream.sides);
        for side in sides.filter(|side| side.node == *node && side.being != Being::Unheard) {
            *side = Side::new(node, Being::Dead);
        }
    }

    fn place(&mut self, node: &NodeId) -> io::Result<&mut Place> {
        self.places.get_mut(node).filter(|place| place.is_up).ok_or_else(gone)
    }

    pub(super) fn listen(&mut self, node: &NodeId, port: u16) -> io::Result<SocketAddr> {
        let place = self.place(node)?;
        if place.listeners.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        place.listeners.insert(port, Listener::default());
        Ok(SocketAddr::new(place.address.ip(), port))
    }

    pub(super) fn listen_no_more(&mut self, node: &NodeId, port: u16) {
        if let Ok(place) = self.place(node) {
            place.listeners.remove(&port);
        }
    }

    pub(super) fn dial(&mut self, from: &NodeId, to: &NodeId, port: u16) -> io::Result<End> {
        self.place(from)?;
        self.dialled += 1;
        let end = End { stream: self.dialled, side: 0 };
        let sides = [Side::new(from, Being::Open), Side::new(to, Being::Unheard)];
        self.streams.insert(end.stream, Stream { sides, port });
        self.send(end, Content::Opens);
        Ok(end)
    }

    fn side(&mut self, end: End) -> Option<&mut Side> {
        self.streams.get_mut(&end.stream).map(|stream| &mut stream.sides[end.side])
    }

    /// The end as whoever holds it knows it.
    fn held(&mut self, end: End) -> io::Result<&mut Side> {
        let side = self.side(end).filter(|side| side.being == Being::Open).ok_or_else(gone)?;
        match side.failed {
            Some(why) => Err(why.into()),
            None => Ok(side),
        }
    }

    pub(super) fn poll_stands(&mut self, end: End, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let side = self.held(end)?;
        if side.expected > 0 {
            return Poll::Ready(Ok(()));
        }
        side.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_accept(
        &mut self,
        node: &NodeId,
        port: u16,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(End, SocketAddr)>> {
        let listener = self.place(node)?.listeners.get_mut(&port).ok_or_else(gone)?;
        let Some(end) = listener.waiting.pop_front() else {
            listener.acceptor = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(self.dialler(end).map(|dialler| (end, dialler)).ok_or_else(gone))
    }

    fn dialler(&self, end: End) -> Option<SocketAddr> {
        let node = &self.streams.get(&end.stream)?.sides[0].node;
        let port = DIALLER_PORTS + u16::try_from(end.stream % 16_384).unwrap_or_default();
        Some(SocketAddr::new(self.places.get(node)?.address.ip(), port))
    }

    pub(super) fn poll_read(
        &mut self,
        end: End,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self.side(end).filter(|side| side.being == Being::Open).ok_or_else(gone)?;
        let Some(bytes) = side.unread.front_mut() else {
            if side.finished {
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = side.failed {
                return Poll::Ready(Err(why.into()));
            }
            side.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let len = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..len]);
        bytes.advance(len);
        if bytes.is_empty() {
            side.unread.pop_front();
        }
        if let Some(writer) = self.side(end.other()).and_then(|other| other.writer.take()) {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &mut self,
        end: End,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let unread = self.side(end.other()).map_or(0, |other| other.unread_bytes());
        let side = self.held(end)?;
        if side.finishes {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES.saturating_sub(unread + side.unanswered_bytes());
        if room == 0 && !bytes.is_empty() {
            side.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(room).min(SEGMENT_BYTES);
        if len > 0 {
            self.send(end, Content::Bytes(Bytes::copy_from_slice(&bytes[..len])));
        }
        Poll::Ready(Ok(len))
    }

    /// Says that nothing more is sent.
    pub(super) fn finish(&mut self, end: End) {
        if let Ok(side) = self.held(end)
            && !side.finishes
        {
            side.finishes = true;
            self.send(end, Content::Finishes);
        }
    }

    /// Nobody holds the end any more. Who is still sending to it is told when that arrives.
    pub(super) fn close(&mut self, end: End) {
        self.finish(end);
        if let Some(side) = self.side(end).filter(|side| side.being == Being::Open) {
            side.being = Being::Closed;
            if side.unread_bytes() > 0 {
                side.unanswered.clear();
                self.refuse(end);
            }
        }
        self.forget(end);
    }

    /// Streams that are over for both.
    fn forget(&mut self, end: End) {
        let stream = self.streams.get(&end.stream);
        if stream.is_some_and(|stream| stream.sides.iter().all(Side::is_over)) {
            self.streams.remove(&end.stream);
        }
    }

    fn later(&mut self, after: Duration, happening: Happening) {
        self.decided += 1;
        self.happenings.insert((self.now.saturating_add(after), self.decided), happening);
    }

    /// How long something takes from one end to the other; `None` if it is lost.
    fn way(&mut self, from: End, bytes: usize) -> Option<Duration> {
        let [one, other] =
            [from, from.other()].map(|end| self.side(end).map(|side| side.node.clone()));
        let (from, to) = (one?, other?);
        if from == to {
            return Some(Duration::ZERO);
        }
        let copies = self.faults.carry(self.now, &from, &to, bytes + HEADERS_BYTES);
        let whole = copies.into_iter().filter(|copy| copy.damage.is_none());
        Some(whole.map(|copy| copy.held).min()? + self.network.latency())
    }

    fn send(&mut self, end: End, content: Content) {
        let since = self.now;
        let Some(side) = self.side(end) else { return };
        let number = side.next;
        side.next += 1;
        side.unanswered.insert(number, Unanswered { content, since, tries: 0 });
        self.attempt(end, number);
    }

    /// Sends a segment that has not been answered, and looks after it later.
    fn attempt(&mut self, end: End, number: u64) {
        let now = self.now;
        let Some(side) = self.side(end) else { return };
        let Some(sent) = side.unanswered.get_mut(&number) else { return };
        if now.saturating_sub(sent.since) > GIVES_UP_AFTER {
            side.fail(io::ErrorKind::TimedOut);
            return self.forget(end);
        }
        let (content, tries) = (sent.content.clone(), sent.tries);
        sent.tries += 1;
        let again = AGAIN_AFTER.saturating_mul(1 << tries.min(8)).min(AGAIN_AFTER_MAX);
        if let Some(way) = self.way(end, content.bytes()) {
            self.later(way, Happening::Arrives(end.other(), number, content));
        }
        self.later(again, Happening::Again(end, number));
    }

    /// Tells the other end that there is no such stream.
    fn refuse(&mut self, end: End) {
        if let Some(way) = self.way(end, 0) {
            self.later(way, Happening::Refused(end.other()));
        }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.happenings.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(due) = self.happenings.first_entry().filter(|due| due.key().0 <= now) {
            match due.remove() {
                Happening::Arrives(end, number, content) => self.arrive(end, number, content),
                Happening::Answered(end, number) => self.answered(end, number),
                Happening::Again(end, number) => self.attempt(end, number),
                Happening::Refused(end) => self.refused(end),
            }
        }
    }

    fn arrive(&mut self, end: End, number: u64, content: Content) {
        let Some(node) = self.side(end).map(|side| side.node.clone()) else { return };
        if self.place(&node).is_err() || (matches!(content, Content::Opens) && !self.opens(end)) {
            return;
        }
        let Some(side) = self.side(end) else { return };
        if side.being != Being::Open && !matches!(content, Content::Finishes) {
            return self.refuse(end);
        }
        if number >= side.expected {
            side.early.insert(number, content);
            side.take();
        }
        if let Some(way) = self.way(end, 0) {
            self.later(way, Happening::Answered(end.other(), number));
        }
    }

    /// Somebody dials, or is heard; `false` if nobody listens.
    fn opens(&mut self, end: End) -> bool {
        let Some(stream) = self.streams.get_mut(&end.stream) else { return false };
        let (port, side) = (stream.port, &mut stream.sides[end.side]);
        if side.being != Being::Unheard {
            return true;
        }
        let places = self.places.get_mut(&side.node);
        let Some(listener) = places.and_then(|place| place.listeners.get_mut(&port)) else {
            self.refuse(end);
            return false;
        };
        side.being = Being::Open;
        listener.waiting.push_back(end);
        if let Some(acceptor) = listener.acceptor.take() {
            acceptor.wake();
        }
        self.send(end, Content::Opens);
        true
    }

    fn answered(&mut self, end: End, number: u64) {
        if let Some(side) = self.side(end) {
            side.unanswered.remove(&number);
            if let Some(writer) = side.writer.take() {
                writer.wake();
            }
        }
        self.forget(end);
    }

    fn refused(&mut self, end: End) {
        if let Some(side) = self.side(end) {
            let stands = side.expected > 0;
            side.fail(if stands {
                io::ErrorKind::ConnectionReset
            } else {
                io::ErrorKind::ConnectionRefused
            });
        }
        self.forget(end);
    }
}
