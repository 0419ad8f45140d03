//! How many bodies a node gives at once, and to whom.
//!
//! Promises that no peer has more of them than its share, so that one that asks for all leaves some to the others.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use updraft_transport::{NodeId, body::STREAMS_MAX};

use crate::rpc::{Fault, FaultKind};

/// Bodies that a node sends at once; whoever wants another one is told to come again. Each holds a piece in memory and
/// what QUIC has not heard to have arrived, some 4 MiB on a fast link.
pub const SERVED_MAX: usize = 64;

/// Those of them that go to one peer: as many as it has streams for.
pub const SERVED_PER_PEER_MAX: usize = STREAMS_MAX as usize;

/// How many bodies each peer is sent now.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<BTreeMap<NodeId, usize>>);

/// The room of one body, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    served: Arc<Served>,
    peer: NodeId,
}

impl Served {
    /// Room for one more body to this peer; without it, what to tell the peer.
    pub(super) fn admit(self: &Arc<Self>, peer: &NodeId) -> Result<Room, Fault> {
        let mut served = self.0.lock();
        if served.values().sum::<usize>() >= SERVED_MAX {
            return Err(busy(format!("{SERVED_MAX} bodies are under way from here already")));
        }
        let of_peer = served.entry(peer.clone()).or_default();
        if *of_peer >= SERVED_PER_PEER_MAX {
            let words = format!("{SERVED_PER_PEER_MAX} bodies are under way to {peer} already");
            return Err(busy(words));
        }
        *of_peer += 1;
        Ok(Room { served: Arc::clone(self), peer: peer.clone() })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut served = self.served.0.lock();
        match served.get_mut(&self.peer) {
            Some(of_peer) if *of_peer > 1 => *of_peer -= 1,
            _ => {
                served.remove(&self.peer);
            }
        }
    }
}

fn busy(words: String) -> Fault {
    Fault::new(FaultKind::Unavailable, "Busy", format!("{words}; try again soon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> NodeId {
        NodeId::new(&format!("peer-{number}")).expect("a name")
    }

    /// The rooms that this peer gets until it is told to come again.
    fn all_for(served: &Arc<Served>, peer: &NodeId) -> Vec<Room> {
        std::iter::from_fn(|| served.admit(peer).ok()).collect()
    }

    #[test]
    fn a_peer_that_asks_for_all_leaves_some_to_the_others() {
        let served = Arc::new(Served::default());
        let greedy = all_for(&served, &peer(0));
        assert_eq!(greedy.len(), SERVED_PER_PEER_MAX);
        assert_eq!(served.admit(&peer(0)).expect_err("room").code, "Busy");
        served.admit(&peer(1)).expect("the share of another");
    }

    #[test]
    fn all_peers_together_get_no_more_than_there_is() {
        let served = Arc::new(Served::default());
        let rooms: usize = (0..SERVED_MAX)
            .map(|number| all_for(&served, &peer(number)))
            .collect::<Vec<_>>()
            .iter()
            .map(Vec::len)
            .sum();
        assert_eq!(rooms, SERVED_MAX);
    }

    #[test]
    fn a_body_that_has_ended_makes_room_and_leaves_nothing_behind() {
        let served = Arc::new(Served::default());
        let mut rooms = all_for(&served, &peer(0));
        rooms.pop();
        rooms.push(served.admit(&peer(0)).expect("room again"));
        drop(rooms);
        assert!(served.0.lock().is_empty());
    }
}
