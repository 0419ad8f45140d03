//! What the switch knows, and how it moves forward.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    CRASH_NOTICED_AFTER, Fate, Observer, Steady,
    bodies::Streams,
    parts::{Attached, Content, Known, Life, Node, Parcel, Place, Waiting},
};
use crate::{
    id::{Incarnation, NodeId, PeerIdentity},
    link::{EVENTS_MAX, Event, LinkError, QueueLimit},
    planted::{Bug, is_planted},
    wire::{self, Class, Frame, LENGTH_BYTES, WireError, WireVersion},
};

/// What is heard of a node whose certificate is no longer believed, and what it hears itself.
const REVOKED: &str = "its certificate was revoked";
const REVOKED_TOLD: &str = "it says: its certificate was revoked";
/// How soon a node whose events are full is tried again.
const HELD_RETRY: Duration = Duration::from_millis(1);
/// Events that one parcel makes at most at its receiver: a down, an up and a frame. At its sender one less.
const EVENTS_PER_PARCEL: usize = 3;

/// See the module.
pub(super) struct State {
    now: Duration,
    last_sequence: u64,
    last_life: Life,
    index: BTreeMap<NodeId, Node>,
    nodes: Vec<Known>,
    under_way: BTreeMap<(Duration, u64), Parcel>,
    waiting: BTreeMap<(Node, Node, Class), Waiting>,
    /// Which life of the second the first holds a connection to.
    links: BTreeMap<(Node, Node), Life>,
    /// Nodes with held parcels.
    held: BTreeSet<Node>,
    revoked: BTreeSet<NodeId>,
    crash_noticed_after: Duration,
    pub(super) streams: Streams,
    fate: Box<dyn Fate>,
    observer: Option<Box<dyn Observer>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Duration::ZERO,
            last_sequence: 0,
            last_life: 0,
            index: BTreeMap::new(),
            nodes: Vec::new(),
            under_way: BTreeMap::new(),
            waiting: BTreeMap::new(),
            links: BTreeMap::new(),
            held: BTreeSet::new(),
            revoked: BTreeSet::new(),
            crash_noticed_after: CRASH_NOTICED_AFTER,
            streams: Streams::default(),
            fate: Box::new(Steady::default()),
            observer: None,
        }
    }
}

impl State {
    pub(super) fn set_fate(&mut self, fate: Box<dyn Fate>) {
        self.fate = fate;
    }

    pub(super) fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    pub(super) fn set_crash_noticed_after(&mut self, delay: Duration) {
        self.crash_noticed_after = delay;
    }

    pub(super) fn attach(
        &mut self,
        identity: PeerIdentity,
        incarnation: Incarnation,
    ) -> (Place, mpsc::Receiver<Event>) {
        self.detach(&identity.node.clone());
        self.last_life += 1;
        let life = self.last_life;
        let node = self.learn(&identity.node);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let held = VecDeque::new();
        self.nodes[node].identity = Some(identity);
        self.nodes[node].attached = Some(Attached { incarnation, life, events, held });
        (Place { node, life }, receiver)
    }

