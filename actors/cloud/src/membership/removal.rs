//! What takes a node out of the cloud over REST.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::delete,
};
use updraft_compute::{Compute, hosts::Placed};
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, Query, Service, ServiceError},
};
use updraft_runtime::revocations::Revocations;
use updraft_transport::NodeId;

use super::registrar::{Refusal, Registrar};
use crate::rest::NODES_DELETE;

/// How many servers a refusal names; it counts the others.
const NAMED_MAX: usize = 5;

#[derive(Clone)]
struct Desk {
    enforcer: Enforcer,
    registrar: Registrar,
    compute: Compute,
    revocations: Revocations,
}

/// `DELETE /nodes/{node}`.
pub(crate) fn routes(
    enforcer: Enforcer,
    registrar: Registrar,
    compute: Compute,
    revocations: Revocations,
) -> Router {
    let desk = Desk { enforcer, registrar, compute, revocations };
    Router::new().route("/nodes/{node}", delete(remove)).with_state(desk)
}

async fn remove(
    State(desk): State<Desk>,
    auth: Auth,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ServiceError> {
    desk.enforcer.enforce(&auth, NODES_DELETE, &own(&auth.principal))?;
    let unknown = || Service::Cloud.not_found(format!("no host named {name} has joined"));
    let node = NodeId::new(&name).map_err(|_| unknown())?;
    let store_error = |error| Service::Cloud.store_error(&error);
    if !query.flag("force")?.unwrap_or(false) && desk.registrar.may_remove(&node).await.is_ok() {
        let placed = desk.compute.placed_on(node.as_str()).await.map_err(store_error)?;
        if !placed.is_empty() {
            return Err(Service::Cloud.conflict(has_servers(&node, &placed)));
        }
    }
    let by = &auth.principal.user.id;
    let removed = desk.registrar.remove(&node, by).await;
    if matches!(removed, Err(Refusal::Removed { .. })) {
        // What an earlier request may not have come to.
        desk.compute.forget_host(node.as_str()).await.map_err(store_error)?;
    }
    removed.map_err(|refusal| told(&refusal))?;
    tracing::info!(%node, %by, "a node is removed");
    // Sooner than the watch of the store: whoever is answered may rely on it here.
    desk.revocations.take(desk.registrar.revoked().await.map_err(store_error)?);
    desk.compute.forget_host(node.as_str()).await.map_err(store_error)?;
    Ok(StatusCode::NO_CONTENT)
}

fn has_servers(node: &NodeId, placed: &[Placed]) -> String {
    let names = placed.iter().take(NAMED_MAX).map(|Placed { id, name }| format!("{name} ({id})"));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = placed.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "node {node} has servers: {names}{more}; delete them first, or remove it with --force (force=true): they then \
         stay placed on a host that nobody reaches"
    )
}

fn told(refusal: &Refusal) -> ServiceError {
    let status = match refusal {
        Refusal::UnknownNode(_) => StatusCode::NOT_FOUND,
        Refusal::Own(_) | Refusal::Removed { .. } | Refusal::TooManyRevoked => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Service::Cloud.error(status, refusal.to_string())
}
