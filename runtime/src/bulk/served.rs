//! How many bodies a node gives at once, and to whom.

use updraft_transport::{NodeId, body::BODY_STREAMS_MAX};

use crate::{
    rpc::{Fault, FaultKind},
    shares::{Full, Shares},
};

/// Bodies that a node sends at once; whoever wants another one is told to come again. Each holds a piece in memory and
/// what QUIC has not heard to have arrived, some 4 MiB on a fast link.
pub const SERVED_MAX: usize = 64;

/// Those of them that go to one peer: as many as it has streams for.
pub const SERVED_PER_PEER_MAX: usize = BODY_STREAMS_MAX as usize;

/// Places for the bodies that a node gives.
pub(super) fn places() -> Shares<NodeId> {
    Shares::new(SERVED_MAX, SERVED_PER_PEER_MAX)
}

/// What a peer is told that gets none.
pub(super) fn busy(full: Full, peer: &NodeId) -> Fault {
    let words = match full {
        Full::All => format!("{SERVED_MAX} bodies are under way from here already"),
        Full::Share => format!("{SERVED_PER_PEER_MAX} bodies are under way to {peer} already"),
    };
    Fault::new(FaultKind::Unavailable, "Busy", format!("{words}; try again soon"))
}
