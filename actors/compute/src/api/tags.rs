//! /servers/{id}/tags, since 2.26.

use axum::{
    Router,
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use updraft_edge::rest::{JsonBody, Service, from_value};
use updraft_runtime::store::Txn;

use super::{
    Api,
    call::Call,
    change::{self, Verb},
    create::body::Tag,
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_request, not_found},
    rows::ServerRow,
};

/// The version that brought tags.
const SINCE: u32 = 26;

/// Most tags of one server, as in nova.
const TAGS_MAX: usize = 50;

/// The routes of tags.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/servers/{server}/tags", get(index).put(replace).delete(clear))
        .route("/servers/{server}/tags/{tag}", get(show).put(add).delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    tags: Vec<Tag>,
}

fn too_many() -> Error {
    bad_request(format!("The number of tags exceeded the per-server limit {TAGS_MAX}"))
}

fn missing(id: &str, tag: &str) -> Error {
    not_found(format!("Server {id} has no tag '{tag}'"))
}

async fn index(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.since(SINCE)?;
    let row = call.read_server(&id, "os-server-tags:index").await?;
    answer(&json!({"tags": row.tags}))
}

async fn show(call: Call, Path((id, tag)): Path<(String, String)>) -> Outcome<StatusCode> {
    call.since(SINCE)?;
    let row = call.read_server(&id, "os-server-tags:show").await?;
    match row.tags.contains(&tag) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing(&id, &tag)),
    }
}

async fn replace(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Body>,
) -> Outcome<Response> {
    call.since(SINCE)?;
    let mut tags: Vec<String> = body.tags.into_iter().map(|tag| tag.0).collect();
    tags.sort();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        return Err(too_many());
    }
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.tags.clone_from(&tags);
        Ok(())
    };
    change::at_once(&call, &id, Verb::Describe("os-server-tags:update_all"), act).await?;
    answer(&json!({"tags": tags}))
}

async fn clear(call: Call, Path(id): Path<String>) -> Outcome<StatusCode> {
    call.since(SINCE)?;
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.tags.clear();
        Ok(())
    };
    change::at_once(&call, &id, Verb::Describe("os-server-tags:delete_all"), act).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add(call: Call, Path((id, tag)): Path<(String, String)>) -> Outcome<Response> {
    call.since(SINCE)?;
    let Tag(tag) = from_value(Service::Compute, &json!(tag))?;
    let act = |_: &mut Txn, row: &mut ServerRow| {
        if row.tags.contains(&tag) {
            return Ok(false);
        }
        if row.tags.len() >= TAGS_MAX {
            return Err(too_many());
        }
        row.tags.push(tag.clone());
        row.tags.sort();
        Ok(true)
    };
    let verb = Verb::Describe("os-server-tags:update");
    if !change::at_once(&call, &id, verb, act).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut response = StatusCode::CREATED.into_response();
    let address = call.links.api(&format!("servers/{id}/tags/{tag}"));
    if let Ok(address) = HeaderValue::from_str(&address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    Ok(response)
}

async fn remove(call: Call, Path((id, tag)): Path<(String, String)>) -> Outcome<StatusCode> {
    call.since(SINCE)?;
    let act = |_: &mut Txn, row: &mut ServerRow| {
        let place = row.tags.iter().position(|known| *known == tag);
        row.tags.remove(place.ok_or_else(|| missing(&id, &tag))?);
        Ok(())
    };
    change::at_once(&call, &id, Verb::Describe("os-server-tags:delete"), act).await?;
    Ok(StatusCode::NO_CONTENT)
}
