//! What a control node tells of its table, and how far somebody has been told.

use serde::{Deserialize, Serialize};
use updraft_transport::Incarnation;

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
