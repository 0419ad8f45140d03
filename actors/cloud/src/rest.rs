//! The cloud's own REST API, below `/updraft/v1`: what belongs to no service of OpenStack.
//!
//! It stands behind the same edge as the services do: tokens, rules, request ids and errors are as theirs.

mod database;
mod health;
mod hosts;
mod screenshot;

use std::sync::{Arc, LazyLock};

use axum::Router;
use updraft_compute::Compute;
use updraft_edge::{
    context::Context,
    rest::{Edge, EdgeConfig, Microversion, Service, VersionRange},
};
use updraft_runtime::{policy::Policy, trace::collect::Collector};

use crate::{
    events, flow,
    membership::{self, Registrar},
    vitals,
};

/// To give out a token by which a host joins.
pub(crate) const JOIN_TOKENS_CREATE: &str = "updraft:join_tokens:create";
/// To list the nodes of the cloud.
pub(crate) const NODES_LIST: &str = "updraft:nodes:list";
/// To take a node out of the cloud.
pub(crate) const NODES_DELETE: &str = "updraft:nodes:delete";
/// To have a host emptied, and to look how far that is.
pub(crate) const HOSTS_DRAIN: &str = "updraft:hosts:drain";
/// To look at the steps of a server's last request.
pub(crate) const SERVERS_TRACE: &str = "updraft:servers:trace";
/// To see a picture of a server's screen.
pub(crate) const SERVERS_SCREENSHOT: &str = "updraft:servers:screenshot";
/// To be told what happens to the things of one's project.
pub(crate) const EVENTS_LIST: &str = "updraft:events:list";
/// To be told what happens to anything.
pub(crate) const EVENTS_LIST_ALL: &str = "updraft:events:list_all";
/// To look at how all nodes do.
pub(crate) const VITALS_READ: &str = "updraft:vitals:read";
/// To read everything that the store holds.
pub(crate) const DATABASE_READ: &str = "updraft:database:read";

/// Who may do what, in oslo.policy's language.
const RULES: &[(&str, &str)] = &[
    ("context_is_admin", "role:admin"),
    ("project_member", "role:member and project_id:%(project_id)s"),
    ("project_reader", "role:reader and project_id:%(project_id)s"),
    (JOIN_TOKENS_CREATE, "rule:context_is_admin"),
    (NODES_LIST, "rule:context_is_admin"),
    (NODES_DELETE, "rule:context_is_admin"),
    (HOSTS_DRAIN, "rule:context_is_admin"),
    (EVENTS_LIST, "rule:project_reader or rule:context_is_admin"),
    (EVENTS_LIST_ALL, "rule:context_is_admin"),
    (DATABASE_READ, "rule:context_is_admin"),
    (VITALS_READ, "rule:context_is_admin"),
    (SERVERS_SCREENSHOT, "rule:project_member or rule:context_is_admin"),
    (SERVERS_TRACE, "rule:project_reader or rule:context_is_admin"),
];

#[allow(clippy::expect_used, reason = "the table is constant, and every control node loads it")]
static DEFAULT: LazyLock<Arc<Policy>> =
    LazyLock::new(|| Arc::new(Policy::new(RULES).expect("the default rules are well formed")));

/// This API has one version and no others in it.
const VERSIONS: VersionRange = VersionRange::new(Microversion::new(1, 0), Microversion::new(1, 0));

/// All routes, behind the edge. Those of membership are there only on a node that lets others join.
pub(crate) fn router(
    context: &Context,
    compute: Compute,
    collector: Collector,
    registrar: Option<Registrar>,
) -> Router {
    let edge = Edge::new(EdgeConfig::new(
        Service::Cloud,
        context.env.clone(),
        context.verifier.clone(),
        DEFAULT.clone(),
        VERSIONS,
    ));
    let consoles = compute.consoles().clone();
    let mut routes = screenshot::routes(edge.enforcer(), consoles);
    routes = routes.merge(flow::routes(edge.enforcer(), compute.clone(), collector));
    routes = routes.merge(hosts::routes(edge.enforcer(), context, compute.clone()));
    routes = routes.merge(vitals::routes(edge.enforcer(), &context.rpc));
    routes = routes.merge(events::routes(context, edge.enforcer()));
    routes = routes.merge(database::routes(edge.enforcer(), context.store.clone()));
    if let Some(registrar) = registrar {
        let rpc = context.rpc.clone();
        let revocations = rpc.directory().revocations().clone();
        routes = routes.merge(membership::routes(edge.enforcer(), rpc, registrar.clone()));
        routes = routes.merge(membership::removal_routes(
            edge.enforcer(),
            registrar,
            compute,
            revocations,
        ));
    }
    edge.mount(health::routes(context.store.clone()), routes)
}
