//! Where the nodes of a simulated cloud keep their rows, and hosts what they have of guests and volumes: in memory that
//! outlives them, or on tier 3 in files on disks that can fail.

use std::io;

use futures_util::FutureExt;
use parking_lot::Mutex;
use updraft_harness::world::{NodeContext, Tier};
use updraft_runtime::store::{OpenError, Store};
use updraft_transport::NodeId;

use super::{DidNotStart, Machine, SimCloud};

/// The database as a control node has it; `None` if it cannot be opened, and then the node gives up its start.
pub(super) async fn of_control(
    context: &NodeContext,
    shared: &Mutex<Option<Store>>,
    tier: Tier,
) -> Option<Store> {
    if tier != Tier::Disks {
        let env = context.env.clone();
        return Some(shared.lock().get_or_insert_with(|| Store::memory(env)).clone());
    }
    let store = on_disk(context, "control.redb").await?;
    *shared.lock() = Some(store.clone());
    Some(store)
}

/// A host's own store, in the same way.
pub(super) async fn of_host(context: &NodeContext, tier: Tier) -> Option<Store> {
    if tier != Tier::Disks {
        let store = context.disk.keep(|| Store::memory(context.env.clone()));
        return Some(context.handles().keep(|| store));
    }
    let store = on_disk(context, "compute.redb").await?;
    Some(context.handles().keep(|| store))
}

/// A host's machine in this life of its node, in the same way.
pub(super) async fn machine(
    context: &NodeContext,
    machine: Machine,
    tier: Tier,
) -> Option<Machine> {
    if tier != Tier::Disks {
        return Some(machine);
    }
    let env = context.env.clone();
    let opened = context.env.blocking(move || machine.on_disk(&env)).await;
    let given_up = |error: io::Error| {
        tracing::error!(node = %context.node(), %error, "a machine's disk was not read");
        if error.kind() == io::ErrorKind::InvalidData {
            context.handles().keep(|| Damaged(error.to_string()));
        }
        context.handles().keep(|| DidNotStart);
    };
    opened.unwrap_or_else(|gone| Err(io::Error::other(gone))).map_err(given_up).ok()
}

/// A node has left it whose store cannot be read although its disk can.
#[derive(Clone)]
pub(super) struct Damaged(pub(super) String);

async fn on_disk(context: &NodeContext, name: &str) -> Option<Store> {
    let opened = Store::redb_on(context.env.clone(), context.drive.file(name)).await;
    let given_up = |error: OpenError| {
        tracing::error!(node = %context.node(), %error, "a store was not opened");
        if matches!(error, OpenError::Damaged { .. }) {
            context.handles().keep(|| Damaged(error.to_string()));
        }
        context.handles().keep(|| DidNotStart);
    };
    opened.map_err(given_up).ok()
}

fn serves(store: &Store) -> bool {
    store.begin().now_or_never().is_some_and(|began| began.is_ok())
}

impl SimCloud {
    /// The database of the control nodes, without the faults of a shared one. On tier 3 it serves while its node does.
    #[must_use]
    pub fn database(&self) -> Option<Store> {
        self.shared.database.lock().clone()
    }

    /// The store of a host that runs.
    #[must_use]
    pub fn store_of(&self, host: &NodeId) -> Option<Store> {
        self.world.handle(host)
    }

    /// Whether the database can be read now.
    #[must_use]
    pub fn database_serves(&self) -> bool {
        self.database().is_some_and(|database| serves(&database))
    }

    /// Whether everything that nodes keep can be read now.
    #[must_use]
    pub fn stores_serve(&self) -> bool {
        let of_hosts = self.hosts.iter().map(|host| self.store_of(host));
        let mut of_hosts = of_hosts.map(|store| store.is_some_and(|store| serves(&store)));
        self.database_serves() && of_hosts.all(|serves| serves)
    }
}
