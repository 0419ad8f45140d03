//! /servers/{id}/metadata: the user's keys and values.

use std::collections::BTreeMap;

use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get};
use serde::Deserialize;
use serde_json::json;
use updraft_edge::rest::JsonBody;
use updraft_runtime::store::Txn;

use super::{
    Api,
    body::Metadata,
    call::Call,
    change::{self, Verb},
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_request, not_found},
    quota,
    rows::ServerRow,
};

/// The routes of metadata.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/servers/{server}/metadata", get(index).post(merge).put(replace))
        .route("/servers/{server}/metadata/{key}", get(show).put(set).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    meta: Metadata,
}

async fn index(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    let row = call.read_server(&id, "server-metadata:index").await?;
    answer(&json!({"metadata": row.metadata}))
}

async fn show(call: Call, Path((id, key)): Path<(String, String)>) -> Outcome<Response> {
    let row = call.read_server(&id, "server-metadata:show").await?;
    let value = row.metadata.get(&key).ok_or_else(missing)?;
    answer(&json!({"meta": {key: value}}))
}

fn missing() -> Error {
    not_found("Metadata item was not found")
}

/// Changes a server's metadata and returns what it then is.
async fn change(
    call: &Call,
    id: &str,
    rule: &'static str,
    act: impl Fn(&mut BTreeMap<String, String>) -> Outcome<()>,
) -> Outcome<BTreeMap<String, String>> {
    let act = |txn: &mut Txn, row: &mut ServerRow| {
        act(&mut row.metadata)?;
        quota::metadata_items(txn, &row.project_id, row.metadata.len())?;
        Ok(row.metadata.clone())
    };
    change::at_once(call, id, Verb::Describe(rule), act).await
}

async fn merge(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<All>,
) -> Outcome<Response> {
    let merge = |all: &mut BTreeMap<_, _>| {
        all.extend(body.metadata.0.clone());
        Ok(())
    };
    let all = change(&call, &id, "server-metadata:create", merge).await?;
    answer(&json!({"metadata": all}))
}

async fn replace(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<All>,
) -> Outcome<Response> {
    let replace = |all: &mut BTreeMap<_, _>| {
        all.clone_from(&body.metadata.0);
        Ok(())
    };
    let all = change(&call, &id, "server-metadata:update_all", replace).await?;
    answer(&json!({"metadata": all}))
}

async fn set(
    call: Call,
    Path((id, key)): Path<(String, String)>,
    JsonBody(body): JsonBody<One>,
) -> Outcome<Response> {
    if body.meta.0.len() > 1 {
        return Err(bad_request("Request body contains too many items"));
    }
    let value = body.meta.0.get(&key);
    let value = value.ok_or_else(|| bad_request("Request body and URI mismatch"))?;
    let set = |all: &mut BTreeMap<_, _>| {
        all.insert(key.clone(), value.clone());
        Ok(())
    };
    change(&call, &id, "server-metadata:update", set).await?;
    answer(&json!({"meta": body.meta.0}))
}

async fn delete(call: Call, Path((id, key)): Path<(String, String)>) -> Outcome<StatusCode> {
    let delete =
        |all: &mut BTreeMap<String, String>| all.remove(&key).map(|_| ()).ok_or_else(missing);
    change(&call, &id, "server-metadata:delete", delete).await?;
    Ok(StatusCode::NO_CONTENT)
}
