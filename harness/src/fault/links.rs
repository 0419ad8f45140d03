//! What becomes of a message on its way: a frame on tier 1, a datagram on the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::Rng;
use updraft_transport::NodeId;

use super::{Fault, FaultKind, Faults, LinkTrouble, Target, faults::Inner};
use crate::world::{TICK, Tier};

/// How long a datagram may wait for its turn on a narrow link before it is lost: what a router's buffer holds.
const DATAGRAM_WAITS_MAX: Duration = Duration::from_millis(500);

/// The same for a frame, which a connection would send again meanwhile: as long as a call waits.
const FRAME_WAITS_MAX: Duration = Duration::from_secs(10);

/// What is remembered of links.
#[derive(Default)]
pub(super) struct Links {
    /// Those that are cut until they are healed.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// When a narrow link has passed all that waits for it.
    free_at: BTreeMap<(NodeId, NodeId), Duration>,
}

/// One copy of a message that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// How long it is held back before the link's own latency; enough of it lets others overtake.
    pub held: Duration,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

/// What is wrong with a message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// This bit is flipped, counted from the first byte's lowest.
    FlippedBit(usize),
    /// No more than so many bytes are left.
    CutTo(usize),
}

/// A message on its way.
struct Message<'a> {
    at: Duration,
    from: &'a NodeId,
    to: &'a NodeId,
    bytes: usize,
}

/// What is known of a message before its copies are made.
#[derive(Default)]
struct Way {
    held: Duration,
    copies: usize,
    bytes_per_second: Option<u64>,
    reordering: Vec<(u8, Duration)>,
    corruption: Vec<u8>,
    truncation: Vec<u8>,
    stale_after: Option<Duration>,
}

impl Faults {
    /// Cuts the link one way until it is healed.
    pub(crate) fn cut(&self, from: &NodeId, to: &NodeId) {
        self.inner.lock().links.cut.insert((from.clone(), to.clone()));
    }

    /// Mends every link that was cut by hand.
    pub(crate) fn heal(&self) {
        self.inner.lock().links.cut.clear();
    }

    /// Whether the link is cut by hand.
    pub(crate) fn is_cut(&self, from: &NodeId, to: &NodeId) -> bool {
        self.inner.lock().links.is_cut(from, to)
    }

    /// The copies of a message that arrive.
    pub(crate) fn carry(
        &self,
        at: Duration,
        from: &NodeId,
        to: &NodeId,
        bytes: usize,
    ) -> Vec<Copy> {
        self.inner.lock().carry(&Message { at, from, to, bytes })
    }
}

impl Links {
    fn is_cut(&self, from: &NodeId, to: &NodeId) -> bool {
        !self.cut.is_empty() && self.cut.contains(&(from.clone(), to.clone()))
    }
}

impl Inner {
    fn carry(&mut self, message: &Message<'_>) -> Vec<Copy> {
        if self.links.is_cut(message.from, message.to) {
            return Vec::new();
        }
        let steps = std::mem::take(&mut self.present);
        let mut way = Some(Way { copies: 1, ..Way::default() });
        for step in &steps {
            let Some(on) = way.take() else { break };
            way = self.meet(on, message, &step.fault, step.from);
        }
        self.present = steps;
        let Some(mut way) = way else { return Vec::new() };
        self.go_far(&mut way, message);
        if !self.wait_for_turn(&mut way, message) {
            return Vec::new();
        }
        self.copies(&way, message)
    }

    /// One fault; `None` if the message is lost.
    fn meet(
        &mut self,
        way: Way,
        message: &Message<'_>,
        fault: &Fault,
        since: Duration,
    ) -> Option<Way> {
        let (kind, from) = (fault.kind(), message.from.as_str());
        if kind.on(self.tier).is_none() {
            return Some(way);
        }
        match fault {
            Fault::Link { from: one, to: other, both_ways, trouble } => {
                let meets = self.is_between(one, other, message)
                    || *both_ways && self.is_between(other, one, message);
                if !meets {
                    return Some(way);
                }
                self.trouble(way, message, kind, *trouble, since)
            }
            Fault::Partition { groups } => {
                let group = |node| groups.iter().position(|group| self.is_in(group, node));
                let (one, other) = (group(message.from), group(message.to));
                if one.is_some() && other.is_some() && one != other {
                    self.count(kind, from);
                    return None;
                }
                Some(way)
            }
            _ => Some(way),
        }
    }

    fn is_between(&self, from: &Target, to: &Target, message: &Message<'_>) -> bool {
        self.is_in(from, message.from) && self.is_in(to, message.to)
    }

