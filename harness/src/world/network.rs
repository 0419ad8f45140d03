//! The network between simulated hosts: latency, loss and whatever a test wants done to a frame.

use std::{collections::BTreeSet, fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use updraft_transport::{
    Class, Frame, NodeId,
    mem::Fate,
    wire::{self, WireVersion},
};

/// How links behave while nobody interferes.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// Least delay.
    pub latency_min: Duration,
    /// Largest delay; frames may overtake one another within the range.
    pub latency_max: Duration,
    /// The share of frames lost.
    pub loss: f64,
    /// The share of frames doubled.
    pub duplication: f64,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            latency_min: Duration::from_millis(1),
            latency_max: Duration::from_millis(5),
            loss: 0.0,
            duplication: 0.0,
        }
    }
}

/// What an interceptor does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the links will.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Double,
    /// It arrives this much later.
    Delay(Duration),
}

/// Sees every frame as it is sent.
type Interceptor = Box<dyn FnMut(&NodeId, &NodeId, &Frame) -> Verdict + Send>;

struct State {
    links: Links,
    rng: ChaCha8Rng,
    now: Duration,
    cut: BTreeSet<(NodeId, NodeId)>,
    interceptor: Option<Interceptor>,
    events: Arc<Mutex<Vec<String>>>,
}

/// A handle on the network; cheap to clone.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

impl Network {
    pub(super) fn new(rng: ChaCha8Rng, events: Arc<Mutex<Vec<String>>>) -> Self {
        let state = State {
            links: Links::default(),
            rng,
            now: Duration::ZERO,
            cut: BTreeSet::new(),
            interceptor: None,
            events,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn advance(&self, now: Duration) {
        self.state.lock().now = now;
    }

    /// Changes how all links behave.
    pub fn set_links(&self, links: Links) {
        self.state.lock().links = links;
    }

    /// Cuts the link one way.
    pub fn cut(&self, from: &NodeId, to: &NodeId) {
        self.state.lock().cut.insert((from.clone(), to.clone()));
    }

    /// Cuts the links between two groups, both ways.
    pub fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.cut(a, b);
                self.cut(b, a);
            }
        }
    }

    /// Mends every link.
    pub fn heal(&self) {
        self.state.lock().cut.clear();
    }

    /// Lets `interceptor` decide over every frame that no cut has taken, those of a node to itself among them.
    pub fn intercept(
        &self,
        interceptor: impl FnMut(&NodeId, &NodeId, &Frame) -> Verdict + Send + 'static,
    ) {
        self.state.lock().interceptor = Some(Box::new(interceptor));
    }

    /// Ends interception.
    pub fn leave_alone(&self) {
        self.state.lock().interceptor = None;
    }
}

impl Fate for Network {
    fn decide(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        class: Class,
        bytes: &[u8],
    ) -> Vec<Duration> {
        let mut state = self.state.lock();
        let verdict = state.verdict(from, to, bytes);
        let copies = state.copies(from, to, verdict);
        state.tell(at, (from, to), class, bytes, &copies, verdict);
        copies
    }

    /// As the links will; a cut loses it. Interceptors see frames alone.
    fn decide_body(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        bytes: &[u8],
    ) -> Option<Duration> {
        let mut state = self.state.lock();
        let copies = state.copies(from, to, Verdict::Pass);
        state.tell(at, (from, to), Class::Bulk, bytes, &copies, Verdict::Pass);
        copies.first().copied()
    }

    /// No link loses it, but an interceptor may.
    fn decide_own(
        &mut self,
        at: Duration,
        node: &NodeId,
        class: Class,
        bytes: &[u8],
    ) -> Vec<Duration> {
        let mut state = self.state.lock();
        let verdict = state.verdict(node, node, bytes);
        let copies = match verdict {
            Verdict::Pass => vec![Duration::ZERO],
            Verdict::Drop => Vec::new(),
            Verdict::Double => vec![Duration::ZERO; 2],
            Verdict::Delay(delay) => vec![delay],
        };
        state.tell(at, (node, node), class, bytes, &copies, verdict);
        copies
    }
}

impl State {
    /// A line of the log: when, between whom, a hash of what, the delay of each copy, and an interceptor's word.
    fn tell(
        &self,
        at: Duration,
        (from, to): (&NodeId, &NodeId),
        class: Class,
        bytes: &[u8],
        copies: &[Duration],
        verdict: Verdict,
    ) {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut line =
            format!("{:>10} {from}>{to} {class:?} {} {hash:016x}", at.as_micros(), bytes.len());
        for copy in copies {
            // Writing to a string cannot fail.
            let _ = write!(line, " +{}", copy.as_micros());
        }
        if verdict != Verdict::Pass {
            let _ = write!(line, " {verdict:?}");
        }
        self.events.lock().push(line);
    }

    fn is_cut(&self, from: &NodeId, to: &NodeId) -> bool {
        self.cut.contains(&(from.clone(), to.clone()))
    }

    fn verdict(&mut self, from: &NodeId, to: &NodeId, bytes: &[u8]) -> Verdict {
        if self.is_cut(from, to) {
            return Verdict::Pass;
        }
        match &mut self.interceptor {
            Some(interceptor) => {
                decoded(bytes).map_or(Verdict::Pass, |frame| interceptor(from, to, &frame))
            }
            None => Verdict::Pass,
        }
    }

    fn copies(&mut self, from: &NodeId, to: &NodeId, verdict: Verdict) -> Vec<Duration> {
        if self.is_cut(from, to) {
            return Vec::new();
        }
        let delay = self.delay();
        match verdict {
            Verdict::Drop => Vec::new(),
            Verdict::Double => vec![delay, self.delay()],
            Verdict::Delay(more) => vec![delay + more],
            Verdict::Pass if self.rng.random_bool(self.links.loss) => Vec::new(),
            Verdict::Pass if self.rng.random_bool(self.links.duplication) => {
                vec![delay, self.delay()]
            }
            Verdict::Pass => vec![delay],
        }
    }

    fn delay(&mut self) -> Duration {
        let (min, max) = (self.links.latency_min, self.links.latency_max);
        self.rng.random_range(min..=max.max(min))
    }
}

fn decoded(bytes: &[u8]) -> Option<Frame> {
    wire::decode(&Bytes::copy_from_slice(bytes.get(4..)?), WireVersion::NEWEST).ok()
}
