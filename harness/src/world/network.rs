//! The network between simulated hosts: latency, the faults of the world, and whatever a test wants done to a frame.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use updraft_transport::{
    Class, Frame, NodeId,
    mem::Fate,
    wire::{self, WireVersion},
};

use crate::{fault::Faults, record::Recorder};

/// The latency of a link within a data centre: each frame draws its own, so that frames may overtake one another.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// Least delay.
    pub latency_min: Duration,
    /// Largest delay.
    pub latency_max: Duration,
}

impl Default for Links {
    fn default() -> Self {
        Self { latency_min: Duration::from_millis(1), latency_max: Duration::from_millis(5) }
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
    faults: Faults,
    interceptor: Option<Interceptor>,
    recorder: Recorder,
}

/// A handle on the network; cheap to clone.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

impl Network {
    pub(super) fn new(rng: ChaCha8Rng, faults: Faults, recorder: Recorder) -> Self {
        let links = Links::default();
        let state = State { links, rng, faults, interceptor: None, recorder };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the latency of all links.
    pub fn set_links(&self, links: Links) {
        self.state.lock().links = links;
    }

    /// Lets `interceptor` decide over every frame that no cut has taken, those of a node to itself among them.
    pub fn intercept(
        &self,
        interceptor: impl FnMut(&NodeId, &NodeId, &Frame) -> Verdict + Send + 'static,
    ) {
        self.state.lock().interceptor = Some(Box::new(interceptor));
    }

    /// How long a message takes on a link, before what is wrong with it.
    pub(crate) fn latency(&self) -> Duration {
        self.state.lock().delay()
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
        let copies = state.copies(at, (from, to), bytes.len(), verdict);
        state.recorder.frame(at, (from, to), class, bytes, (&copies, verdict));
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
        let copies = state.copies(at, (from, to), bytes.len(), Verdict::Pass);
        state.recorder.frame(at, (from, to), Class::Bulk, bytes, (&copies, Verdict::Pass));
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
        state.recorder.frame(at, (node, node), class, bytes, (&copies, verdict));
        copies
    }
}

impl State {
    fn verdict(&mut self, from: &NodeId, to: &NodeId, bytes: &[u8]) -> Verdict {
        if self.faults.is_cut(from, to) {
            return Verdict::Pass;
        }
        match &mut self.interceptor {
            Some(interceptor) => {
                decoded(bytes).map_or(Verdict::Pass, |frame| interceptor(from, to, &frame))
            }
            None => Verdict::Pass,
        }
    }

    /// What arrives whole, and when. A damaged frame does not: the real transport knows it and throws it away.
    fn copies(
        &mut self,
        at: Duration,
        (from, to): (&NodeId, &NodeId),
        bytes: usize,
        verdict: Verdict,
    ) -> Vec<Duration> {
        let copies = self.faults.carry(at, from, to, bytes);
        let whole = copies.into_iter().filter(|copy| copy.damage.is_none());
        let mut delays: Vec<Duration> = whole.map(|copy| copy.held + self.delay()).collect();
        match verdict {
            Verdict::Pass => delays,
            Verdict::Drop => Vec::new(),
            Verdict::Double => {
                let again = delays.first().map(|_| self.delay());
                delays.extend(again);
                delays
            }
            Verdict::Delay(more) => delays.into_iter().map(|delay| delay + more).collect(),
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
