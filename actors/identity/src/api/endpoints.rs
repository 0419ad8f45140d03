//! `/endpoints`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, ServiceError};
use updraft_protocol::identity::Interface;
use updraft_runtime::policy::Target;

use super::{
    Shared,
    fields::{Url, given},
    list::{Resource, collection, resource},
    normalized,
};
use crate::{
    error::{Error, What, expecting},
    ledger::Change,
    rows::{EndpointRow, Extra, RegionRow, ServiceRow},
};

/// Attributes by which a list can be narrowed.
const FILTERS: [&str; 3] = ["interface", "service_id", "region_id"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/endpoints", get(list).post(create))
        .route("/endpoints/{endpoint_id}", get(show).patch(update).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    endpoint: NewEndpoint,
}

#[derive(Deserialize)]
struct NewEndpoint {
    interface: Interface,
    service_id: String,
    url: Url,
    region_id: Option<String>,
    /// The older name of `region_id`; such a region is made if there is none.
    region: Option<String>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    endpoint: ChangedEndpoint,
}

#[derive(Deserialize)]
struct ChangedEndpoint {
    id: Option<String>,
    interface: Option<Interface>,
    service_id: Option<String>,
    url: Option<Url>,
    #[serde(default, deserialize_with = "given")]
    region_id: Option<Option<String>>,
    region: Option<String>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Extra,
}

fn view(links: &Links, row: EndpointRow) -> Resource {
    let mut endpoint = row.extra;
    let path = format!("endpoints/{}", row.id);
    let known = json!({
        "id": row.id,
        "service_id": row.service_id,
        "interface": row.interface,
        "region_id": row.region_id,
        "region": row.region_id,
        "url": row.url,
        "enabled": row.enabled,
    });
    endpoint.extend(resource(links, &path, known));
    endpoint
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:list_endpoints", &Target::new())?;
    let rows = core.store.read(|txn| txn.scan::<EndpointRow>(None, usize::MAX)).await;
    let found = rows.map_err(Error::from)?.into_iter().map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "endpoints", "endpoints", &query, &FILTERS, found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_endpoint", &Target::new())?;
    let row = core.store.read(|txn| txn.get::<EndpointRow>(&id)).await.map_err(Error::from)?;
    let row = row.ok_or_else(|| What::Endpoint.not_found(&id))?;
    Ok(Json(json!({"endpoint": view(&links, row)})))
}

/// Refuses an address whose blanks nobody could fill in.
fn check_url(url: &str) -> Result<(), Error> {
    let mut rest = url;
    while let Some(at) = rest.find("$(").or_else(|| rest.find("%(")) {
        let name = rest[at + 2..].split_once(")s");
        rest = match name {
            Some(("project_id" | "tenant_id" | "user_id", after)) => after,
            _ => {
                return Err(Error::Invalid(format!(
                    "Cannot create an endpoint with an invalid URL: {url}."
                )));
            }
        };
    }
    Ok(())
}

/// Refuses a service or region that does not exist.
fn check_references(change: &Change<'_>, row: &EndpointRow) -> Result<(), Error> {
    if change.get::<ServiceRow>(&row.service_id)?.is_none() {
        let named = format!("endpoint service_id {}", row.service_id);
        return Err(expecting(&named, "service table"));
    }
    match &row.region_id {
        Some(id) if change.get::<RegionRow>(id)?.is_none() => {
            Err(expecting(&format!("endpoint region_id {id}"), "region table"))
        }
        _ => Ok(()),
    }
}

/// Makes a region that is named in the old way.
fn ensure_region(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    if change.get::<RegionRow>(id)?.is_some() {
        return Ok(());
    }
    Ok(change.insert(&RegionRow {
        id: id.to_owned(),
        description: String::new(),
        parent_region_id: None,
        extra: Extra::new(),
    })?)
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { endpoint }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    core.enforce(&auth.principal, "identity:create_endpoint", &Target::new())?;
    check_url(&endpoint.url.0)?;
    let old_way = endpoint.region.filter(|_| endpoint.region_id.is_none());
    let row = EndpointRow {
        id: core.env.uuid().simple().to_string(),
        service_id: endpoint.service_id,
        interface: endpoint.interface,
        region_id: endpoint.region_id.or_else(|| old_way.clone()),
        url: endpoint.url.0,
        enabled: endpoint.enabled.unwrap_or(true),
        extra: normalized(endpoint.extra),
    };
    core.change(|change| {
        if let Some(id) = &old_way {
            ensure_region(change, id)?;
        }
        check_references(change, &row)?;
        Ok(change.insert(&row)?)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"endpoint": view(&links, row)}))))
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { endpoint: wanted }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:update_endpoint", &Target::new())?;
    if wanted.id.as_ref().is_some_and(|other| *other != id) {
        return Err(Error::Invalid("Cannot change ID".to_owned()).into());
    }
    if let Some(url) = &wanted.url {
        check_url(&url.0)?;
    }
    let row = core.change(|change| apply(change, &id, &wanted)).await?;
    Ok(Json(json!({"endpoint": view(&links, row)})))
}

fn apply(
    change: &mut Change<'_>,
    id: &str,
    wanted: &ChangedEndpoint,
) -> Result<EndpointRow, Error> {
    let mut row = change.get::<EndpointRow>(id)?.ok_or_else(|| What::Endpoint.not_found(id))?;
    match (&wanted.region_id, &wanted.region) {
        (Some(region_id), _) => row.region_id.clone_from(region_id),
        (None, Some(region)) => {
            ensure_region(change, region)?;
            row.region_id = Some(region.clone());
        }
        (None, None) => {}
    }
    if let Some(service_id) = &wanted.service_id {
        row.service_id.clone_from(service_id);
    }
    if let Some(url) = &wanted.url {
        row.url.clone_from(&url.0);
    }
    row.interface = wanted.interface.unwrap_or(row.interface);
    row.enabled = wanted.enabled.unwrap_or(row.enabled);
    row.extra.extend(normalized(wanted.extra.clone()));
    check_references(change, &row)?;
    change.put(&row)?;
    Ok(row)
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    core.enforce(&auth.principal, "identity:delete_endpoint", &Target::new())?;
    core.change(|change| {
        change.delete::<EndpointRow>(&id)?.ok_or_else(|| What::Endpoint.not_found(&id))?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
