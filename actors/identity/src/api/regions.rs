//! `/regions`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, ServiceError};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    Shared,
    fields::given,
    list::{Resource, collection, resource},
    normalized,
};
use crate::{
    core::Core,
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{EndpointRow, Extra, RegionRow},
};

/// Longest id of a region, in characters; people choose them.
const ID_MAX_CHARS: usize = 255;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/regions", get(list).post(create))
        .route("/regions/{region_id}", get(show).put(create_as).patch(update).delete(delete))
}

#[derive(Deserialize)]
struct Body {
    region: Region,
}

#[derive(Deserialize)]
struct Region {
    id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    parent_region_id: Option<Option<String>>,
    #[serde(flatten)]
    extra: Extra,
}

fn view(links: &Links, row: RegionRow) -> Resource {
    let mut region = row.extra;
    let path = format!("regions/{}", row.id);
    let known = json!({
        "id": row.id,
        "description": row.description,
        "parent_region_id": row.parent_region_id,
    });
    region.extend(resource(links, &path, known));
    region
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:list_regions", &Target::new())?;
    let rows = core.store.read(|txn| txn.scan::<RegionRow>(None, usize::MAX)).await;
    let found = rows.map_err(Error::from)?.into_iter().map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "regions", "regions", &query, &["parent_region_id"], found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_region", &Target::new())?;
    let row = core.store.read(|txn| txn.get::<RegionRow>(&id)).await.map_err(Error::from)?;
    let row = row.ok_or_else(|| What::Region.not_found(&id))?;
    Ok(Json(json!({"region": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Body { region }): JsonBody<Body>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    core.enforce(&auth.principal, "identity:create_region", &Target::new())?;
    let id = region.id.clone().filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| core.env.uuid().simple().to_string());
    insert(&core, &links, id, region).await
}

async fn create_as(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Body { region }): JsonBody<Body>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    core.enforce(&auth.principal, "identity:create_region", &Target::new())?;
    if let Some(other) = region.id.as_ref().filter(|other| **other != id) {
        let message = format!("Conflicting region IDs specified: \"{id}\" != \"{other}\"");
        return Err(Error::Invalid(message).into());
    }
    insert(&core, &links, id, region).await
}

async fn insert(
    core: &Core,
    links: &Links,
    id: String,
    region: Region,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    if id.chars().count() > ID_MAX_CHARS {
        let message = "Invalid input for field 'id': it is too long".to_owned();
        return Err(Error::Invalid(message).into());
    }
    let row = RegionRow {
        id,
        description: region.description.flatten().unwrap_or_default(),
        parent_region_id: region.parent_region_id.flatten(),
        extra: normalized(region.extra),
    };
    core.change(|change| {
        check_parent(change, &row)?;
        or_duplicate(change.insert(&row), || {
            What::Region.conflict(&format!("Duplicate ID, {}.", row.id))
        })
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"region": view(links, row)}))))
}

/// Refuses a parent that does not exist, or that is below.
fn check_parent(txn: &Txn, row: &RegionRow) -> Result<(), Error> {
    let mut next = row.parent_region_id.clone();
    while let Some(id) = next {
        if id == row.id {
            return Err(Error::Invalid(format!(
                "The specified parent region {} would create a circular region hierarchy.",
                row.parent_region_id.as_deref().unwrap_or_default()
            )));
        }
        let parent = txn.get::<RegionRow>(&id)?.ok_or_else(|| What::Region.not_found(&id))?;
        next = parent.parent_region_id;
    }
    Ok(())
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Body { region }): JsonBody<Body>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:update_region", &Target::new())?;
    if region.id.as_ref().is_some_and(|other| *other != id) {
        return Err(Error::Invalid("Cannot change ID".to_owned()).into());
    }
    let extra = normalized(region.extra);
    let row = core
        .change(|change| {
            let mut row =
                change.get::<RegionRow>(&id)?.ok_or_else(|| What::Region.not_found(&id))?;
            if let Some(description) = &region.description {
                row.description = description.clone().unwrap_or_default();
            }
            if let Some(parent) = &region.parent_region_id {
                row.parent_region_id.clone_from(parent);
                check_parent(change, &row)?;
            }
            row.extra.extend(extra.clone());
            change.put(&row)?;
            Ok(row)
        })
        .await?;
    Ok(Json(json!({"region": view(&links, row)})))
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    core.enforce(&auth.principal, "identity:delete_region", &Target::new())?;
    core.change(|change| remove(change, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a region and those below it, unless a service is there.
fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    change.get::<RegionRow>(id)?.ok_or_else(|| What::Region.not_found(id))?;
    let mut ids = vec![id.to_owned()];
    let mut next = 0;
    while let Some(id) = ids.get(next) {
        let below = change.find::<RegionRow>(RegionRow::BY_PARENT, id)?;
        ids.extend(below.into_iter().map(|row| row.id));
        next += 1;
    }
    for below in &ids {
        if change.find_one::<EndpointRow>(EndpointRow::BY_REGION, below)?.is_some() {
            return Err(Error::Forbidden(format!(
                "Unable to delete region {id} because it or its child regions have associated \
                 endpoints."
            )));
        }
    }
    for below in ids.iter().rev() {
        change.delete::<RegionRow>(below)?;
    }
    Ok(())
}
