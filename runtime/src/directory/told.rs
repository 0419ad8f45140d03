//! How beats and their answers speak of members, what a control node tells of its table, and how far somebody has been told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_transport::{Incarnation, NodeId};

use super::{Heard, Member};

/// Changes in one answer at most: at some 200 bytes each, half of what a frame of the control stream may hold.
pub const CHANGES_MAX: usize = 150;

/// How far a node has been told of a control node's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// Of which life of the control node: its next one counts anew.
    incarnation: Incarnation,
    /// The last change that was told.
    version: u64,
}

impl Since {
    pub(super) fn new(incarnation: Incarnation, version: u64) -> Self {
        Self { incarnation, version }
    }

    /// The last change that was told in this life of the control node; 0 is none.
    pub(super) fn version_of(self, incarnation: Incarnation) -> u64 {
        if self.incarnation == incarnation { self.version } else { 0 }
    }

    /// Whether it was told before the other: answers may overtake one another.
    pub(super) fn is_behind(self, other: Self) -> bool {
        (self.incarnation, self.version) < (other.incarnation, other.version)
    }

    /// Whether both are of the same life of the control node.
    pub(super) fn is_of_the_life_of(self, other: Self) -> bool {
        self.incarnation == other.incarnation
    }
}

/// A member as whoever is addressed knows it already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its id.
    pub node: NodeId,
    /// How often it has started.
    pub incarnation: Incarnation,
    /// Which of its words about itself in this life is known.
    pub edition: u64,
}

impl Named {
    /// Whether it is named as this member describes itself.
    pub(super) fn is(&self, member: &Member) -> bool {
        (self.incarnation, self.edition) == member.edition() && self.node == member.node
    }
}

/// A member, in full where that is news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// It is known already.
    Known(Named),
    /// As it describes itself.
    InFull(Member),
}

impl Who {
    /// A member to somebody who knows it by now, or does not.
    pub(super) fn of(member: &Member, is_known: bool) -> Self {
        if is_known {
            let (incarnation, edition) = member.edition();
            return Self::Known(Named { node: member.node.clone(), incarnation, edition });
        }
        Self::InFull(member.clone())
    }

    /// Its id.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        match self {
            Self::Known(named) => &named.node,
            Self::InFull(member) => &member.node,
        }
    }
}

/// A control node, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Which.
    pub who: Who,
    /// Milliseconds since its last beat.
    pub age_ms: u64,
    /// How many messages it had begun or queued then.
    pub load: usize,
}

impl From<Heard> for Pulse {
    fn from(Heard { member, age_ms, load }: Heard) -> Self {
        Self { who: Who::InFull(member), age_ms, load }
    }
}

/// When somebody was heard who was heard so long ago; `None` is before this node's start.
pub(super) fn heard_at(now: Duration, age_ms: u64) -> Option<Duration> {
    now.checked_sub(Duration::from_millis(age_ms))
}
