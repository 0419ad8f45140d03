//! The provisioning flow of document 000, read from the stored trace of a real one.
//!
//! Every line is a step that somebody recorded when it happened; nothing is printed that was not.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use serde::{Deserialize, Serialize};
use updraft_compute::rows::ServerRow;
use updraft_edge::context::Context;
use updraft_runtime::{
    env::UnixMicros,
    trace::{Step, StepKind, collect::Collector},
};
use uuid::Uuid;

/// One line of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The step's number in document 000's second list; `None` for what it does not number.
    pub number: Option<u8>,
    /// The step.
    pub step: Step,
}

/// A step's name, and its number in document 000.
const NUMBERS: [(&str, u8); 26] = [
    ("identity/POST /v3/auth/tokens", 1),
    ("identity/token_issued", 2),
    ("compute/POST /servers", 3),
    ("identity/verify@compute.api", 4),
    ("identity/verified@compute.api", 5),
    ("compute/server_created", 6),
    ("compute.scheduler/select_host", 7),
    ("compute/hosts", 8),
    ("compute.node/converge", 9),
    ("compute.conductor/get_server", 10),
    ("compute/server", 12),
    ("image.api/locate", 13),
    ("identity/verify@image.api", 14),
    ("image/location", 15),
    ("network.server/allocate", 16),
    ("identity/verify@network.server", 17),
    ("network.l2/plug", 18),
    ("network.dhcp/serve", 19),
    ("network/ports", 20),
    ("compute.node/network_ready", 21),
    ("volume.api/connect", 22),
    ("identity/verify@volume.api", 23),
    ("volume/connection", 24),
    ("hypervisor/start", 26),
    ("compute.conductor/report_server", 27),
    ("compute/server_state", 28),
];

/// The number of a step in document 000's list.
#[must_use]
pub fn number(step: &Step) -> Option<u8> {
    let name = match step.kind {
        StepKind::Local => format!("{}@{}", step.name, step.from),
        _ => step.name.clone(),
    };
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The lines of a trace.
#[must_use]
pub fn lines(steps: Vec<Step>) -> Vec<Line> {
    steps.into_iter().map(|step| Line { number: number(&step), step }).collect()
}

/// The title of the columns of [`rendered`].
#[must_use]
pub fn heading() -> String {
    format!("{:>4}  {:<22} {:<22} {:<6} {:<34} {:>10}", "step", "from", "to", "how", "what", "ms")
}

/// A line for a person; times count from `first`.
#[must_use]
pub fn rendered(line: &Line, first: UnixMicros) -> String {
    let number = line.number.map(|number| number.to_string()).unwrap_or_default();
    let how = match line.step.kind {
        StepKind::Call => "call",
        StepKind::Cast => "cast",
        StepKind::Rest => "REST",
        StepKind::Store => "store",
        StepKind::Local => "local",
        StepKind::Driver => "driver",
    };
    let Step { from, to, name, at, .. } = &line.step;
    let millis = at.since(first).as_secs_f64() * 1_000.0;
    format!("{number:>4}  {from:<22} {to:<22} {how:<6} {name:<34} {millis:>10.1}")
}

#[derive(Clone)]
struct Traces {
    context: Context,
    collector: Collector,
}

/// `GET /updraft/v1/servers/{id}/trace`: the lines of the request that last changed a server, for whoever may
/// see the server.
pub fn router(context: Context, collector: Collector) -> Router {
    Router::new()
        .route("/updraft/v1/servers/{id}/trace", get(trace))
        .with_state(Traces { context, collector })
}

async fn trace(
    State(traces): State<Traces>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, StatusCode> {
    let token = headers.get("x-auth-token").and_then(|value| value.to_str().ok());
    let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
    let context = &traces.context;
    let principal = context
        .verifier
        .verify(token, context.env.wall(), Duration::ZERO)
        .map_err(|_| StatusCode::UNAUTHORIZED)?;
    let compute = context.store.scoped("compute/");
    let row = compute
        .read(|txn| txn.get::<ServerRow>(&id.to_string()))
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let own = |row: &ServerRow| {
        principal.has_role("admin") || principal.project_id() == Some(row.project_id.as_str())
    };
    let row = row.filter(own).ok_or(StatusCode::NOT_FOUND)?;
    let wanted = [row.trace.trace_id];
    let steps = traces
        .collector
        .steps(&wanted)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(lines(steps)))
}
