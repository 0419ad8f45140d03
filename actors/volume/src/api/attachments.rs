//! Who holds which volume. Attachments are made by the compute service, not here.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, Microversion, Query, Service};

use super::view;
use crate::{
    Shared,
    error::Error,
    rows::{BY_ATTACHMENT, VolumeRow},
};

/// From this version on there are attachments.
const SINCE: Microversion = Microversion::new(3, 27);

fn check_version(version: Microversion) -> Result<(), Error> {
    if version >= SINCE { Ok(()) } else { Err(Service::Volume.no_such_path().into()) }
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    check_version(version)?;
    let found =
        shared.repository.read(|txn| Ok(txn.find_one::<VolumeRow>(BY_ATTACHMENT, &id)?)).await?;
    let missing = || Error::AttachmentNotFound(id.clone());
    let row = found.ok_or_else(missing)?;
    let seen = shared.on_volume(&auth.principal, auth.service.as_deref(), "volume:get", &row);
    seen.map_err(|_| missing())?;
    let held = row.attachment.as_ref().ok_or_else(missing)?;
    Ok(Json(json!({"attachment": view::attachment(&row, held, true)})))
}

pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    query: Query,
) -> Result<Json<Value>, Error> {
    list(&shared, &auth, version, &query, false).await
}

pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    query: Query,
) -> Result<Json<Value>, Error> {
    list(&shared, &auth, version, &query, true).await
}

async fn list(
    shared: &Shared,
    auth: &Auth,
    version: Microversion,
    query: &Query,
    detailed: bool,
) -> Result<Json<Value>, Error> {
    check_version(version)?;
    let rows = shared.listed::<VolumeRow>(auth, "volume:get_all", query, &[]).await?;
    let wanted = |name: &str, value: String| query.get(name).is_none_or(|text| text == value);
    let attachments: Vec<Value> = rows
        .iter()
        .filter_map(|row| Some((row, row.attachment.as_ref()?)))
        .filter(|(row, held)| {
            wanted("volume_id", row.id.to_string())
                && wanted("instance_id", held.server.to_string())
                && wanted("status", held.state.as_str().to_owned())
        })
        .map(|(row, held)| view::attachment(row, held, detailed))
        .collect();
    Ok(Json(json!({"attachments": attachments})))
}
