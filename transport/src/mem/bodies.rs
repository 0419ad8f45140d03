//! Bodies on their way through the switch.
//!
//! As with QUIC they arrive in order and whole, or their stream breaks: what the fate loses is sent again after a
//! while, and a stream whose bytes find no way for as long as it takes to notice a crash breaks. One piece of a stream
//! is under way at a time, and a few wait behind it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Weak,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    parts::{Content, Node, Parcel, Place},
    state::State,
};
use crate::{
    body::{
        BodyError, Incoming, Label, Outgoing, Outlet,
        pipe::{self, Item, PipeInlet, Room},
    },
    id::NodeId,
    link::{Event, LinkError},
};

/// When what was lost is sent again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// One stream, by the order of the openings.
pub(super) type Number = u64;

/// What waits for its turn.
enum Waiting {
    /// The stream becomes known to its receiver.
    Opening(Label, Incoming),
    /// Something passes.
    Item(Item),
}

/// A stream that has not ended.
struct Stream {
    from: Place,
    to: Place,
    waiting: VecDeque<Waiting>,
    /// Whether the first of what waits is under way, or will be sent again.
    moving: bool,
    /// Since when the first of what waits is lost again and again.
    lost_since: Option<Duration>,
    out: mpsc::UnboundedSender<Item>,
    room: Room,
}

/// The streams of a switch.
#[derive(Default)]
pub(super) struct Streams {
    last: Number,
    open: BTreeMap<Number, Stream>,
}

impl State {
    pub(super) fn open_body(
        &mut self,
        state: Weak<Mutex<Self>>,
        from: Place,
        peer: &NodeId,
        label: Label,
    ) -> Result<Outgoing, LinkError> {
        if !self.is_alive(from) {
            return Err(LinkError::Closing);
        }
        let to = self.place_of(peer).filter(|to| *to == from || self.is_linked(from, *to));
        let to = to.ok_or_else(|| LinkError::NotConnected(peer.clone()))?;
        if to == from {
            let (outlet, inlet) = pipe::pair();
            self.hand_up(from, to, label, Incoming::new(inlet));
            return Ok(Outgoing::new(outlet));
        }
        let (out, items) = mpsc::unbounded_channel();
        let room = pipe::room();
        let inlet = Incoming::new(PipeInlet::new(items, room.clone()));
        let stream = Stream {
            from,
            to,
            waiting: VecDeque::from([Waiting::Opening(label, inlet)]),
            moving: false,
            lost_since: None,
            out,
            room: room.clone(),
        };
        self.streams.last += 1;
        let number = self.streams.last;
        self.streams.open.insert(number, stream);
        self.set_out(number);
        Ok(Outgoing::new(SwitchOutlet { state, number, room, ended: false }))
    }

    fn put(&mut self, number: Number, item: Item) -> Result<(), BodyError> {
        let stream = self.streams.open.get_mut(&number).ok_or_else(pipe::broken)?;
        stream.waiting.push_back(Waiting::Item(item));
        if !stream.moving {
            self.set_out(number);
        }
        Ok(())
    }

    /// Sends the first of what waits on its way.
    fn set_out(&mut self, number: Number) {
        let Some(stream) = self.streams.open.get_mut(&number) else { return };
        stream.moving = !stream.waiting.is_empty();
        let Some(first) = stream.waiting.front() else { return };
        let bytes = match first {
            Waiting::Item(Item::Bytes(bytes, _)) => bytes.clone(),
            Waiting::Opening(..) | Waiting::Item(Item::End) => Bytes::new(),
        };
        let (from, to) = (stream.from, stream.to);
        let (now, delay) = (self.now(), self.decide_body(from.node, to.node, &bytes));
        if let Some(stream) = self.streams.open.get_mut(&number) {
            stream.lost_since = match delay {
                Some(_) => None,
                None => stream.lost_since.or(Some(now)),
            };
        }
        let at = now + delay.unwrap_or(SENT_AGAIN_AFTER);
        let (to, to_life) = (to.node, Some(to.life));
        self.schedule(at, Parcel { from, to, to_life, content: Content::OfBody(number) });
    }

    /// The first of what waits has arrived, or is to be sent again.
    pub(super) fn arrive_of_body(&mut self, number: Number) {
        let Some(stream) = self.streams.open.get(&number) else { return };
        let (from, to, lost_since) = (stream.from, stream.to, stream.lost_since);
        if lost_since.is_some_and(|since| self.now() < since + self.crash_noticed_after()) {
            return self.set_out(number);
        }
        if lost_since.is_some() || !self.is_alive(to) || !self.is_linked(to, from) {
            return self.break_body(number);
        }
        let Some(stream) = self.streams.open.get_mut(&number) else { return };
        match stream.waiting.pop_front() {
            Some(Waiting::Opening(label, body)) => self.hand_up(from, to, label, body),
            Some(Waiting::Item(item)) => {
                let ends = matches!(item, Item::End);
                if stream.out.send(item).is_err() || ends {
                    return self.break_body(number);
                }
            }
            None => {}
        }
        self.set_out(number);
    }

    /// Tells the receiver; one that has no room is not told, and the stream breaks.
    fn hand_up(&self, from: Place, to: Place, label: Label, body: Incoming) {
        if let Some(peer) = self.identity_of(from.node) {
            self.push(to.node, Event::Body { peer, label, body });
        }
    }

    /// Ends a stream. What has arrived may still be read.
    fn break_body(&mut self, number: Number) {
        if let Some(stream) = self.streams.open.remove(&number) {
            stream.room.close();
        }
    }

    /// Breaks what is under way between this node and that life of a peer.
    pub(super) fn break_bodies(&mut self, node: Node, peer: Place) {
        let between = |stream: &Stream| {
            (stream.from == peer && stream.to.node == node)
                || (stream.to == peer && stream.from.node == node)
        };
        let broken: Vec<Number> = self
            .streams
            .open
            .iter()
            .filter_map(|(number, stream)| between(stream).then_some(*number))
            .collect();
        broken.into_iter().for_each(|number| self.break_body(number));
    }
}

/// Where the bytes of a body enter the switch.
struct SwitchOutlet {
    /// Weak, as in the port of its node.
    state: Weak<Mutex<State>>,
    number: Number,
    room: Room,
    ended: bool,
}

impl SwitchOutlet {
    fn put(&self, item: Item) -> Result<(), BodyError> {
        let state = self.state.upgrade().ok_or_else(pipe::broken)?;
        state.lock().put(self.number, item)
    }
}

#[async_trait]
impl Outlet for SwitchOutlet {
    /// Its opening is on its way already.
    async fn open(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    async fn write(&mut self, head: Bytes, rest: Bytes) -> Result<(), BodyError> {
        let bytes = Bytes::from([head, rest].concat());
        self.put(pipe::admit(&self.room, bytes).await?)
    }

    async fn finish(&mut self) -> Result<(), BodyError> {
        self.put(Item::End)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for SwitchOutlet {
    fn drop(&mut self) {
        if !self.ended
            && let Some(state) = self.state.upgrade()
        {
            state.lock().break_body(self.number);
        }
    }
}
