//! `/services`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, ServiceError};
use updraft_runtime::policy::Target;

use super::{
    Shared,
    fields::Name,
    list::{Resource, collection, resource},
    normalized,
};
use crate::{
    error::{Error, What},
    rows::{EndpointRow, Extra, ServiceRow},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/services", get(list).post(create))
        .route("/services/{service_id}", get(show).patch(update).delete(delete))
}

#[derive(Deserialize)]
struct Create {
    service: NewService,
}

#[derive(Deserialize)]
struct NewService {
    #[serde(rename = "type")]
    kind: Name<255>,
    name: Option<Name<255>>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Update {
    service: ChangedService,
}

#[derive(Deserialize)]
struct ChangedService {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Name<255>>,
    name: Option<Name<255>>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Extra,
}

fn view(links: &Links, row: ServiceRow) -> Resource {
    let mut service = row.extra;
    let path = format!("services/{}", row.id);
    let known = json!({
        "id": row.id,
        "type": row.kind,
        "name": row.name,
        "enabled": row.enabled,
    });
    service.extend(resource(links, &path, known));
    service
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:list_services", &Target::new())?;
    let rows = core.store.read(|txn| txn.scan::<ServiceRow>(None, usize::MAX)).await;
    let found = rows.map_err(Error::from)?.into_iter().map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "services", "services", &query, &["type", "name"], found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_service", &Target::new())?;
    let row = core.store.read(|txn| txn.get::<ServiceRow>(&id)).await.map_err(Error::from)?;
    let row = row.ok_or_else(|| What::Service.not_found(&id))?;
    Ok(Json(json!({"service": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { service }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    core.enforce(&auth.principal, "identity:create_service", &Target::new())?;
    let row = ServiceRow {
        id: core.env.uuid().simple().to_string(),
        kind: service.kind.trimmed(),
        name: service.name.map(Name::trimmed).unwrap_or_default(),
        enabled: service.enabled.unwrap_or(true),
        extra: normalized(service.extra),
    };
    core.change(|change| Ok(change.insert(&row)?)).await?;
    Ok((StatusCode::CREATED, Json(json!({"service": view(&links, row)}))))
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { service: wanted }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:update_service", &Target::new())?;
    if wanted.id.is_some_and(|other| other != id) {
        return Err(Error::Invalid("Cannot change ID".to_owned()).into());
    }
    let (kind, name) = (wanted.kind.map(Name::trimmed), wanted.name.map(Name::trimmed));
    let extra = normalized(wanted.extra);
    let row = core
        .change(|change| {
            let mut row =
                change.get::<ServiceRow>(&id)?.ok_or_else(|| What::Service.not_found(&id))?;
            row.kind = kind.clone().unwrap_or(row.kind);
            row.name = name.clone().unwrap_or(row.name);
            row.enabled = wanted.enabled.unwrap_or(row.enabled);
            row.extra.extend(extra.clone());
            change.put(&row)?;
            Ok(row)
        })
        .await?;
    Ok(Json(json!({"service": view(&links, row)})))
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    core.enforce(&auth.principal, "identity:delete_service", &Target::new())?;
    core.change(|change| {
        change.delete::<ServiceRow>(&id)?.ok_or_else(|| What::Service.not_found(&id))?;
        for endpoint in change.find::<EndpointRow>(EndpointRow::BY_SERVICE, &id)? {
            change.delete::<EndpointRow>(&endpoint.id)?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
