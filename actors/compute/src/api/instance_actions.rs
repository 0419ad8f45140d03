//! /servers/{id}/os-instance-actions: what was done with a server, also after it is gone.

use axum::{Router, extract::Path, response::Response, routing::get};
use serde_json::{Value, json};
use updraft_edge::rest::{Page, Query, Service, time};
use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{Api, call::Call, server_view::host_id, servers::json as answer};
use crate::{
    actions::ActionRow,
    error::{Outcome, no_server, not_found},
    rows::ServerRow,
};

/// The routes of actions of a server.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/servers/{server}/os-instance-actions", get(index))
        .route("/servers/{server}/os-instance-actions/{request}", get(show))
}

/// A server's actions, the newest first. Those of a server that is gone are told from 2.21 on.
fn find(call: &Call, txn: &Txn, id: &str, rule: &str) -> Outcome<Vec<ActionRow>> {
    let id = Uuid::try_parse(id).map_err(|_| no_server(id))?.to_string();
    let mut rows = txn.find::<ActionRow>("server", &id)?;
    let known = match txn.get::<ServerRow>(&id)? {
        Some(row) => Some(row.project_id),
        None if call.version >= 21 => rows.first().map(|row| row.project_id.clone()),
        None => None,
    };
    let project_id = known.filter(|project| call.sees(project)).ok_or_else(|| no_server(&id))?;
    call.must_in(rule, &project_id)?;
    rows.reverse();
    Ok(rows)
}

fn view(call: &Call, row: &ActionRow) -> Value {
    let mut view = json!({
        "action": row.action,
        "instance_uuid": row.server,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": time::iso_micros(row.started),
        "message": row.message,
    });
    if call.version >= 58 {
        view["updated_at"] = json!(time::iso_micros(row.finished.unwrap_or(row.started)));
    }
    view
}

async fn index(call: Call, query: Query, Path(id): Path<String>) -> Outcome<Response> {
    let store = &call.api.context.store;
    let find = |txn: &Txn| find(&call, txn, &id, "os-instance-actions:list");
    let mut rows = store.read(find).await?;
    let mut body = json!({});
    if call.version >= 58 {
        let page = Page::of(Service::Compute, &query)?;
        if let Some(since) = query.time("changes-since")? {
            rows.retain(|row| row.finished.unwrap_or(row.started) >= since);
        }
        if call.version >= 66
            && let Some(before) = query.time("changes-before")?
        {
            rows.retain(|row| row.finished.unwrap_or(row.started) <= before);
        }
        rows = page.cut(rows, |row| &row.request_id)?;
        let path = format!("servers/{id}/os-instance-actions");
        if let Some(links) = page.links(&call.links, &path, &query, &rows, |row| &row.request_id) {
            body["links"] = links;
        }
    }
    body["instanceActions"] = rows.iter().map(|row| view(&call, row)).collect();
    answer(&body)
}

async fn show(call: Call, Path((id, request)): Path<(String, String)>) -> Outcome<Response> {
    let store = &call.api.context.store;
    let find = |txn: &Txn| find(&call, txn, &id, "os-instance-actions:show");
    let rows = store.read(find).await?;
    let row = rows.iter().find(|row| row.request_id == request);
    let row = row.ok_or_else(|| not_found(format!("Action for request_id {request} not found")))?;
    let mut action = view(&call, row);
    let all = call.may("os-instance-actions:events");
    if all || call.version >= 51 {
        action["events"] = json!([event(&call, row, all)]);
    }
    answer(&json!({"instanceAction": action}))
}

/// The one event of an action: what the host did.
fn event(call: &Call, row: &ActionRow, all: bool) -> Value {
    let result = match (&row.finished, &row.message) {
        (None, _) => Value::Null,
        (Some(_), None) => json!("Success"),
        (Some(_), Some(_)) => json!("Error"),
    };
    let mut event = json!({
        "event": event_name(&row.action),
        "start_time": time::iso_micros(row.started),
        "finish_time": row.finished.map(time::iso_micros),
        "result": result,
    });
    if all {
        event["traceback"] = Value::Null;
    }
    if call.version >= 62 {
        let host = row.host.as_deref();
        event["hostId"] =
            json!(host.map(|host| host_id(&row.project_id, host)).unwrap_or_default());
        if all {
            event["host"] = json!(host);
        }
    }
    if call.version >= 84 && call.may("os-instance-actions:events:details") {
        event["details"] = Value::Null;
    }
    event
}

fn event_name(action: &str) -> String {
    match action {
        "create" => "compute__do_build_and_run_instance".to_owned(),
        "delete" => "compute_terminate_instance".to_owned(),
        "resize" => "compute_prep_resize".to_owned(),
        "confirmResize" => "compute_confirm_resize".to_owned(),
        "revertResize" => "compute_revert_resize".to_owned(),
        "stop" | "start" | "reboot" => format!("compute_{action}_instance"),
        other => format!("compute_{other}"),
    }
}