    /// The node's number; a new one if it has none.
    pub(super) fn learn(&mut self, id: &NodeId) -> Node {
        if let Some(node) = self.index.get(id) {
            return *node;
        }
        self.nodes.push(Known { id: id.clone(), identity: None, attached: None });
        self.index.insert(id.clone(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn detach(&mut self, id: &NodeId) {
        if let Some(node) = self.index.get(id) {
            let noticed = self.now + self.crash_noticed_after;
            self.remove(*node, "the peer does not answer any more", |_, _| noticed);
        }
    }

    pub(super) fn close(&mut self, place: Place) {
        if self.is_alive(place) {
            // Closing drains: the peers are told after the last frame.
            self.remove(place.node, "the peer is going away", Self::last_arrival);
        }
    }

    /// Takes a node off the switch; its peers are told when `when` says.
    fn remove(&mut self, node: Node, reason: &str, when: impl Fn(&Self, (Node, Node)) -> Duration) {
        let Some(gone) = self.nodes[node].attached.take() else { return };
        self.held.remove(&node);
        self.links.retain(|(viewer, _), _| *viewer != node);
        let from = Place { node, life: gone.life };
        let viewers: Vec<Node> = self
            .links
            .iter()
            .filter_map(|((viewer, peer), life)| {
                (*peer == node && *life == gone.life).then_some(*viewer)
            })
            .collect();
        for viewer in viewers {
            let at = when(self, (node, viewer));
            self.schedule_down(at, from, viewer, reason);
        }
    }

    fn last_arrival(&self, (from, to): (Node, Node)) -> Duration {
        let arrivals = self.under_way.iter().filter_map(|((at, _), parcel)| {
            (parcel.from.node == from && parcel.to == to).then_some(*at)
        });
        arrivals.max().unwrap_or(self.now)
    }

    pub(super) fn sever(&mut self, one: &NodeId, other: &NodeId, reason: &str) {
        let (Some(one), Some(other)) = (self.index.get(one), self.index.get(other)) else { return };
        for (viewer, peer) in [(*one, *other), (*other, *one)] {
            if let Some(life) = self.links.get(&(viewer, peer)) {
                self.schedule_down(self.now, Place { node: peer, life: *life }, viewer, reason);
            }
        }
    }

    pub(super) fn revoke(&mut self, nodes: &BTreeSet<NodeId>) {
        self.revoked.clone_from(nodes);
        let ended: Vec<((Node, Node), Life)> = self
            .links
            .iter()
            .filter(|((viewer, peer), _)| self.is_revoked(*viewer) || self.is_revoked(*peer))
            .map(|(pair, life)| (*pair, *life))
            .collect();
        for ((viewer, peer), life) in ended {
            let reason = self.revoked_reason(peer);
            self.schedule_down(self.now, Place { node: peer, life }, viewer, reason);
        }
    }

    fn is_revoked(&self, node: Node) -> bool {
        self.revoked.contains(&self.nodes[node].id) && !is_planted(Bug::RevokedNodeHeard)
    }

    /// Why a node has no connection with this peer, if one of the two is revoked.
    fn revoked_reason(&self, peer: Node) -> &'static str {
        if self.is_revoked(peer) { REVOKED } else { REVOKED_TOLD }
    }

    fn schedule_down(&mut self, at: Duration, from: Place, to: Node, reason: &str) {
        let content = Content::Down { reason: reason.to_owned() };
        let to_life = self.life_of(to);
        self.schedule(at, Parcel { from, to, to_life, content });
    }

    pub(super) fn schedule(&mut self, at: Duration, parcel: Parcel) {
        self.last_sequence += 1;
        self.under_way.insert((at, self.last_sequence), parcel);
    }

    pub(super) fn send(
        &mut self,
        from: Place,
        peer: &NodeId,
        class: Class,
        frame: &Frame,
    ) -> Result<(), LinkError> {
        if !self.is_alive(from) {
            return Err(LinkError::Closing);
        }
        let Some(to) = self.index.get(peer).copied() else {
            return Err(LinkError::NoRoute(peer.clone()));
        };
        let mut bytes = Vec::new();
        wire::encode(frame, class, WireVersion::NEWEST, &mut bytes)?;
        let bytes = Bytes::from(bytes);
        let waiting = self.waiting.entry((from.node, to, class)).or_default();
        if !QueueLimit::of(class).admits(waiting.frames, waiting.bytes, bytes.len()) {
            let silent = is_planted(Bug::FullQueueDropsSilently);
            return if silent { Ok(()) } else { Err(LinkError::Busy(peer.clone())) };
        }
        let delays = self.decide(from.node, to, class, &bytes);
        // Who is not there has no connection yet: what waits for it arrives by one connection, and once.
        let copies = if self.life_of(to).is_some() { delays.len() } else { 1 };
        for (number, delay) in delays.into_iter().take(copies).enumerate() {
            let waiting = self.waiting.entry((from.node, to, class)).or_default();
            waiting.frames += 1;
            waiting.bytes += bytes.len();
            let content = Content::Frame { class, bytes: bytes.clone(), copy: number > 0 };
            let to_life = self.life_of(to);
            self.schedule(self.now + delay, Parcel { from, to, to_life, content });
        }
        Ok(())
    }

    /// Asks the fate, and tells the observer.
    fn decide(&mut self, from: Node, to: Node, class: Class, bytes: &[u8]) -> Vec<Duration> {
        let (from_id, to_id) = (&self.nodes[from].id, &self.nodes[to].id);
        let fate = if from == to {
            self.fate.decide_own(self.now, from_id, class, bytes)
        } else {
            self.fate.decide(self.now, from_id, to_id, class, bytes)
        };
        if let Some(observer) = &mut self.observer {
            observer.frame(self.now, from_id, to_id, class, bytes, &fate);
        }
        fate
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let retry = (!self.held.is_empty()).then_some(self.now + HELD_RETRY);
        let due = self.under_way.first_key_value().map(|((at, _), _)| *at);
        retry.into_iter().chain(due).min()
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.release_held();
        while let Some(entry) = self.under_way.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            let parcel = entry.remove();
            self.now = self.now.max(at);
            self.arrive(parcel);
        }
        self.now = self.now.max(now);
    }

    fn release_held(&mut self) {
        for node in std::mem::take(&mut self.held) {
            let Some(attached) = &mut self.nodes[node].attached else { continue };
            for parcel in std::mem::take(&mut attached.held) {
                self.arrive(parcel);
            }
        }
    }

    /// Delivers a parcel, or holds it back if a node that must hear of it has no room.
    fn arrive(&mut self, parcel: Parcel) {
        if let Content::OfBody(stream) = parcel.content {
            return self.arrive_of_body(stream);
        }
        let stale = parcel.to_life.is_some_and(|life| self.life_of(parcel.to) != Some(life));
        let room = self.has_room(parcel.to) && self.has_room(parcel.from.node);
        let Some(attached) = &mut self.nodes[parcel.to].attached else {
            return self.settle(&parcel);
        };
        if !stale && (!room || !attached.held.is_empty()) {
            self.held.insert(parcel.to);
            attached.held.push_back(parcel);
            return;
        }
        self.settle(&parcel);
        match parcel.content {
            _ if stale => {}
            Content::Down { reason } => self.part(parcel.to, parcel.from, reason),
            Content::Frame { bytes, copy, .. } => {
                self.deliver(parcel.from, parcel.to, &bytes, copy);
            }
            // It never gets here.
            Content::OfBody(_) => {}
        }
    }

    /// Whether a node can be told whatever one parcel may bring; one that wants nothing always can.
    fn has_room(&self, node: Node) -> bool {
        self.nodes[node].attached.as_ref().is_none_or(|attached| {
            attached.events.is_closed() || attached.events.capacity() >= EVENTS_PER_PARCEL
        })
    }

    /// Counts a parcel as no longer under way.
    fn settle(&mut self, parcel: &Parcel) {
        let Content::Frame { class, bytes, .. } = &parcel.content else { return };
        let key = (parcel.from.node, parcel.to, *class);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.frames = waiting.frames.saturating_sub(1);
            waiting.bytes = waiting.bytes.saturating_sub(bytes.len());
        }
    }

