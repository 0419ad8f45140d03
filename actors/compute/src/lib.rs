//! The compute service: servers, the scheduler that places them, the conductor that answers hosts, and the
//! compute node that makes them.
//!
//! Owns servers, flavors, key pairs, server groups, quotas and hosts. Promises one guest per server, a claim
//! for as long as a placement, and that what was acknowledged is carried to its end. Never touches another
//! service's rows: ports, volumes and images are asked for.

pub mod actions;
pub mod child;
pub mod conductor;
pub mod disks;
pub mod files;
pub mod groups;
pub mod hypervisor;
pub mod node;
pub mod plan;
pub mod rows;
pub mod scheduler;
pub mod servers;
pub mod simulated;

pub use updraft_protocol::compute::Goal;

use updraft_edge::context::{Context, owns};
use updraft_protocol::compute::CONDUCTOR;
use updraft_runtime::{rows::Engine, rpc::Service};

use crate::{
    conductor::Conductor,
    scheduler::{Driver, DriverKind, Ratios, Scheduler},
    servers::Servers,
};

/// What may differ between clouds.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How hosts are ranked.
    pub scheduler: DriverKind,
    /// How much more than it has a host may promise.
    pub ratios: Ratios,
}

/// Compute on a control node; cheap to clone.
#[derive(Clone)]
pub struct Compute {
    context: Context,
    engine: Engine<Servers>,
    scheduler: Scheduler,
}

impl Compute {
    /// Compute with these settings.
    #[must_use]
    pub fn new(context: Context, config: &Config) -> Self {
        let store = context.store.scoped("compute/");
        let context = Context { store, ..context };
        let servers = Servers { env: context.env.clone(), rpc: context.rpc.clone() };
        let owner = owns(&context.rpc, CONDUCTOR);
        let engine = Engine::new(&context.env, context.store.clone(), servers, owner);
        let scheduler = Scheduler::new(
            context.rpc.clone(),
            context.store.clone(),
            context.tracer.clone(),
            Driver::new(config.scheduler),
            config.ratios,
        );
        Self { context, engine, scheduler }
    }

    /// The services to run.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let conductor = Conductor::new(self.context.clone(), self.engine.clone());
        vec![conductor.service(), self.scheduler.service()]
    }

    /// Begins to plan.
    pub fn start(&self) {
        self.engine.start();
        self.context.env.spawn("compute.members", self.clone().follow_members());
    }

    /// Plans everything when a member comes or goes, since who acts for which row has changed.
    async fn follow_members(self) {
        let mut changes = self.context.rpc.directory().changes();
        while changes.changed().await.is_ok() {
            self.engine.wake_all();
        }
    }
}
