//! Actors that one node starts on another, and supervises from afar.
//!
//! Owns the kinds of actors that a node can be told to run, and the leases by which their owners keep them. An owner
//! renews its lease every [`RENEW`]; a host ends an actor whose lease has passed, by its own clock. A lease lasts from
//! what the owner has heard: the host tells its time in each answer, and the next renewal brings that time back. So an
//! owner that has heard nothing for a whole lease knows that its actor is gone, however late or lost messages are: it
//! hears of an end only when the end is certain, and may then start another one anywhere. No two actors of one
//! [`RemoteActor`] take messages at the same time. A handler that is under way when its actor ends is not ended from
//! outside, like every handler: keep handlers short, and what they do fenced.
//!
//! What is started is a [`Service`](crate::rpc::Service) of its own, with a name of its own, that is called by
//! [`RemoteActor::address`] from any node. It lives and dies with its node's process, and holds what its closures hold.
//!
//! ```
//! # use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! # use ractor::SpawnErr;
//! # use serde::{Deserialize, Serialize};
//! # use updraft_runtime::{message, protocol};
//! # use updraft_runtime::rpc::{Cx, Fault, Rpc, Service};
//! # use updraft_runtime::{node::Prepared, spawn::{Kinds, Place, remote_child}, supervise::{Settings, Supervisor}};
//! # struct Counter;
//! # protocol!(Counter = "counter");
//! # #[derive(Serialize, Deserialize)]
//! # struct Count(u64);
//! # message!(call Count = Counter / "count", Never, from ["owner"], to ["host"], reply u64);
//! // On the hosts: a kind is a name, whose owners may have it, and how its service is made from their argument.
//! async fn counter(start: u64, _: Place) -> Result<Service, Fault> {
//!     let total = Arc::new(AtomicU64::new(start));
//!     let handlers = Service::of::<Counter>().call(move |_, Count(by)| {
//!         let total = total.fetch_add(by, Ordering::Relaxed) + by;
//!         async move { Ok(total) }
//!     });
//!     Ok(handlers.into())
//! }
//! fn host(prepared: Prepared) -> Prepared {
//!     prepared.with_kinds(Kinds::new().with("counter", &["owner"], counter))
//! }
//!
//! // On the owner: one of them, on any node that lives and has the role, and on another one when it has ended.
//! async fn own(rpc: &Rpc, cx: &Cx) -> Result<(), Box<dyn std::error::Error>> {
//!     let place = |rpc: &Rpc| {
//!         let hosts = rpc.directory().members().into_iter().map(|heard| heard.member);
//!         hosts.filter(|host| host.roles.iter().any(|role| &*role.0 == "host"))
//!             .find(|host| rpc.directory().is_live(&host.node))
//!             .map(|host| host.node)
//!     };
//!     let (child, mut address) = remote_child(rpc, "counter", "counter", &100_u64, place)?;
//!     let supervisor = Supervisor::start(rpc.env().clone(), Settings::default(), vec![child]).await?;
//!     let address = address.wait_for(Option::is_some).await?.clone();
//!     if let Some(address) = address {
//!         rpc.client::<Counter>().at(address).call(&Count(1), cx).await?;
//!     }
//!     supervisor.stop().await;
//!     Ok(())
//! }
//! ```

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{message, protocol};

mod host;
mod kinds;
mod owner;

pub(crate) use host::Host;
pub use kinds::{Kinds, Place};
pub use owner::{RemoteActor, SpawnError, remote_child, spawn};

/// The topic of the nodes that can be told to run actors.
pub const TOPIC: &str = "spawn";

/// What they understand.
struct Spawning;
protocol!(Spawning = TOPIC);

/// How often an owner renews its lease.
pub const RENEW: Duration = Duration::from_secs(1);

/// How long an actor goes on without its owner, from when that last heard of the host: four renewals may be lost.
pub const LEASE: Duration = Duration::from_secs(6);

/// How much longer an owner waits before it takes a silent actor for gone: clocks differ in their pace, by far less
/// than a quarter.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Actors that others have started on one node at most.
pub const SPAWNED_MAX: usize = 10_000;

/// A host's clock, as its owner has heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HostTime {
    /// Which life of the host it is of.
    incarnation: u64,
    /// Since that life began.
    ms: u64,
}

/// "What time is it?" Asked before anything is wanted.
#[derive(Debug, Serialize, Deserialize)]
struct Time;
message!(call Time = Spawning / "time", Fenced, from ["*"], to ["*"], reply HostTime, class Control,
    deadline_ms 2_000);

/// "Run an actor of this kind." Said again, it changes nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Spawn {
    /// The actor.
    id: Uuid,
    /// Its kind.
    kind: String,
    /// What it is made from, in its kind's own encoding.
    args: Bytes,
    /// From when on its lease lasts.
    heard: HostTime,
}
message!(call Spawn = Spawning / "spawn", Fenced, from ["*"], to ["*"], reply ());

/// "I still want this one."
#[derive(Debug, Serialize, Deserialize)]
struct Renew {
    /// The actor.
    id: Uuid,
    /// From when on its lease lasts.
    heard: HostTime,
}
message!(call Renew = Spawning / "renew", Fenced, from ["*"], to ["*"], reply Life, class Control,
    deadline_ms 1_000);

/// "I want this one no longer."
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// The actor.
    id: Uuid,
}
message!(call End = Spawning / "end", Fenced, from ["*"], to ["*"], reply ());

/// What has become of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Life {
    /// It runs, and this is the time.
    Runs(HostTime),
    /// It has ended, for this reason.
    Ended(String),
    /// This life of the node knows nothing of it.
    Unknown,
}