    fn deliver(&mut self, from: Place, to: Node, bytes: &Bytes, copy: bool) {
        let Some(to_life) = self.life_of(to) else { return };
        let link = self.links.get(&(to, from.node));
        let linked = link == Some(&from.life);
        // What a former life sent arrives only while its connection still stands, and a copy of it by the next.
        let outlived = copy && link.is_some_and(|life| *life > from.life);
        if !linked && !outlived && !self.is_alive(from) {
            return;
        }
        if from.node != to && (self.is_revoked(from.node) || self.is_revoked(to)) {
            return self.refuse(from.node, to);
        }
        if from.node != to && !linked && !outlived {
            self.meet(to, from);
            self.meet(from.node, Place { node: to, life: to_life });
        }
        match wire::decode(&bytes.slice(LENGTH_BYTES..), WireVersion::NEWEST) {
            Ok(frame) => self.push_frame(from.node, to, frame),
            Err(error) => self.part(to, from, describe(&error)),
        }
    }

    /// Tells the sender, whose connection ends or could not be made.
    fn refuse(&mut self, from: Node, to: Node) {
        self.links.remove(&(from, to));
        let (peer, reason) = (self.nodes[to].id.clone(), self.revoked_reason(to).to_owned());
        self.push(from, Event::Down { peer, reason });
    }

