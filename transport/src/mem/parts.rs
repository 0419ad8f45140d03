//! What the switch is made of: nodes and their lives, and what is on its way between them.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::bodies::Number;
use crate::{
    id::{Incarnation, NodeId, PeerIdentity},
    link::Event,
    wire::Class,
};

/// A node by the order of its first appearance.
pub(super) type Node = usize;
/// One attachment, different for each start of each node.
pub(super) type Life = u64;

/// One life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) life: Life,
}

pub(super) struct Known {
    pub(super) id: NodeId,
    /// As of its latest attachment; what a crashed node sent still arrives under it.
    pub(super) identity: Option<PeerIdentity>,
    pub(super) attached: Option<Attached>,
}

pub(super) struct Attached {
    pub(super) incarnation: Incarnation,
    pub(super) life: Life,
    pub(super) events: mpsc::Sender<Event>,
    /// What is due but finds the events full, oldest first.
    pub(super) held: VecDeque<Parcel>,
}

/// Something on its way to `to`.
pub(super) struct Parcel {
    pub(super) from: Place,
    pub(super) to: Node,
    /// The life it was sent to; `None` if nobody was there.
    pub(super) to_life: Option<Life>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Frame {
        class: Class,
        bytes: Bytes,
        /// Whether it is the second of two or more.
        copy: bool,
    },
    Down {
        reason: String,
    },
    /// The next bytes of a body, by its stream.
    OfBody(Number),
}

/// What is under way from one node to another in one class.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}
