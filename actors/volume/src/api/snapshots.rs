//! Snapshots.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Microversion, Query};
use updraft_protocol::volume::FileSource;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use super::{
    Flag, checked_metadata,
    list::{Listed, page},
    member, read, text,
    view::Viewer,
    volumes::Words,
};
use crate::{
    Shared,
    error::Error,
    quota::{self, Wanted},
    rows::{FileState, SnapshotRow, SnapshotStatus, VolumeRow, VolumeStatus},
};

/// What snapshots can be filtered by.
const FILTERS: [&str; 4] = ["id", "name", "status", "volume_id"];

impl Listed for SnapshotRow {
    fn id(&self) -> Uuid {
        self.id
    }

    fn created_at(&self) -> UnixMicros {
        self.created_at
    }

    fn attribute(&self, name: &str) -> Option<String> {
        match name {
            "id" => Some(self.id.to_string()),
            "name" => self.name.clone(),
            "status" => Some(self.status().as_str().to_owned()),
            "volume_id" => Some(self.volume.to_string()),
            _ => None,
        }
    }

    fn size_gib(&self) -> u64 {
        self.file.size_gib
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// What a client may say of a new snapshot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    volume_id: Uuid,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    display_description: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    force: Option<Flag>,
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let body: Body = read(member(&body, "snapshot")?)?;
    let forced = body.force.as_ref().map(|flag| flag.get("force")).transpose()?;
    let volume = body.volume_id.to_string();
    let volume = shared.volume_for(&auth, &volume, "volume:create_snapshot").await?;
    let row = shared.new_snapshot(&auth, &volume, body)?;
    shared
        .repository
        .insert(&row, |txn| {
            let volume = txn.get::<VolumeRow>(&row.volume.to_string())?;
            let missing = || Error::VolumeNotFound(row.volume.to_string());
            check_volume(&volume.ok_or_else(missing)?, forced == Some(true))?;
            let size_gib = row.file.size_gib;
            quota::check(txn, &row.project, Wanted::Snapshot { size_gib })
        })
        .await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok((StatusCode::ACCEPTED, Json(json!({"snapshot": viewer.snapshot_itself(&row)}))))
}

/// A snapshot is a copy of the volume's file: while a guest writes to it, none is made.
fn check_volume(volume: &VolumeRow, forced: bool) -> Result<(), Error> {
    let status = volume.status();
    if status == VolumeStatus::Available && volume.file.is_ready() {
        return Ok(());
    }
    let remedy = match status {
        VolumeStatus::InUse if forced => {
            " A volume in use cannot be copied, not even by force: detach it first."
        }
        _ => "",
    };
    Err(Error::InvalidVolume(format!(
        "Volume {} status must be available, but current status is: {}.{remedy}",
        volume.id,
        status.as_str()
    )))
}

impl Shared {
    fn new_snapshot(
        &self,
        auth: &Auth,
        volume: &VolumeRow,
        body: Body,
    ) -> Result<SnapshotRow, Error> {
        let now = self.context.env.wall();
        let source = FileSource::File(volume.id);
        let description = body.description.or(body.display_description);
        Ok(SnapshotRow {
            id: self.context.env.uuid(),
            volume: volume.id,
            project: volume.project.clone(),
            user: auth.principal.user.id.clone(),
            name: text("name", body.name.or(body.display_name).as_ref())?,
            description: text("description", description.as_ref())?,
            metadata: checked_metadata(body.metadata.unwrap_or_default())?,
            bootable: volume.bootable,
            file: FileState::wanted(volume.size_gib(), volume.file.format, source, now),
            reset: None,
            created_at: now,
            updated_at: None,
        })
    }
}

pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    query: Query,
) -> Result<Json<Value>, Error> {
    list(&shared, &auth, version, &links, &query, false).await
}

pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    query: Query,
) -> Result<Json<Value>, Error> {
    list(&shared, &auth, version, &links, &query, true).await
}

async fn list(
    shared: &Shared,
    auth: &Auth,
    version: Microversion,
    links: &Links,
    query: &Query,
    detailed: bool,
) -> Result<Json<Value>, Error> {
    let rule = "volume:get_all_snapshots";
    let rows = shared.listed::<SnapshotRow>(auth, rule, query, &FILTERS).await?;
    let viewer = Viewer { links, version, admin: shared.is_admin(auth) };
    let path = if detailed { "snapshots/detail" } else { "snapshots" };
    let view = |row: &SnapshotRow| {
        if detailed { viewer.snapshot(row) } else { viewer.snapshot_summary(row) }
    };
    Ok(Json(page(rows, query, links, version, ("snapshots", path), view)?))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = shared.snapshot_for(&auth, &id, "volume:get_snapshot").await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok(Json(json!({"snapshot": viewer.snapshot(&row)})))
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let words = Words::of(&body, "snapshot")?;
    let row = shared
        .change_snapshot(&auth, &id, "volume:update_snapshot", |row| {
            let mut row = row.clone();
            words.apply(&mut row.name, &mut row.description);
            Ok(row)
        })
        .await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok(Json(json!({"snapshot": viewer.snapshot_itself(&row)})))
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    shared.unwant_snapshot(&auth, &id, "volume:delete_snapshot", false).await?;
    Ok(StatusCode::ACCEPTED)
}

impl Shared {
    /// Wants a snapshot gone.
    pub(super) async fn unwant_snapshot(
        &self,
        auth: &Auth,
        id: &str,
        rule: &str,
        force: bool,
    ) -> Result<(), Error> {
        self.change_snapshot(auth, id, rule, |row| {
            if !row.file.present {
                return Ok(row.clone());
            }
            let resting = matches!(
                row.status(),
                SnapshotStatus::Available | SnapshotStatus::Error | SnapshotStatus::ErrorDeleting
            );
            if !resting && !force {
                let words = "Snapshot status must be available or error and must not be part of a \
                             group.";
                return Err(Error::InvalidSnapshot(words.to_owned()));
            }
            let mut row = row.clone();
            row.file.unwant();
            Ok(row)
        })
        .await?;
        Ok(())
    }
}
