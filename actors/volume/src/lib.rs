//! The volume service: disks that outlive the servers they are attached to.
//!
//! Owns the rows of volumes and snapshots, and on each volume node their files. Promises that an attachment
//! belongs to one server, that a volume's bytes are in one place, and that a row goes only when its file is
//! confirmed gone. The control side never touches a file, and a node never touches the shared store.
//!
//! A volume is reached on the host that has its file; from another host it is not reached at all.

use std::sync::Arc;

use axum::Router;
use updraft_edge::{
    context::{Context, owns},
    policy::Enforcer,
    rest::{Service as Rest, ServiceError},
};
use updraft_protocol::{hypervisor::DiskFormat, identity::Principal, volume::Connect};
use updraft_runtime::{
    policy::{Policy, Target},
    rows::Engine,
    rpc::Service,
    store::Shape,
};

mod actor;
mod api;
pub mod decisions;
pub mod driver;
mod error;
mod node;
mod plan;
mod policy;
mod quota;
mod repository;
mod rows;
mod usage;

pub use node::{AgentContext, VolumeAgent};
pub use usage::{Held, Usage};

use error::Error;
use plan::{Hands, Snapshots, Volumes};
use repository::Repository;
use rows::{SnapshotRow, VolumeRow};

/// Prefix of this service's rows in the store.
const PREFIX: &str = "volume/";

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The format of new volumes.
    pub format: DiskFormat,
    /// Rules; the defaults with or without changes.
    pub policy: Arc<Policy>,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: DiskFormat::Qcow2, policy: policy::default_policy() }
    }
}

/// The volume service on one control node; clones share it.
#[derive(Clone)]
pub struct Volume {
    shared: Arc<Shared>,
}

/// What every part of the service can see.
struct Shared {
    context: Context,
    config: Config,
    enforcer: Enforcer,
    repository: Repository,
    volumes: Engine<Volumes>,
    snapshots: Engine<Snapshots>,
}

impl Volume {
    /// The service; it does nothing by itself before [`Volume::start`].
    #[must_use]
    pub fn new(context: Context, config: Config) -> Self {
        let context = Context { store: context.store.scoped(PREFIX), ..context };
        let hands = Hands { rpc: context.rpc.clone() };
        let (env, store) = (&context.env, &context.store);
        let (owns, board) = (owns::<Connect>(&context.rpc), context.rpc.alarms());
        let volumes =
            Engine::new(env, store.clone(), Volumes(hands.clone()), owns.clone()).shown_on(board);
        let snapshots = Engine::new(env, store.clone(), Snapshots(hands), owns).shown_on(board);
        let shared = Shared {
            enforcer: Enforcer::new(Rest::Volume, config.policy.clone()),
            repository: Repository::new(env, store.clone()),
            context,
            config,
            volumes,
            snapshots,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What answers other services.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        vec![actor::service(&self.shared)]
    }

    /// What answers users.
    pub fn router(&self) -> Router {
        api::router(&self.shared)
    }

    /// Starts what goes on by itself: rows converge.
    pub fn start(&self) {
        self.shared.volumes.start();
        self.shared.snapshots.start();
    }
}

impl Shared {
    /// Refuses what the rule does not allow; a volume that the caller may not see does not exist.
    fn on_volume(
        &self,
        user: &Principal,
        service: Option<&Principal>,
        rule: &str,
        row: &VolumeRow,
    ) -> Result<(), Error> {
        let hidden = || Error::VolumeNotFound(row.id.to_string());
        self.on(user, service, rule, "volume:get", &row.project, hidden)
    }

    /// The same for a snapshot.
    fn on_snapshot(
        &self,
        user: &Principal,
        service: Option<&Principal>,
        rule: &str,
        row: &SnapshotRow,
    ) -> Result<(), Error> {
        let hidden = || Error::SnapshotNotFound(row.id.to_string());
        self.on(user, service, rule, "volume:get_snapshot", &row.project, hidden)
    }

    fn on(
        &self,
        user: &Principal,
        service: Option<&Principal>,
        rule: &str,
        seeing: &str,
        project: &str,
        hidden: impl Fn() -> Error,
    ) -> Result<(), Error> {
        let caller = self.enforcer.principal(user, service);
        let target = Target::new().with("project_id", project).with("tenant_id", project);
        if !caller.may(seeing, &target) {
            return Err(hidden());
        }
        caller.must(rule, &target).map_err(|denied: ServiceError| denied.into())
    }
}

/// Every kind of row that this crate stores, on control nodes and on hosts.
#[must_use]
pub fn stored() -> Vec<Shape> {
    vec![
        Shape::of::<VolumeRow>(),
        Shape::of::<SnapshotRow>(),
        Shape::of::<rows::QuotaRow>(),
        node::stored(),
    ]
}
