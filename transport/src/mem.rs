//! An in-memory switch that carries frames between simulated nodes.
//!
//! Owns what is under way and who is attached. Time is the harness's: nothing moves until
//! [`Switch::advance`], and what is due together is delivered in the order in which it was sent. Frames
//! pass through the same encoding as on a real connection that speaks the newest wire version. A [`Fate`] decides what is lost, late or
//! doubled; partitions are its business too. Never reads a clock, draws entropy or starts a task, so
//! nodes may live on any number of runtimes of one thread.
//!
//! Where it differs from QUIC: a frame may overtake another of its class, or be lost without a
//! [`Event::Down`], if the fate wants it so; a second copy of a frame may come when its sender has started anew and was
//! heard; and a peer needs no address, only to have been attached.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    body::{Label, Outgoing},
    id::{Incarnation, NodeId, PeerIdentity},
    link::{Event, LinkError, Transport},
    wire::{Class, Frame},
};

mod bodies;
mod parts;
mod state;

use parts::Place;
use state::State;

/// How long after a crash its peers are told, unless set otherwise: QUIC's idle timeout.
pub const CRASH_NOTICED_AFTER: Duration = Duration::from_secs(3);

/// Decides what happens to each frame.
///
/// Called with the switch locked: it must not call the switch.
pub trait Fate: Send {
    /// One delay for each copy that arrives: none is a loss, two are a duplicate.
    fn decide(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        class: Class,
        bytes: &[u8],
    ) -> Vec<Duration>;

    /// The same for what a node sends itself, which never leaves its memory: it arrives at once, unless a
    /// fate has it otherwise to show what hangs on it.
    fn decide_own(
        &mut self,
        _at: Duration,
        _node: &NodeId,
        _class: Class,
        _bytes: &[u8],
    ) -> Vec<Duration> {
        vec![Duration::ZERO]
    }

    /// The delay of the next bytes of a body, which one stream has at a time; `None` loses them, and they are sent
    /// again. As a frame of bulk without content, unless a fate knows better.
    fn decide_body(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        _bytes: &[u8],
    ) -> Option<Duration> {
        self.decide(at, from, to, Class::Bulk, &[]).first().copied()
    }
}

impl<F> Fate for F
where
    F: FnMut(Duration, &NodeId, &NodeId, Class, &[u8]) -> Vec<Duration> + Send,
{
    fn decide(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        class: Class,
        bytes: &[u8],
    ) -> Vec<Duration> {
        self(at, from, to, class, bytes)
    }
}

/// The fate of a perfect network: every frame arrives once, after the same delay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady(pub Duration);

impl Fate for Steady {
    fn decide(
        &mut self,
        _at: Duration,
        _from: &NodeId,
        _to: &NodeId,
        _class: Class,
        _bytes: &[u8],
    ) -> Vec<Duration> {
        vec![self.0]
    }
}

/// Sees every frame as it is sent, with its fate. Called with the switch locked.
pub trait Observer: Send {
    /// A frame was sent.
    fn frame(
        &mut self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        class: Class,
        bytes: &[u8],
        fate: &[Duration],
    );
}

/// The switch; clones are handles on the same one.
#[derive(Clone, Default)]
pub struct Switch {
    state: Arc<Mutex<State>>,
}

impl Switch {
    /// A switch on which every frame arrives at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the fate for what is sent from now on.
    pub fn set_fate(&self, fate: impl Fate + 'static) {
        self.state.lock().set_fate(Box::new(fate));
    }

    /// Lets an observer see what is sent from now on.
    pub fn set_observer(&self, observer: impl Observer + 'static) {
        self.state.lock().set_observer(Box::new(observer));
    }

    /// Sets how long after a crash its peers are told.
    pub fn set_crash_noticed_after(&self, delay: Duration) {
        self.state.lock().set_crash_noticed_after(delay);
    }

    /// Attaches a node; one of the same name that is still attached is detached first.
    #[must_use]
    pub fn attach(
        &self,
        identity: PeerIdentity,
        incarnation: Incarnation,
    ) -> (Arc<dyn Transport>, mpsc::Receiver<Event>) {
        let (place, events) = self.state.lock().attach(identity.clone(), incarnation);
        let port = Port { identity, place, state: Arc::downgrade(&self.state) };
        (Arc::new(port), events)
    }

    /// Crashes a node: what is under way to it vanishes, and its peers are told after a while.
    pub fn detach(&self, node: &NodeId) {
        self.state.lock().detach(node);
    }

    /// Breaks the connection between two nodes; both are told at once, and the next frame that
    /// arrives makes a new one.
    pub fn sever(&self, one: &NodeId, other: &NodeId, reason: &str) {
        self.state.lock().sever(one, other, reason);
    }

    /// Tells whose certificates nobody believes any more; replaces what was told before.
    ///
    /// Their connections end at once, and what they send or are sent arrives nowhere; both sides are told.
    /// Unlike on QUIC no node can be of another opinion, and nodes stand for their keys, which they do not
    /// have here. Who is left out is let in again.
    pub fn revoke(&self, nodes: &BTreeSet<NodeId>) {
        self.state.lock().revoke(nodes);
    }

    /// Moves time forward and delivers what is due by then.
    pub fn advance(&self, now: Duration) {
        self.state.lock().advance(now);
    }

    /// When the next delivery is due; `None` if nothing is under way.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.state.lock().next_due()
    }
}

/// One life of one node on the switch.
struct Port {
    identity: PeerIdentity,
    place: Place,
    /// Weak, because the switch holds fates and observers that may hold nodes.
    state: Weak<Mutex<State>>,
}

impl Transport for Port {
    fn local(&self) -> &PeerIdentity {
        &self.identity
    }

    fn learn(&self, peer: &NodeId, _address: SocketAddr) {
        if let Some(state) = self.state.upgrade() {
            state.lock().learn(peer);
        }
    }

    fn send(&self, peer: &NodeId, class: Class, frame: Frame) -> Result<(), LinkError> {
        let state = self.state.upgrade().ok_or(LinkError::Closing)?;
        state.lock().send(self.place, peer, class, &frame)
    }

    fn open_body(&self, peer: &NodeId, label: Label) -> Result<Outgoing, LinkError> {
        let state = self.state.upgrade().ok_or(LinkError::Closing)?;
        state.lock().open_body(Weak::clone(&self.state), self.place, peer, label)
    }

    fn close(&self) {
        if let Some(state) = self.state.upgrade() {
            state.lock().close(self.place);
        }
    }
}
