//! A control node: every service of the cloud behind one router.

use std::sync::Arc;

use axum::Router;
use updraft_compute::{Compute, consoles::Consoles};
use updraft_edge::{context::Context, verify::Verifier};
use updraft_identity::{BootstrapConfig, Identity, SnapshotKeeper};
use updraft_image::Image;
use updraft_network::Network;
use updraft_runtime::{
    node::{Node, Parts, Prepared},
    notify::{self, Feed, Kept},
    rpc::Service,
    store::{MigrateError, Store},
    trace::collect::{self, Collector},
};
use updraft_volume::Volume;

use crate::{events, membership::Registrar, rest, standing};

/// The settings of all services.
#[derive(Clone, Default)]
pub struct ControlConfig {
    /// The region's name.
    pub region: String,
    /// Identity.
    pub identity: updraft_identity::Config,
    /// Image.
    pub image: updraft_image::Config,
    /// Compute.
    pub compute: updraft_compute::Config,
    /// Network.
    pub network: updraft_network::Config,
    /// Volume.
    pub volume: updraft_volume::Config,
    /// Lets nodes join and renews their certificates; only a node with the CA has one.
    pub registrar: Option<Registrar>,
}

/// A running control node; cheap to clone.
#[derive(Clone)]
pub struct Control {
    node: Arc<Node>,
    services: Arc<Services>,
}

struct Services {
    context: Context,
    keeper: SnapshotKeeper,
    identity: Identity,
    image: Image,
    compute: Compute,
    network: Network,
    volume: Volume,
    collector: Collector,
    registrar: Option<Registrar>,
    /// The cloud's own API.
    own: Router,
}

/// Why a control node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An actor did not start.
    #[error("an actor did not start")]
    Actor(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Rows of another version could not be brought up to date.
    #[error("the store cannot be used: {0}")]
    Rows(#[from] MigrateError),
    /// The first rows could not be written.
    #[error("what a cloud begins with could not be written: {0}")]
    Bootstrap(String),
}

/// Brings all rows of a store into the shape of today. To be called before anything else reads or writes them: rows that
/// are written earlier would be taken for rows of the first version.
pub async fn migrate(store: &Store) -> Result<(), StartError> {
    for schema in &crate::SCHEMAS {
        store.migrate(schema).await?;
    }
    Ok(())
}

impl Control {
    /// Starts every service on these parts and on a store that was [migrated](migrate). `bootstrap` makes what a cloud
    /// begins with, if it is missing.
    pub async fn start(
        parts: Parts,
        store: Store,
        config: ControlConfig,
        bootstrap: &BootstrapConfig,
    ) -> Result<Self, StartError> {
        let env = parts.env.clone();
        let prepared = Prepared::new(parts);
        let context = Context {
            env: env.clone(),
            rpc: prepared.rpc(),
            store,
            tracer: prepared.tracer(),
            verifier: Arc::new(Verifier::new()),
            region: config.region.clone(),
        };
        let services = Arc::new(Services::new(context, config));
        let mut offered = services.offered();
        offered.push(prepared.directory().service());
        services.identity.publish().await;
        let node =
            prepared.start(offered).await.map_err(|error| StartError::Actor(Box::new(error)))?;
        collect::start(&env, node.tracer().clone(), node.rpc().clone());
        services.bootstrap(bootstrap).await?;
        services.start();
        Ok(Self { node: Arc::new(node), services })
    }

    /// The node that it runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Collects traces.
    #[must_use]
    pub fn collector(&self) -> &Collector {
        &self.services.collector
    }

    /// Images, for checks of what is kept.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.services.image
    }

    /// Servers' consoles.
    #[must_use]
    pub fn consoles(&self) -> &Consoles {
        self.services.compute.consoles()
    }

    /// What every service is made from.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.services.context
    }

    /// Every API of the cloud by DevStack's paths, and compute at the root as on its own port 8774.
    pub fn router(&self) -> Router {
        let services = &self.services;
        Router::new()
            .nest_service("/identity", services.identity.router())
            .nest_service("/image", services.image.router())
            .nest_service("/compute", services.compute.router())
            .nest_service("/networking", services.network.router())
            .nest_service("/volume", services.volume.router())
            .nest_service("/updraft", services.own.clone())
            .nest("/console", services.compute.consoles().router())
            .fallback_service(services.compute.router())
    }
}

impl Services {
    fn new(context: Context, config: ControlConfig) -> Self {
        let compute = Compute::new(context.clone(), &config.compute);
        let collector = Collector::new(&context.store);
        let registrar = config.registrar.clone();
        let own = rest::router(&context, compute.clone(), collector.clone(), registrar);
        Self {
            keeper: SnapshotKeeper::new(
                context.env.clone(),
                context.rpc.clone(),
                context.verifier.clone(),
            ),
            identity: Identity::new(context.clone(), config.identity),
            image: Image::new(context.clone(), config.image),
            compute,
            network: Network::new(context.clone(), config.network),
            volume: Volume::new(context.clone(), config.volume),
            collector,
            registrar: config.registrar,
            own,
            context,
        }
    }

    fn offered(&self) -> Vec<Service> {
        let mut offered = self.on_store();
        // Whoever verifies tokens has to hear of revocations, most of all without a store.
        offered.push(self.keeper.service());
        offered
    }

    /// What nobody is served without a store.
    fn on_store(&self) -> Vec<Service> {
        let mut offered = vec![self.collector.service()];
        offered.extend(self.identity.services());
        offered.extend(self.image.services());
        offered.extend(self.compute.services());
        offered.extend(self.network.services());
        offered.extend(self.volume.services());
        offered.extend(self.registrar.iter().map(Registrar::service));
        offered.push(notify::service(self.feeds()));
        offered
    }

    fn feeds(&self) -> impl Iterator<Item = Feed> {
        events::feeds(&self.context.store).into_iter().map(|(_, feed)| feed)
    }

    async fn bootstrap(&self, config: &BootstrapConfig) -> Result<(), StartError> {
        let identity = self.identity.bootstrap(config).await;
        identity.map_err(|error| StartError::Bootstrap(error.to_string()))?;
        let compute = self.compute.bootstrap().await;
        compute.map_err(|error| StartError::Bootstrap(error.to_string()))
    }

    fn start(&self) {
        self.keeper.start();
        self.identity.start();
        self.image.start();
        self.compute.start();
        self.network.start();
        self.volume.start();
        if let Some(registrar) = &self.registrar {
            registrar.publish(self.context.rpc.directory().revocations().clone());
        }
        let env = &self.context.env;
        let needs_store = self.on_store().iter().map(|service| service.topic().clone()).collect();
        let (store, directory) = (self.context.store.clone(), self.context.rpc.directory().clone());
        env.spawn("standing", standing::follow(env.clone(), store, directory, needs_store));
        for feed in self.feeds() {
            env.spawn("outbox", feed.keep_tidy(env.clone(), Kept::default()));
        }
    }
}
