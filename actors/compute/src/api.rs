//! The REST API of compute, v2.1 with microversions and its older self v2.

use std::{ops::Deref, sync::Arc};

use axum::Router;
use updraft_edge::{
    context::Context,
    policy::Enforcer,
    rest::{Edge, EdgeConfig, Microversion, Service, VersionRange},
};
use updraft_runtime::{policy::Policy, store::Decoded};

use crate::{
    consoles::Consoles,
    rows::{HostRow, ServerRow},
    scheduler::{Judge, Ratios},
};

mod about;
mod actions;
mod body;
mod call;
mod change;
mod consoles;
mod create;
mod evacuate;
mod flavor_extras;
mod flavors;
mod groups;
mod hypervisors;
mod instance_actions;
mod interfaces;
mod keypairs;
mod limits;
mod list;
mod lock;
mod metadata;
mod migrate;
mod quotas;
mod resize;
mod server_view;
mod servers;
mod services;
mod tags;
mod volumes;
mod zones;

/// Every version from the first to that of the 2025.2 release.
const VERSIONS: VersionRange =
    VersionRange::new(Microversion::new(2, 1), Microversion::new(2, 100));

/// Most servers that are kept decoded for lists: some 20 MB of them.
const LISTED_MAX: usize = 4_096;

/// Most hosts that are kept decoded: all of a cell.
const HOSTS_MAX: usize = 10_000;

/// What every handler can see; cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

/// See [`Api`].
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) enforcer: Enforcer,
    pub(crate) ratios: Ratios,
    pub(crate) judge: Judge,
    pub(crate) consoles: Consoles,
    /// Servers as they were last listed.
    listed: Decoded<ServerRow>,
    /// Hosts as they were last read: every server's answer shows what its host is.
    hosts: Decoded<HostRow>,
}

impl Deref for Api {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// All routes, behind the edge.
pub(crate) fn router(
    context: &Context,
    policy: Arc<Policy>,
    ratios: Ratios,
    judge: Judge,
    consoles: Consoles,
) -> Router {
    let config = EdgeConfig::new(
        Service::Compute,
        context.env.clone(),
        context.verifier.clone(),
        policy,
        VERSIONS,
    );
    let edge = Edge::new(config);
    let (enforcer, listed) = (edge.enforcer(), Decoded::new(LISTED_MAX));
    let hosts = Decoded::new(HOSTS_MAX);
    let context = context.clone();
    let shared = Shared { context, enforcer, ratios, judge, consoles, listed, hosts };
    edge.mount(Router::new(), routes().with_state(Api(Arc::new(shared))))
}

fn routes() -> Router<Api> {
    let rooms = [
        about::routes,
        consoles::routes,
        flavor_extras::routes,
        flavors::routes,
        groups::routes,
        hypervisors::routes,
        instance_actions::routes,
        interfaces::routes,
        keypairs::routes,
        limits::routes,
        metadata::routes,
        quotas::routes,
        servers::routes,
        services::routes,
        tags::routes,
        volumes::routes,
        zones::routes,
    ];
    rooms.into_iter().fold(Router::new(), |all, routes| all.merge(routes()))
}
