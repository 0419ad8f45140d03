//! Volumes: lists, one, changing its words, deleting it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Microversion, Query, Service};
use updraft_runtime::{env::UnixMicros, store::Txn};
use uuid::Uuid;

use super::{
    checked_metadata,
    list::{Listed, page},
    member, read, text,
    view::Viewer,
};
use crate::{
    Shared,
    error::Error,
    rows::{BY_VOLUME, SnapshotRow, SnapshotStatus, VolumeRow, VolumeStatus},
};

/// What volumes can be filtered by.
const FILTERS: [&str; 6] = ["id", "name", "status", "availability_zone", "bootable", "volume_type"];

impl Listed for VolumeRow {
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
            "availability_zone" => Some(self.availability_zone.clone()),
            "bootable" => Some(self.bootable.to_string()),
            "volume_type" => Some(super::types::NAME.to_owned()),
            _ => None,
        }
    }

    fn size_gib(&self) -> u64 {
        Self::size_gib(self)
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    query: Query,
) -> Result<Json<Value>, Error> {
    let rows = shared.listed::<VolumeRow>(&auth, "volume:get_all", &query, &FILTERS).await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    let view = |row: &VolumeRow| viewer.volume_summary(row);
    Ok(Json(page(rows, &query, &links, version, ("volumes", "volumes"), view)?))
}

pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    query: Query,
) -> Result<Json<Value>, Error> {
    let rows = shared.listed::<VolumeRow>(&auth, "volume:get_all", &query, &FILTERS).await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    let view = |row: &VolumeRow| viewer.volume(row);
    Ok(Json(page(rows, &query, &links, version, ("volumes", "volumes/detail"), view)?))
}

/// From this version on there are summaries, and from the second on they tell metadata.
const SUMMARY_SINCE: [Microversion; 2] = [Microversion::new(3, 12), Microversion::new(3, 36)];

pub(super) async fn summary(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    query: Query,
) -> Result<Json<Value>, Error> {
    if version < SUMMARY_SINCE[0] {
        return Err(Service::Volume.no_such_path().into());
    }
    let rows = shared.listed::<VolumeRow>(&auth, "volume:get_all", &query, &FILTERS).await?;
    let size: u64 = rows.iter().map(VolumeRow::size_gib).sum();
    let mut summary = json!({"total_count": rows.len(), "total_size": size});
    if version >= SUMMARY_SINCE[1] {
        let mut distinct: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
        for (key, value) in rows.iter().flat_map(|row| &row.metadata) {
            distinct.entry(key).or_default().insert(value);
        }
        summary["metadata"] = json!(distinct);
    }
    Ok(Json(json!({"volume-summary": summary})))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = shared.volume_for(&auth, &id, "volume:get").await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok(Json(json!({"volume": viewer.volume(&row)})))
}

/// What can be changed of a volume, and of a snapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Words {
    #[serde(deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    display_name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    display_description: Option<Option<String>>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl Words {
    /// From a body with this key.
    pub(super) fn of(body: &Value, key: &str) -> Result<Self, Error> {
        let words: Self = read(member(body, key)?)?;
        let Self { name, display_name, description, display_description, metadata } = words;
        Ok(Self {
            name: checked("name", name.or(display_name))?,
            description: checked("description", description.or(display_description))?,
            metadata: metadata.map(checked_metadata).transpose()?,
            ..Self::default()
        })
    }

    /// The new name and description where there are any.
    pub(super) fn apply(&self, name: &mut Option<String>, description: &mut Option<String>) {
        if let Some(new) = &self.name {
            name.clone_from(new);
        }
        if let Some(new) = &self.description {
            description.clone_from(new);
        }
    }
}

fn checked(field: &str, value: Option<Option<String>>) -> Result<Option<Option<String>>, Error> {
    value.map(|value| text(field, value.as_ref())).transpose()
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let words = Words::of(&body, "volume")?;
    let row = shared
        .change_volume(&auth, &id, "volume:update", |_, row| {
            let mut row = row.clone();
            words.apply(&mut row.name, &mut row.description);
            if let Some(metadata) = &words.metadata {
                row.metadata.clone_from(metadata);
            }
            Ok(row)
        })
        .await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok(Json(json!({"volume": viewer.volume_itself(&row)})))
}

/// From this version on a volume can be deleted by force in this way.
const FORCE_SINCE: Microversion = Microversion::new(3, 23);

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    query: Query,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let cascade = query.flag("cascade")?.unwrap_or(false);
    let force = version >= FORCE_SINCE && query.flag("force")?.unwrap_or(false);
    let rule = if force { "volume:force_delete" } else { "volume:delete" };
    shared.unwant(&auth, &id, rule, cascade, force).await?;
    Ok(StatusCode::ACCEPTED)
}

impl Shared {
    /// Wants a volume gone.
    pub(super) async fn unwant(
        &self,
        auth: &Auth,
        id: &str,
        rule: &str,
        cascade: bool,
        force: bool,
    ) -> Result<(), Error> {
        self.change_volume(auth, id, rule, |txn, row| {
            if !row.file.present {
                return Ok(row.clone());
            }
            check_deletable(txn, row, cascade, force)?;
            if cascade {
                unwant_snapshots(txn, row)?;
            }
            let mut row = row.clone();
            row.file.unwant();
            row.caller = None;
            Ok(row)
        })
        .await?;
        Ok(())
    }
}

fn check_deletable(txn: &Txn, row: &VolumeRow, cascade: bool, force: bool) -> Result<(), Error> {
    let resting = matches!(
        row.status(),
        VolumeStatus::Available
            | VolumeStatus::Error
            | VolumeStatus::ErrorExtending
            | VolumeStatus::ErrorDeleting
    );
    let snapshots = txn.find::<SnapshotRow>(BY_VOLUME, &row.id.to_string())?;
    let blocking = if cascade {
        let busy = |row: &SnapshotRow| {
            !matches!(
                row.status(),
                SnapshotStatus::Available | SnapshotStatus::Error | SnapshotStatus::Deleting
            )
        };
        !force && snapshots.iter().any(busy)
    } else {
        !snapshots.is_empty()
    };
    if (resting || force) && row.attachment.is_none() && !blocking {
        return Ok(());
    }
    let status = if force {
        ""
    } else {
        " status must be available or error or error_restoring or error_extending or \
         error_managing and"
    };
    Err(Error::InvalidVolume(format!(
        "Volume{status} must not be migrating, attached, belong to a group, have snapshots, \
         awaiting a transfer, or be disassociated from snapshots after volume transfer."
    )))
}

fn unwant_snapshots(txn: &mut Txn, row: &VolumeRow) -> Result<(), Error> {
    for mut snapshot in txn.find::<SnapshotRow>(BY_VOLUME, &row.id.to_string())? {
        snapshot.file.unwant();
        txn.put(&snapshot)?;
    }
    Ok(())
}
