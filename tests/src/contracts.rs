//! What a message may count on, held against what was done: nodes that ask and nodes that are asked, and a record of
//! which message was begun where, how often, and what its sender was told.
//!
//! Owns the nodes, their messages, one of each contract, and the judgement. What goes wrong is the scenario's.

pub(crate) mod nodes;
mod record;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_harness::world::{Tier, World};
use updraft_transport::{NodeId, PeerIdentity};

pub(crate) use record::Record;

/// Those that send.
pub(crate) const CALLERS: [&str; 2] = ["caller-1", "caller-2"];

/// One whose role lets it send nothing to servers.
pub(crate) const STRANGER: &str = "stranger";

/// How long all have to find one another.
pub(crate) const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// A world of callers, these servers and a stranger, in which everybody has just been added, and what will be known of
/// its messages.
pub(crate) fn world(seed: u64, tier: Tier, servers: &[&str]) -> (World, Record) {
    let (mut world, record) = (World::on_tier(seed, tier), Record::default());
    for name in CALLERS {
        world.add(PeerIdentity::new(id(name), &["control"]), nodes::caller(&CALLERS));
    }
    for name in servers {
        let boot = nodes::server(&record, &CALLERS);
        world.add(PeerIdentity::new(id(name), &["compute"]), boot);
    }
    world.add(PeerIdentity::new(id(STRANGER), &["user"]), nodes::stranger(&CALLERS));
    (world, record)
}

/// The node of this name.
pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap_or_else(|error| panic!("{error}"))
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A call that may be repeated anywhere.
    Fenced,
    /// The same, whose handler panics the first time.
    Shaky,
    /// A call that is repeated to the same server, which remembers.
    Remembered,
    /// A call that is never repeated.
    Once,
    /// A cast.
    Note,
    /// A cast to every server.
    Fanout,
    /// A call that asks the other server, which asks back.
    Relay,
    /// A call that its sender may not send.
    Stranger,
}
