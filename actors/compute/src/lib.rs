//! The compute service: servers, the scheduler that places them, the conductor that answers hosts, and the
//! compute node that makes them.
//!
//! Owns servers, flavors, key pairs, server groups, quotas and hosts. Promises one guest per server, a claim
//! for as long as a placement, and that what was acknowledged is carried to its end. Never touches another
//! service's rows: ports, volumes and images are asked for.

pub mod actions;
mod api;
mod bootstrap;
pub mod child;
pub mod conductor;
pub mod consoles;
pub mod disks;
pub mod drains;
mod error;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod groups;
pub mod hosts;
pub mod hypervisor;
pub mod node;
pub mod plan;
pub mod policy;
mod quota;
pub mod reservations;
pub mod rows;
pub mod scheduler;
pub mod servers;
pub mod simulated;
pub mod view;

pub use updraft_protocol::compute::Goal;

use std::sync::Arc;

use axum::Router;
use updraft_edge::context::{Context, owns};
use updraft_protocol::compute::GetServer;
use updraft_runtime::{
    policy::Policy,
    rows::Engine,
    rpc::Service,
    store::{Shape, StoreError},
};
use uuid::Uuid;

use crate::{
    conductor::Conductor,
    consoles::{ConsoleConfig, Consoles},
    drains::Drains,
    reservations::Reservations,
    scheduler::{Driver, Judge, Ratios, Scheduler},
    servers::Servers,
};

// Compiles what the book says of filters.
#[cfg(doctest)]
#[doc = include_str!("../../../book/src/embed.md")]
struct Book;

/// What may differ between clouds.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which hosts can take a server, and which is best.
    pub scheduler: Arc<Driver>,
    /// How much more than it has a host may promise.
    pub ratios: Ratios,
    /// How consoles are reached.
    pub consoles: ConsoleConfig,
    /// Rules that replace the defaults.
    pub policy: Option<Arc<Policy>>,
}

/// Where the steps of a server's last request are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Whose server it is.
    pub project_id: String,
    /// The traces of the token that made it, and of the request.
    pub traces: [[u8; 16]; 2],
}

/// Compute on a control node; cheap to clone.
#[derive(Clone)]
pub struct Compute {
    context: Context,
    engine: Engine<Servers>,
    reservations: Engine<Reservations>,
    drains: Engine<Drains>,
    judge: Judge,
    scheduler: Scheduler,
    consoles: Consoles,
    router: Router,
}

impl Compute {
    /// Compute with these settings.
    #[must_use]
    pub fn new(context: Context, config: &Config) -> Self {
        let store = context.store.scoped("compute/");
        let context = Context { store, ..context };
        let directory = context.rpc.directory().clone();
        let judge = Judge::new(directory, config.scheduler.clone(), config.ratios);
        let servers =
            Servers { env: context.env.clone(), rpc: context.rpc.clone(), judge: judge.clone() };
        let owner = owns::<GetServer>(&context.rpc);
        let engine = Engine::new(&context.env, context.store.clone(), servers, owner.clone())
            .shown_on(context.rpc.alarms());
        let held = Reservations { rpc: context.rpc.clone() };
        let reservations = Engine::new(&context.env, context.store.clone(), held, owner)
            .shown_on(context.rpc.alarms());
        let drains = Drains { store: context.store.clone(), judge: judge.clone() };
        let drains = Engine::new(
            &context.env,
            context.store.clone(),
            drains,
            owns::<GetServer>(&context.rpc),
        );
        let policy = config.policy.clone().unwrap_or_else(policy::default_policy);
        let consoles = Consoles::new(&context, config.consoles.clone());
        let router = api::router(&context, policy, config.ratios, judge.clone(), consoles.clone());
        let scheduler = Scheduler::new(
            context.rpc.clone(),
            context.store.clone(),
            context.tracer.clone(),
            judge.clone(),
        );
        Self { context, engine, reservations, drains, judge, scheduler, consoles, router }
    }

    /// What answers users: the version documents and `/v2.1` and `/v2` below its root.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Servers' consoles.
    #[must_use]
    pub fn consoles(&self) -> &Consoles {
        &self.consoles
    }

    /// Under which traces the steps of a server's last request are recorded; `None` if there is no such server.
    pub async fn traced(&self, server: Uuid) -> Result<Option<Traced>, StoreError> {
        let row =
            self.context.store.read(|txn| txn.get::<rows::ServerRow>(&server.to_string())).await?;
        Ok(row.map(|row| Traced {
            project_id: row.project_id,
            traces: [row.token_trace, row.trace.trace_id],
        }))
    }

    /// Makes what a new cloud has from the start: flavors, if there are none.
    pub async fn bootstrap(&self) -> Result<(), StoreError> {
        bootstrap::flavors(&self.context.store).await
    }

    /// The services to run.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let conductor = Conductor::new(self.context.clone(), self.engine.clone());
        vec![conductor.service(), self.scheduler.service()]
    }

    /// Begins to plan, and to forget.
    pub fn start(&self) {
        self.engine.start();
        self.reservations.start();
        self.drains.start();
        let forget = actions::forget_forever(self.context.env.clone(), self.context.store.clone());
        self.context.env.spawn("compute.actions", forget);
        self.context.env.spawn("compute.members", self.clone().follow_members());
    }

    /// Plans everything when a member comes or goes, since who acts for which row has changed.
    async fn follow_members(self) {
        let mut changes = self.context.rpc.directory().changes();
        loop {
            changes.changed().await;
            self.engine.wake_all();
            self.reservations.wake_all();
            self.drains.wake_all();
        }
    }
}

/// Every kind of row that this crate stores, on control nodes and on hosts.
#[must_use]
pub fn stored() -> Vec<Shape> {
    vec![
        Shape::of::<rows::ServerRow>(),
        Shape::of::<rows::HostRow>(),
        Shape::of::<rows::LeftRow>(),
        Shape::of::<drains::DrainRow>(),
        Shape::of::<rows::FlavorRow>(),
        Shape::of::<rows::KeyPairRow>(),
        Shape::of::<rows::ReservationRow>(),
        Shape::of::<rows::UsageRow>(),
        Shape::of::<rows::QuotaRow>(),
        Shape::of::<rows::ConsoleRow>(),
        Shape::of::<groups::GroupRow>(),
        Shape::of::<actions::ActionRow>(),
        Shape::of::<node::GuestRow>(),
    ]
}