    fn push_frame(&self, from: Node, to: Node, frame: Frame) {
        if let Some(peer) = self.nodes[from].identity.clone() {
            self.push(to, Event::Frame { peer, frame });
        }
    }

    /// Gives `viewer` a connection to this life of a peer, in place of one to a former life.
    fn meet(&mut self, viewer: Node, peer: Place) {
        let former = self.links.insert((viewer, peer.node), peer.life);
        if former == Some(peer.life) {
            return;
        }
        if let Some(life) = former {
            self.break_bodies(viewer, Place { life, ..peer });
            let reason = "the peer has restarted".to_owned();
            self.push(viewer, Event::Down { peer: self.nodes[peer.node].id.clone(), reason });
        }
        let Known { identity, attached, .. } = &self.nodes[peer.node];
        if let (Some(identity), Some(attached)) = (identity, attached) {
            let incarnation = attached.incarnation;
            self.push(viewer, Event::Up { peer: identity.clone(), incarnation });
        }
    }

    /// Takes the connection to this life of a peer from `viewer`, if it still has it.
    fn part(&mut self, viewer: Node, peer: Place, reason: String) {
        if self.links.get(&(viewer, peer.node)) == Some(&peer.life) {
            self.links.remove(&(viewer, peer.node));
            self.break_bodies(viewer, peer);
            self.push(viewer, Event::Down { peer: self.nodes[peer.node].id.clone(), reason });
        }
    }

    pub(super) fn push(&self, to: Node, event: Event) {
        if let Some(attached) = &self.nodes[to].attached {
            // Room was checked; a node that dropped its receiver wants nothing.
            let _ = attached.events.try_send(event);
        }
    }

    fn life_of(&self, node: Node) -> Option<Life> {
        self.nodes[node].attached.as_ref().map(|attached| attached.life)
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn crash_noticed_after(&self) -> Duration {
        self.crash_noticed_after
    }

    /// The present life of a node.
    pub(super) fn place_of(&self, id: &NodeId) -> Option<Place> {
        let node = *self.index.get(id)?;
        self.life_of(node).map(|life| Place { node, life })
    }

    pub(super) fn identity_of(&self, node: Node) -> Option<PeerIdentity> {
        self.nodes[node].identity.clone()
    }

    /// Whether the first holds a connection to this life of the second.
    pub(super) fn is_linked(&self, one: Place, other: Place) -> bool {
        self.links.get(&(one.node, other.node)) == Some(&other.life)
    }

    /// Asks the fate about the next bytes of a body.
    pub(super) fn decide_body(&mut self, from: Node, to: Node, bytes: &[u8]) -> Option<Duration> {
        let (from_id, to_id) = (&self.nodes[from].id, &self.nodes[to].id);
        self.fate.decide_body(self.now, from_id, to_id, bytes)
    }

    pub(super) fn is_alive(&self, place: Place) -> bool {
        self.life_of(place.node) == Some(place.life)
    }
}

fn describe(error: &WireError) -> String {
    format!("the peer sent what is no frame: {error}")
}
