//! How all nodes of the cloud do: for `updraft top`, and for Prometheus.
//!
//! A node is asked when somebody looks, and only then. One that does not answer within a second is left out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::join_all;
use tokio::sync::Mutex;
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, ServiceError},
};
use updraft_runtime::{
    rpc::{Cx, Rpc, TraceContext},
    vitals::{Ask, Report, Reporting, TOPIC, export},
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

/// How long what was collected is told again: whoever scrapes without pause costs the nodes no more than this.
const FRESH: Duration = Duration::from_secs(1);

/// What was last collected, and when.
type Collected = Arc<Mutex<Option<(Duration, Vec<Report>)>>>;

/// `GET /metrics` without a token, for an address that the operator has chosen. One collection is under way at once.
pub fn open_metrics(rpc: &Rpc) -> Router {
    async fn scrape(State((rpc, collected)): State<(Rpc, Collected)>) -> Response {
        let mut collected = collected.lock().await;
        let now = rpc.env().now();
        let fresh = |(at, _): &(Duration, Vec<Report>)| now.saturating_sub(*at) < FRESH;
        let reports = match collected.take().filter(fresh) {
            Some(known) => known,
            None => (now, reports(&rpc).await),
        };
        exposition(collected.insert(reports).1.clone())
    }
    Router::new().route("/metrics", get(scrape)).with_state((rpc.clone(), Collected::default()))
}

/// The reports of all nodes that live and answer, by name.
async fn reports(rpc: &Rpc) -> Vec<Report> {
    let cx = Cx::new(TOPIC, TraceContext::default());
    let nodes = rpc.directory().servers_anywhere::<Ask>();
    let asked = nodes.iter().map(|node| {
        let (there, cx) = (rpc.client::<Reporting>().on(node), cx.clone());
        async move {
            let report = there.call(&Ask, &cx).await.ok()?;
            // Whatever it calls itself.
            Some(Report { node: node.clone(), ..report })
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn exposition(reports: Vec<Report>) -> Response {
    match export::text(reports) {
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
    Ok(exposition(reports(&desk.rpc).await))
}

/// Whether anything is to listen there.
#[must_use]
pub fn is_wanted(address: &SocketAddr) -> bool {
    address.port() != 0 || !address.ip().is_unspecified()
}
