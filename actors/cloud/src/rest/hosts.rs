//! `/hosts/{host}/drain`: a host is emptied, how far that is, and that it may have servers again.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use updraft_compute::{Compute, drains::Progress};
use updraft_edge::{
    context::Context,
    policy::{Enforcer, own},
    rest::{Auth, JsonBody, Service, ServiceError},
};
use updraft_runtime::{Env, store::StoreError};

use super::HOSTS_DRAIN;

#[derive(Clone)]
struct Desk {
    enforcer: Enforcer,
    env: Env,
    compute: Compute,
}

pub(super) fn routes(enforcer: Enforcer, context: &Context, compute: Compute) -> Router {
    let desk = Desk { enforcer, env: context.env.clone(), compute };
    Router::new().route("/hosts/{host}/drain", get(show).put(begin).delete(end)).with_state(desk)
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// An operator's word that the host is down.
    #[serde(default)]
    down: bool,
}

#[derive(Serialize)]
struct Shown {
    drain: Progress,
}

impl Desk {
    fn allow(&self, auth: &Auth) -> Result<(), ServiceError> {
        self.enforcer.enforce(auth, HOSTS_DRAIN, &own(&auth.principal))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "what a store's error is turned into")]
fn failed(error: StoreError) -> ServiceError {
    Service::Cloud.store_error(&error)
}

async fn begin(
    State(desk): State<Desk>,
    auth: Auth,
    Path(host): Path<String>,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<(StatusCode, Json<Shown>), ServiceError> {
    desk.allow(&auth)?;
    let trace = auth.request_id.trace(&desk.env);
    let begun = desk.compute.drain(&host, wanted.down, &auth.context(), trace).await;
    let unknown = || Service::Cloud.not_found(format!("no compute host is named {host}"));
    let drain = begun.map_err(failed)?.ok_or_else(unknown)?;
    tracing::info!(host, down = wanted.down, by = auth.principal.user.id, "a host is emptied");
    Ok((StatusCode::ACCEPTED, Json(Shown { drain })))
}

async fn show(
    State(desk): State<Desk>,
    auth: Auth,
    Path(host): Path<String>,
) -> Result<Json<Shown>, ServiceError> {
    desk.allow(&auth)?;
    let drain = desk.compute.draining(&host).await.map_err(failed)?;
    Ok(Json(Shown { drain: drain.ok_or_else(|| not_drained(&host))? }))
}

async fn end(
    State(desk): State<Desk>,
    auth: Auth,
    Path(host): Path<String>,
) -> Result<StatusCode, ServiceError> {
    desk.allow(&auth)?;
    match desk.compute.undrain(&host).await.map_err(failed)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_drained(&host)),
    }
}

fn not_drained(host: &str) -> ServiceError {
    Service::Cloud.not_found(format!("host {host} is not being drained"))
}
