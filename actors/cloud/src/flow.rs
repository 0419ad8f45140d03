//! The provisioning flow of document 000, read from the stored trace of a real one.
//!
//! Every line is a step that somebody recorded when it happened; nothing is printed that was not.

use std::collections::BTreeSet;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use updraft_compute::Compute;
use updraft_edge::{
    policy::Enforcer,
    rest::{Auth, Service, ServiceError},
};
use updraft_runtime::{
    env::UnixMicros,
    policy::Target,
    store::StoreError,
    trace::{Step, StepKind, collect::Collector},
};
use uuid::Uuid;

use crate::rest::SERVERS_TRACE;

/// One line of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The step's number in document 000's second list; `None` for what it does not number.
    pub number: Option<u8>,
    /// The step.
    pub step: Step,
}

/// How a step of document 000 is recognised: its number, the step that must have gone before (0 for none),
/// how it happens, its name, and who begins it (empty for anybody).
const STEPS: [(u8, u8, StepKind, &str, &str); 29] = [
    (1, 0, StepKind::Rest, "identity/POST /v3/auth/tokens", ""),
    (2, 1, StepKind::Local, "identity/token_issued", ""),
    (3, 0, StepKind::Rest, "compute/POST /servers", ""),
    (4, 3, StepKind::Local, "identity/verify", "compute.api"),
    (5, 4, StepKind::Local, "identity/verified", "identity"),
    (6, 5, StepKind::Store, "compute/server_created", ""),
    (7, 6, StepKind::Cast, "compute.scheduler/select_host", ""),
    (8, 7, StepKind::Store, "compute/hosts", ""),
    (9, 8, StepKind::Store, "compute/placed", ""),
    (10, 9, StepKind::Cast, "compute.node/converge", ""),
    (11, 10, StepKind::Call, "compute.conductor/get_server", ""),
    (12, 11, StepKind::Store, "compute/server", ""),
    (13, 12, StepKind::Call, "image.api/locate", "compute.node"),
    (14, 13, StepKind::Local, "identity/verify", "image.api"),
    (15, 14, StepKind::Reply, "image.api/locate", "image.api"),
    (16, 15, StepKind::Call, "network.server/allocate", "compute.node"),
    (17, 16, StepKind::Local, "identity/verify", "network.server"),
    (18, 17, StepKind::Call, "network.l2/plug", ""),
    (19, 17, StepKind::Call, "network.dhcp/serve", ""),
    (20, 19, StepKind::Store, "network/record_port", ""),
    (21, 20, StepKind::Cast, "compute.node/network_ready", ""),
    (22, 17, StepKind::Call, "volume.api/connect", "compute.node"),
    (23, 22, StepKind::Local, "identity/verify", "volume.api"),
    (24, 23, StepKind::Store, "volume/connection", ""),
    (25, 23, StepKind::Reply, "volume.api/connect", "volume.api"),
    (26, 12, StepKind::Driver, "hypervisor/start", ""),
    (27, 26, StepKind::Call, "compute.conductor/report_server", ""),
    (28, 27, StepKind::Store, "compute/server_state", ""),
    (29, 28, StepKind::Rest, "compute/GET /servers/{id}", ""),
];

/// The lines of a trace, numbered as in document 000; each number stands once, at its first occurrence.
#[must_use]
pub fn lines(steps: Vec<Step>) -> Vec<Line> {
    let mut seen = BTreeSet::from([0]);
    let number = |step: &Step| {
        let found = STEPS.iter().find(|(number, after, kind, name, from)| {
            !seen.contains(number)
                && seen.contains(after)
                && *kind == step.kind
                && *name == step.name
                && (from.is_empty() || *from == step.from)
        });
        let number = found.map(|(number, ..)| *number);
        seen.extend(number);
        number
    };
    let mut number = number;
    steps.into_iter().map(|step| Line { number: number(&step), step }).collect()
}

/// The title of the columns of [`rendered`].
#[must_use]
pub fn heading() -> String {
    format!("{:>4}  {:<22} {:<22} {:<6} {:<34} {:>10}", "step", "from", "to", "how", "what", "ms")
}

/// How a step happened, in a word.
#[must_use]
pub fn how(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Call => "call",
        StepKind::Reply => "reply",
        StepKind::Cast => "cast",
        StepKind::Rest => "REST",
        StepKind::Store => "store",
        StepKind::Local => "local",
        StepKind::Driver => "driver",
    }
}

/// A line for a person; times count from `first`.
#[must_use]
pub fn rendered(line: &Line, first: UnixMicros) -> String {
    let number = line.number.map(|number| number.to_string()).unwrap_or_default();
    let how = how(line.step.kind);
    let Step { from, to, name, at, .. } = &line.step;
    let millis = at.since(first).as_secs_f64() * 1_000.0;
    format!("{number:>4}  {from:<22} {to:<22} {how:<6} {name:<34} {millis:>10.1}")
}

#[derive(Clone)]
struct Traces {
    enforcer: Enforcer,
    compute: Compute,
    collector: Collector,
}

/// `GET /servers/{id}/trace`: the lines of the request that last changed a server, for whoever may see the server.
pub(crate) fn routes(enforcer: Enforcer, compute: Compute, collector: Collector) -> Router {
    Router::new().route("/servers/{id}/trace", get(trace)).with_state(Traces {
        enforcer,
        compute,
        collector,
    })
}

async fn trace(
    State(traces): State<Traces>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Json<Vec<Line>>, ServiceError> {
    let missing = || Service::Cloud.not_found(format!("Server {id} could not be found."));
    let failed = |error: StoreError| Service::Cloud.store_error(&error);
    let server = Uuid::try_parse(&id).map_err(|_| missing())?;
    let traced = traces.compute.traced(server).await.map_err(failed)?.ok_or_else(missing)?;
    let project_id = traced.project_id.as_str();
    let target = Target::new().with("project_id", project_id);
    if let Err(denied) = traces.enforcer.enforce(&auth, SERVERS_TRACE, &target) {
        // Nobody hears that another project has it.
        let own = auth.principal.project_id() == Some(project_id);
        return Err(if own { denied } else { missing() });
    }
    let steps = traces.collector.steps(&traced.traces).await.map_err(failed)?;
    Ok(Json(lines(steps)))
}
