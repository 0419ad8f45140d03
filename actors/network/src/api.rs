//! The network service's REST API: neutron's v2.0.
//!
//! Every resource is a [`resource::Resource`]: its attributes, its rows and what is done with them. What is
//! the same for all (bodies, policy, filters, sorting, pages, fields, revisions, bulk) is done once for all.

mod agents;
mod asker;
mod attribute;
mod body;
mod extensions;
mod floatingips;
mod listing;
mod networks;
mod ports;
mod quotas;
mod resource;
mod routers;
mod security_group_rules;
mod security_groups;
mod subnets;
mod values;
mod view;
mod zones;

use std::sync::Arc;

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use updraft_edge::{
    context::Context,
    policy::Enforcer,
    rest::{Auth, Edge, EdgeConfig, Microversion, Service, ServiceError, VersionRange},
};
use updraft_protocol::network::SERVER;
use updraft_runtime::{policy::Policy, rpc::TraceContext, trace::StepKind};

use crate::{
    error::{Kind, NetworkError},
    work::Core,
};
use asker::Asker;

/// The one version there is.
const V2: Microversion = Microversion::new(2, 0);

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) core: Core,
    pub(crate) context: Context,
    pub(crate) enforcer: Enforcer,
    pub(crate) policy: Arc<Policy>,
}

/// The router of the whole service, without the path that it is mounted below.
pub(crate) fn router(context: &Context, core: &Core, policy: Arc<Policy>) -> Router {
    let edge = Edge::new(EdgeConfig::new(
        Service::Network,
        context.env.clone(),
        context.verifier.clone(),
        policy.clone(),
        VersionRange::new(V2, V2),
    ));
    let app =
        App { core: core.clone(), context: context.clone(), enforcer: edge.enforcer(), policy };
    let routes = Router::new()
        .merge(resource::routes::<networks::Networks>())
        .merge(resource::routes::<subnets::Subnets>())
        .merge(resource::routes::<ports::Ports>())
        .merge(resource::routes::<routers::Routers>())
        .merge(resource::routes::<floatingips::FloatingIps>())
        .merge(resource::routes::<security_groups::Groups>())
        .merge(resource::routes::<security_group_rules::Rules>())
        .merge(routers::interface_routes())
        .merge(quotas::routes())
        .merge(agents::routes())
        .merge(extensions::routes())
        .merge(zones::routes());
    edge.mount(Router::new(), routes.with_state(app))
}

impl App {
    /// The caller of a request, before the service's rules.
    fn asker(&self, auth: &Auth) -> Asker<'_> {
        Asker::new(self.enforcer.caller(auth), &self.policy, &auth.principal)
    }

    /// A trace for a request, begun with the step that brought it here.
    fn trace(&self, auth: &Auth, name: &str) -> TraceContext {
        let trace = auth.request_id.trace(&self.core.env);
        self.context.record(trace.trace_id, StepKind::Rest, name, "client", SERVER);
        trace
    }
}

impl From<NetworkError> for ServiceError {
    fn from(error: NetworkError) -> Self {
        use axum::http::StatusCode;
        let service = Service::Network;
        match error {
            NetworkError::Refused { kind, name, message } => {
                let status = match kind {
                    Kind::Invalid => StatusCode::BAD_REQUEST,
                    Kind::Forbidden => StatusCode::FORBIDDEN,
                    Kind::NotFound => StatusCode::NOT_FOUND,
                    Kind::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
                    Kind::Conflict | Kind::Stale => StatusCode::CONFLICT,
                    Kind::Precondition => StatusCode::PRECONDITION_FAILED,
                    Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                };
                service.error(status, message).kind(name)
            }
            NetworkError::Store(error) => service.store_error(&error),
            NetworkError::Internal(message) => {
                tracing::error!(message, "a broken invariant");
                service.internal()
            }
        }
    }
}

impl IntoResponse for NetworkError {
    fn into_response(self) -> Response {
        ServiceError::from(self).into_response()
    }
}
