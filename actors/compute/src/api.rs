//! The REST API of compute, v2.1 with microversions and its older self v2.

use std::{ops::Deref, sync::Arc};

use axum::Router;
use updraft_edge::{
    context::Context,
    policy::Enforcer,
    rest::{Edge, EdgeConfig, Microversion, Service, VersionRange},
};
use updraft_runtime::policy::Policy;

use crate::scheduler::Ratios;

mod body;
mod call;
mod change;
mod create;
mod flavors;
mod keypairs;
mod list;
mod server_view;
mod servers;

/// Every version from the first to that of the 2025.2 release.
const VERSIONS: VersionRange =
    VersionRange::new(Microversion::new(2, 1), Microversion::new(2, 100));

/// What every handler can see; cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

/// See [`Api`].
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) enforcer: Enforcer,
    pub(crate) ratios: Ratios,
}

impl Deref for Api {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// All routes, behind the edge.
pub(crate) fn router(context: &Context, policy: Arc<Policy>, ratios: Ratios) -> Router {
    let config = EdgeConfig::new(
        Service::Compute,
        context.env.clone(),
        context.verifier.clone(),
        policy,
        VERSIONS,
    );
    let edge = Edge::new(config);
    let shared = Shared { context: context.clone(), enforcer: edge.enforcer(), ratios };
    edge.mount(Router::new(), routes().with_state(Api(Arc::new(shared))))
}

fn routes() -> Router<Api> {
    Router::new().merge(servers::routes()).merge(flavors::routes()).merge(keypairs::routes())
}