    fn trouble(
        &mut self,
        mut way: Way,
        message: &Message<'_>,
        kind: FaultKind,
        trouble: LinkTrouble,
        since: Duration,
    ) -> Option<Way> {
        let from = message.from.as_str();
        let lost = match trouble {
            LinkTrouble::Cut => true,
            LinkTrouble::Flapping { period } => {
                let (period, at) = (period.as_micros().max(1), message.at.saturating_sub(since));
                at.as_micros() % period >= period / 2
            }
            LinkTrouble::MtuBlackHole { bytes } => message.bytes > bytes as usize,
            LinkTrouble::Loss { percent } => {
                return (!self.strikes(kind, from, percent)).then_some(way);
            }
            _ => false,
        };
        if lost {
            self.count(kind, from);
            return None;
        }
        match trouble {
            LinkTrouble::Duplication { percent } if self.strikes(kind, from, percent) => {
                way.copies += 1;
            }
            LinkTrouble::Reordering { percent, late_max } => {
                way.reordering.push((percent, late_max));
            }
            LinkTrouble::Corruption { percent } => way.corruption.push(percent),
            LinkTrouble::Truncation { percent } => way.truncation.push(percent),
            LinkTrouble::LatencySpike { more } => {
                self.count(kind, from);
                way.held += more;
            }
            LinkTrouble::Bandwidth { bytes_per_second } => way.narrow(bytes_per_second),
            LinkTrouble::StaleCopy { percent, after } if self.strikes(kind, from, percent) => {
                way.stale_after = Some(after);
            }
            _ => {}
        }
        Some(way)
    }

    /// The way between data centres.
    fn go_far(&mut self, way: &mut Way, message: &Message<'_>) {
        let Some(far) = self.topology.far(message.from, message.to).cloned() else { return };
        if let Some(bytes_per_second) = far.bytes_per_second {
            way.narrow(bytes_per_second);
        }
        let (least, most) = far.latency.into_inner();
        let chance = self.chance(FaultKind::LatencySpike, message.from.as_str());
        way.held += chance.random_range(least..=most.max(least));
    }

    /// Waits behind what was sent before; `false` if that is too long.
    fn wait_for_turn(&mut self, way: &mut Way, message: &Message<'_>) -> bool {
        let Some(rate) = way.bytes_per_second else { return true };
        let pair = (message.from.clone(), message.to.clone());
        let free_at = self.links.free_at.get(&pair).copied().unwrap_or_default().max(message.at);
        if free_at > message.at {
            self.count(FaultKind::Bandwidth, message.from.as_str());
        }
        let longest = match self.tier {
            Tier::Memory => FRAME_WAITS_MAX,
            Tier::Quic | Tier::Disks => DATAGRAM_WAITS_MAX,
            Tier::Real => Duration::MAX,
        };
        if free_at - message.at > longest {
            return false;
        }
        let micros = (message.bytes as u64).saturating_mul(1_000_000) / rate.max(1);
        let passed = free_at + Duration::from_micros(micros);
        self.links.free_at.insert(pair, passed);
        way.held += passed - message.at;
        true
    }

    fn copies(&mut self, way: &Way, message: &Message<'_>) -> Vec<Copy> {
        let mut copies: Vec<Copy> = (0..way.copies).map(|_| self.copy(way, message)).collect();
        let stale = way.stale_after.map(|after| Copy { held: way.held + after, damage: None });
        copies.extend(stale);
        copies
    }

    fn copy(&mut self, way: &Way, message: &Message<'_>) -> Copy {
        let (from, mut held, mut damage) = (message.from.as_str(), way.held, None);
        for (percent, late_max) in &way.reordering {
            if self.strikes(FaultKind::Reordering, from, *percent) {
                let chance = self.chance(FaultKind::Reordering, from);
                held += chance.random_range(TICK.min(*late_max)..=*late_max);
            }
        }
        for percent in &way.corruption {
            if message.bytes > 0 && self.strikes(FaultKind::Corruption, from, *percent) {
                let bit =
                    self.chance(FaultKind::Corruption, from).random_range(0..message.bytes * 8);
                damage = Some(Damage::FlippedBit(bit));
            }
        }
        for percent in &way.truncation {
            if message.bytes > 0 && self.strikes(FaultKind::Truncation, from, *percent) {
                let left = self.chance(FaultKind::Truncation, from).random_range(0..message.bytes);
                damage = Some(Damage::CutTo(left));
            }
        }
        Copy { held, damage }
    }
}

impl Way {
    fn narrow(&mut self, bytes_per_second: u64) {
        let least =
            self.bytes_per_second.map_or(bytes_per_second, |known| known.min(bytes_per_second));
        self.bytes_per_second = Some(least);
    }
}
