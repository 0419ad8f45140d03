//! What else can be done with a volume or a snapshot: one member of the body says what.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use updraft_edge::rest::{Auth, JsonBody, Service};

use super::{Flag, Number, invalid, read};
use crate::{
    Shared,
    error::Error,
    quota::{self, Wanted},
    rows::{SnapshotRow, SnapshotStatus, VolumeRow, VolumeStatus},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extend {
    new_size: Number,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBootable {
    bootable: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetStatus {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    attach_status: Option<String>,
    #[serde(default)]
    migration_status: Option<String>,
}

pub(super) async fn volume(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Error> {
    let (action, arguments) = action(&body)?;
    match action {
        "os-extend" => shared.extend(&auth, &id, &read(&arguments)?).await?,
        "os-reset_status" => shared.reset(&auth, &id, &read(&arguments)?).await?,
        "os-set_bootable" => {
            shared.set_bootable(&auth, &id, &read(&arguments)?).await?;
            return Ok(Json(serde_json::json!({})).into_response());
        }
        "os-force_delete" => {
            let rule = "volume_extension:volume_admin_actions:force_delete";
            shared.unwant(&auth, &id, rule, false, true).await?;
        }
        other => return Err(no_such_action(other)),
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(super) async fn snapshot(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<StatusCode, Error> {
    let (action, arguments) = action(&body)?;
    match action {
        "os-reset_status" => shared.reset_snapshot(&auth, &id, &read(&arguments)?).await?,
        "os-force_delete" => {
            let rule = "volume_extension:snapshot_admin_actions:force_delete";
            shared.unwant_snapshot(&auth, &id, rule, true).await?;
        }
        other => return Err(no_such_action(other)),
    }
    Ok(StatusCode::ACCEPTED)
}

/// The one member of the body, with its object; null stands for an empty one.
fn action(body: &Value) -> Result<(&str, Map<String, Value>), Error> {
    let members: Vec<_> = body.as_object().into_iter().flatten().collect();
    let [(name, arguments)] = members.as_slice() else {
        return Err(Error::BadRequest("There must be exactly one action in the body".to_owned()));
    };
    match arguments {
        Value::Null => Ok((name, Map::new())),
        Value::Object(arguments) => Ok((name, arguments.clone())),
        other => Err(invalid(name, &other.to_string(), "is not of type 'object'")),
    }
}

fn no_such_action(name: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    Service::Volume.bad_request(format!("There is no such action: {name}")).into()
}

impl Shared {
    async fn extend(&self, auth: &Auth, id: &str, arguments: &Extend) -> Result<(), Error> {
        let new_gib = arguments.new_size.positive("new_size")?;
        self.change_volume(auth, id, "volume:extend", |txn, row| {
            let size_gib = row.size_gib();
            if new_gib <= size_gib {
                return Err(Error::InvalidInput(format!(
                    "New size for extend must be greater than current size. (current: {size_gib}, \
                     extended: {new_gib})."
                )));
            }
            if let Some(export) = &row.file.export {
                return Err(Error::InvalidVolume(format!(
                    "Volume {} is served to host {} over NBD, which cannot make larger what is \
                     attached: detach it, and extend it then.",
                    row.id, export.host
                )));
            }
            if row.status() != VolumeStatus::Available || !row.file.is_ready() {
                return Err(Error::InvalidVolume(format!(
                    "Volume {} status must be 'available' to extend, currently {}.",
                    row.id,
                    row.status().as_str()
                )));
            }
            let growth = Wanted::Growth { to_gib: new_gib, by_gib: new_gib - size_gib };
            quota::check(txn, &row.project, growth)?;
            let mut row = row.clone();
            row.file.grow(new_gib);
            row.extend_failed = false;
            Ok(row)
        })
        .await?;
        Ok(())
    }

    async fn set_bootable(
        &self,
        auth: &Auth,
        id: &str,
        arguments: &SetBootable,
    ) -> Result<(), Error> {
        let bootable = arguments.bootable.get("bootable")?;
        self.change_volume(auth, id, "volume:update", |_, row| {
            Ok(VolumeRow { bootable, ..row.clone() })
        })
        .await?;
        Ok(())
    }

    async fn reset(&self, auth: &Auth, id: &str, arguments: &ResetStatus) -> Result<(), Error> {
        let rule = "volume_extension:volume_admin_actions:reset_status";
        let said = [&arguments.status, &arguments.attach_status, &arguments.migration_status];
        if said.iter().all(|text| text.is_none()) {
            let words = "Must specify 'status', 'attach_status' or 'migration_status' for update.";
            return Err(Error::BadRequest(words.to_owned()));
        }
        let status = match &arguments.status {
            None => None,
            Some(text) => Some(
                VolumeStatus::parse(text)
                    .ok_or_else(|| invalid("status", text, "is not the status of a volume"))?,
            ),
        };
        self.change_volume(auth, id, rule, |_, row| {
            match status {
                Some(VolumeStatus::Deleting | VolumeStatus::ErrorDeleting) => {
                    let text = arguments.status.as_deref().unwrap_or_default();
                    return Err(Error::BadRequest(format!("Cannot reset-state to {text}")));
                }
                Some(VolumeStatus::InUse) if row.attachment.is_none() => {
                    let words = "Cannot reset-state to in-use because volume does not have any \
                                 attachments.";
                    return Err(Error::BadRequest(words.to_owned()));
                }
                _ => {}
            }
            let mut row = row.clone();
            if row.extend_failed && status.is_some() {
                row.extend_failed = false;
            }
            row.reset = status.filter(|status| *status != row.natural_status());
            Ok(row)
        })
        .await?;
        Ok(())
    }

    async fn reset_snapshot(
        &self,
        auth: &Auth,
        id: &str,
        arguments: &ResetStatus,
    ) -> Result<(), Error> {
        let rule = "volume_extension:snapshot_admin_actions:reset_status";
        let text = arguments.status.as_deref().unwrap_or_default();
        let status = SnapshotStatus::parse(text)
            .ok_or_else(|| invalid("status", text, "is not the status of a snapshot"))?;
        self.change_snapshot(auth, id, rule, |row| {
            let reset = Some(status).filter(|status| *status != row.natural_status());
            Ok(SnapshotRow { reset, ..row.clone() })
        })
        .await?;
        Ok(())
    }
}
