//! The metadata of a volume.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Service};

use super::checked_metadata;
use crate::{Shared, error::Error, rows::VolumeRow};

type Metadata = BTreeMap<String, String>;

/// A body with all metadata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct All {
    metadata: Metadata,
}

/// A body with one entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct One {
    meta: Metadata,
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = shared.volume_for(&auth, &id, "volume:get_volume_metadata").await?;
    Ok(Json(json!({"metadata": row.metadata})))
}

pub(super) async fn merge(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<All>,
) -> Result<Json<Value>, Error> {
    let new = checked_metadata(body.metadata)?;
    let rule = "volume:create_volume_metadata";
    let row = change(&shared, &auth, &id, rule, |metadata| {
        metadata.extend(new.clone());
        Ok(())
    })
    .await?;
    Ok(Json(json!({"metadata": row.metadata})))
}

pub(super) async fn replace(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<All>,
) -> Result<Json<Value>, Error> {
    let new = checked_metadata(body.metadata)?;
    let rule = "volume:update_volume_metadata";
    let row = change(&shared, &auth, &id, rule, |metadata| {
        metadata.clone_from(&new);
        Ok(())
    })
    .await?;
    Ok(Json(json!({"metadata": row.metadata})))
}

pub(super) async fn show_one(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, key)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    let row = shared.volume_for(&auth, &id, "volume:get_volume_metadata").await?;
    let value = row.metadata.get(&key).ok_or_else(|| no_entry(&id, &key))?;
    Ok(Json(json!({"meta": {key.as_str(): value}})))
}

pub(super) async fn set_one(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, key)): Path<(String, String)>,
    JsonBody(body): JsonBody<One>,
) -> Result<Json<Value>, Error> {
    let new = checked_metadata(body.meta)?;
    let value = match (new.len(), new.get(&key)) {
        (1, Some(value)) => value.clone(),
        (1, None) => {
            let words = "Request body and URI mismatch";
            return Err(Error::BadRequest(words.to_owned()));
        }
        _ => {
            let words = "Request body contains too many items";
            return Err(Error::BadRequest(words.to_owned()));
        }
    };
    let rule = "volume:update_volume_metadata";
    change(&shared, &auth, &id, rule, |metadata| {
        metadata.insert(key.clone(), value.clone());
        Ok(())
    })
    .await?;
    Ok(Json(json!({"meta": new})))
}

pub(super) async fn delete_one(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, key)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let rule = "volume:delete_volume_metadata";
    change(&shared, &auth, &id, rule, |metadata| match metadata.remove(&key) {
        Some(_) => Ok(()),
        None => Err(no_entry(&id, &key)),
    })
    .await?;
    Ok(StatusCode::OK)
}

async fn change(
    shared: &Shared,
    auth: &Auth,
    id: &str,
    rule: &str,
    f: impl Fn(&mut Metadata) -> Result<(), Error>,
) -> Result<VolumeRow, Error> {
    shared
        .change_volume(auth, id, rule, |_, row| {
            let mut row = row.clone();
            f(&mut row.metadata)?;
            Ok(row)
        })
        .await
}

fn no_entry(id: &str, key: &str) -> Error {
    Service::Volume.not_found(format!("Volume {id} has no metadata with key {key}.")).into()
}
