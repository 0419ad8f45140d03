//! Servers: show, change, delete. Making and listing have rooms of their own.

use std::{net::IpAddr, time::Duration};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use updraft_edge::rest::JsonBody;
use updraft_protocol::compute::Goal;
use updraft_runtime::{store::Txn, trace::StepKind};

use super::{
    Api, actions,
    body::{Name, Text},
    call::Call,
    change::{self, Verb},
    create::{
        self,
        body::{Address, DiskConfig, Hostname},
    },
    list,
    server_view::{Full, Scene},
};
use crate::{
    error::{Outcome, bad_field},
    rows::{ActionKind, ServerRow},
    servers::API,
};

/// The routes of servers themselves.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/servers", get(list::index).post(create::create))
        .route("/servers/detail", get(list::detail))
        .route("/servers/{server}", get(show).put(update).delete(delete))
        .route("/servers/{server}/action", post(actions::action))
}

#[derive(Serialize)]
struct One<'r> {
    server: Full<'r>,
}

/// A server in full, as an answer.
fn shown(call: &Call, txn: &Txn, row: &ServerRow) -> Outcome<Response> {
    let scene = Scene::new(call, txn, false)?;
    json(&One { server: scene.full(row) })
}

/// Anything as an answer.
pub(super) fn json(value: &impl Serialize) -> Outcome<Response> {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        updraft_edge::rest::Service::Compute.internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

async fn show(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    let context = &call.api.context;
    context
        .store
        .read(|txn| {
            let row = call.server(txn, &id, "servers:show")?;
            // Step 29 of document 000; once nothing is under way any more, asking is no step of the flow.
            if row.action.is_none() && context.env.wall().since(row.updated) < TOLD_WITHIN {
                let (kind, name) = (StepKind::Rest, "compute/GET /servers/{id}");
                context.record(row.trace.trace_id, kind, name, "client", API);
            }
            shown(&call, txn, &row)
        })
        .await
}

/// How long after its last change a server's state is told as a step of the flow that changed it.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    server: Update,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    name: Option<Name>,
    #[serde(rename = "accessIPv4")]
    access_ip_v4: Option<Address<4>>,
    #[serde(rename = "accessIPv6")]
    access_ip_v6: Option<Address<6>>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
    /// Null takes it away, which is not the same as leaving it out.
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<Text<0, 255>>>,
    hostname: Option<Hostname>,
}

/// A value that is there, if only as null.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl Update {
    fn check_version(&self, version: u32) -> Outcome<()> {
        let early = match (&self.description, &self.hostname) {
            (Some(_), _) if version < 19 => "description",
            (_, Some(_)) if version < 90 => "hostname",
            _ => return Ok(()),
        };
        let reason = format!("Additional properties are not allowed ('{early}' was unexpected)");
        Err(bad_field("server", "an object", &reason))
    }

    fn apply(&self, row: &mut ServerRow) {
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string());
        if let Some(Text(name)) = &self.name {
            name.trim().clone_into(&mut row.name);
        }
        if let Some(description) = &self.description {
            row.description = description.as_ref().map(|text| text.0.clone());
        }
        if let Some(hostname) = &self.hostname {
            row.hostname.clone_from(&hostname.0);
        }
        if let Some(address) = self.access_ip_v4 {
            row.details.access_ip_v4 = text(address.0);
        }
        if let Some(address) = self.access_ip_v6 {
            row.details.access_ip_v6 = text(address.0);
        }
        if let Some(config) = self.disk_config {
            row.details.disk_config = Some(config.as_str().to_owned());
        }
    }
}

async fn update(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<UpdateBody>,
) -> Outcome<Response> {
    body.server.check_version(call.version)?;
    let store = &call.api.context.store;
    let now = call.api.context.env.wall();
    let row = store
        .transact(|txn| {
            let mut row = call.server(txn, &id, "servers:update")?;
            body.server.apply(&mut row);
            row.updated = now;
            txn.put(&row)?;
            Ok::<_, crate::error::Error>(row)
        })
        .await?;
    store.read(|txn| shown(&call, txn, &row)).await
}

/// The goal is committed; everything else follows from it.
async fn delete(call: Call, Path(id): Path<String>) -> Outcome<StatusCode> {
    let trace = call.begin_flow("DELETE /servers/{id}");
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.goal = Goal::Absent;
        Ok(())
    };
    change::begin(&call, &id, Verb::Delete, ActionKind::Delete, trace, act).await?;
    Ok(StatusCode::NO_CONTENT)
}
