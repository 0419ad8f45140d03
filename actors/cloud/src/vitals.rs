//! How all nodes of the cloud do: for `updraft top`, and for Prometheus.
//!
//! A node is asked when somebody looks, and only then. One that does not answer within a second is left out.

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::join_all;
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, ServiceError},
};
use updraft_runtime::{
    rpc::{Address, Cx, Rpc, TraceContext},
    vitals::{Ask, Report, TOPIC, export},
};

use crate::rest::VITALS_READ;

#[derive(Clone)]
struct Desk {
    enforcer: Enforcer,
    rpc: Rpc,
}

/// `GET /vitals` and `GET /metrics`.
pub(crate) fn routes(enforcer: Enforcer, rpc: &Rpc) -> Router {
    let desk = Desk { enforcer, rpc: rpc.clone() };
    Router::new().route("/vitals", get(vitals)).route("/metrics", get(metrics)).with_state(desk)
}

/// `GET /metrics` without a token, for an address that the operator has chosen.
pub fn open_metrics(rpc: &Rpc) -> Router {
    async fn scrape(State(rpc): State<Rpc>) -> Response {
        exposition(&rpc).await
    }
    Router::new().route("/metrics", get(scrape)).with_state(rpc.clone())
}

/// The reports of all nodes that live and answer, by name.
async fn reports(rpc: &Rpc) -> Vec<Report> {
    let cx = Cx::new(TOPIC, TraceContext::default());
    let nodes = rpc.directory().servers_anywhere::<Ask>();
    let asked = nodes.iter().map(|node| {
        let (rpc, cx, to) = (rpc.clone(), cx.clone(), Address::server(node));
        async move { rpc.call(&to, &Ask, &cx).await.ok() }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn exposition(rpc: &Rpc) -> Response {
    match export::text(reports(rpc).await) {
        Ok(text) => ([(header::CONTENT_TYPE, export::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn vitals(State(desk): State<Desk>, auth: Auth) -> Result<Json<Vec<Report>>, ServiceError> {
    desk.enforcer.enforce(&auth, VITALS_READ, &own(&auth.principal))?;
    Ok(Json(reports(&desk.rpc).await))
}

async fn metrics(State(desk): State<Desk>, auth: Auth) -> Result<Response, ServiceError> {
    desk.enforcer.enforce(&auth, VITALS_READ, &own(&auth.principal))?;
    Ok(exposition(&desk.rpc).await)
}

/// Whether anything is to listen there.
#[must_use]
pub fn is_wanted(address: &SocketAddr) -> bool {
    address.port() != 0 || !address.ip().is_unspecified()
}
