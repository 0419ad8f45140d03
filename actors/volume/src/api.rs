//! The REST API of volumes, v3.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use updraft_edge::{
    policy::own,
    rest::{Auth, Edge, EdgeConfig, Microversion, Service, VersionRange},
};
use updraft_runtime::policy::Target;

use crate::{
    Shared,
    error::Error,
    rows::{SnapshotRow, VolumeRow},
};

mod actions;
mod attachments;
mod create;
mod list;
mod metadata;
mod operators;
mod quotas;
mod snapshots;
mod types;
mod view;
mod volumes;

/// The microversions served. The next one lets snapshots be taken of volumes in use, which these are not.
const VERSIONS: VersionRange = VersionRange::new(Microversion::new(3, 0), Microversion::new(3, 65));

/// The one availability zone there is.
const ZONE: &str = "nova";

/// Longest name and description, and key and value of metadata, in characters: the real service's.
const TEXT_MAX_CHARS: usize = 255;

/// All routes, behind the edge.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let context = &shared.context;
    let config = EdgeConfig::new(
        Service::Volume,
        context.env.clone(),
        context.verifier.clone(),
        shared.config.policy.clone(),
        VERSIONS,
    );
    Edge::new(config).mount(Router::new(), routes().with_state(shared.clone()))
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/volumes", get(volumes::index).post(create::create))
        .route("/volumes/detail", get(volumes::detail))
        .route("/volumes/summary", get(volumes::summary))
        .route("/volumes/{volume}", get(volumes::show).put(volumes::update).delete(volumes::delete))
        .route("/volumes/{volume}/action", post(actions::volume))
        .route(
            "/volumes/{volume}/metadata",
            get(metadata::show).post(metadata::merge).put(metadata::replace),
        )
        .route(
            "/volumes/{volume}/metadata/{key}",
            get(metadata::show_one).put(metadata::set_one).delete(metadata::delete_one),
        )
        .route("/snapshots", get(snapshots::index).post(snapshots::create))
        .route("/snapshots/detail", get(snapshots::detail))
        .route(
            "/snapshots/{snapshot}",
            get(snapshots::show).put(snapshots::update).delete(snapshots::delete),
        )
        .route("/snapshots/{snapshot}/action", post(actions::snapshot))
        .route("/attachments", get(attachments::index))
        .route("/attachments/detail", get(attachments::detail))
        .route("/attachments/{attachment}", get(attachments::show))
        .route("/types", get(types::index))
        .route("/types/{type}", get(types::show))
        .route(
            "/os-quota-sets/{project}",
            get(quotas::show).put(quotas::update).delete(quotas::delete),
        )
        .route("/os-quota-sets/{project}/defaults", get(quotas::defaults))
        .route("/limits", get(quotas::limits))
        .route("/os-services", get(operators::services))
        .route("/os-availability-zone", get(operators::zones))
        .route("/extensions", get(operators::extensions))
}

impl Shared {
    /// Refuses what the rule does not let the caller do in the own project.
    fn in_project(&self, auth: &Auth, rule: &str) -> Result<String, Error> {
        let project = auth.principal.project_id();
        self.enforcer.enforce(auth, rule, &own(&auth.principal))?;
        let words = "Malformed request url";
        project.map(str::to_owned).ok_or_else(|| Error::BadRequest(words.to_owned()))
    }

    /// Refuses what the rule does not let the caller do in this project.
    fn in_other(&self, auth: &Auth, rule: &str, project: &str) -> Result<(), Error> {
        let target = Target::new().with("project_id", project).with("tenant_id", project);
        Ok(self.enforcer.enforce(auth, rule, &target)?)
    }

    fn is_admin(&self, auth: &Auth) -> bool {
        self.enforcer.allows(auth, "context_is_admin", &Target::new())
    }

    async fn volume_for(&self, auth: &Auth, id: &str, rule: &str) -> Result<VolumeRow, Error> {
        let row = self.repository.get::<VolumeRow>(id).await?;
        let row = row.ok_or_else(|| Error::VolumeNotFound(id.to_owned()))?;
        self.on_volume(&auth.principal, auth.service.as_deref(), rule, &row)?;
        Ok(row)
    }

    async fn snapshot_for(&self, auth: &Auth, id: &str, rule: &str) -> Result<SnapshotRow, Error> {
        let row = self.repository.get::<SnapshotRow>(id).await?;
        let row = row.ok_or_else(|| Error::SnapshotNotFound(id.to_owned()))?;
        self.on_snapshot(&auth.principal, auth.service.as_deref(), rule, &row)?;
        Ok(row)
    }

    /// Changes a volume that the caller may change.
    async fn change_volume(
        &self,
        auth: &Auth,
        id: &str,
        rule: &str,
        f: impl Fn(&mut updraft_runtime::store::Txn, &VolumeRow) -> Result<VolumeRow, Error>,
    ) -> Result<VolumeRow, Error> {
        let now = self.context.env.wall();
        let changed = self
            .repository
            .change::<VolumeRow>(id, |txn, row| {
                self.on_volume(&auth.principal, auth.service.as_deref(), rule, row)?;
                let new = f(txn, row)?;
                let news = new != *row;
                Ok(if news { VolumeRow { updated_at: Some(now), ..new } } else { new })
            })
            .await?;
        changed.ok_or_else(|| Error::VolumeNotFound(id.to_owned()))
    }

    /// Changes a snapshot that the caller may change.
    async fn change_snapshot(
        &self,
        auth: &Auth,
        id: &str,
        rule: &str,
        f: impl Fn(&SnapshotRow) -> Result<SnapshotRow, Error>,
    ) -> Result<SnapshotRow, Error> {
        let now = self.context.env.wall();
        let changed = self
            .repository
            .change::<SnapshotRow>(id, |_, row| {
                self.on_snapshot(&auth.principal, auth.service.as_deref(), rule, row)?;
                let new = f(row)?;
                let news = new != *row;
                Ok(if news { SnapshotRow { updated_at: Some(now), ..new } } else { new })
            })
            .await?;
        changed.ok_or_else(|| Error::SnapshotNotFound(id.to_owned()))
    }
}

/// A text that may be null and must not be long; blanks around it are left out.
fn text(field: &str, value: Option<&String>) -> Result<Option<String>, Error> {
    let Some(value) = value.map(|value| value.trim()) else { return Ok(None) };
    if value.chars().count() > TEXT_MAX_CHARS {
        return Err(invalid(field, value, "is too long"));
    }
    Ok(Some(value.to_owned()))
}

/// Metadata with keys and values of bearable length.
fn checked_metadata(metadata: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    for (key, value) in &metadata {
        if key.is_empty() || key.chars().count() > TEXT_MAX_CHARS {
            return Err(invalid("metadata", key, "must be 1 to 255 characters long"));
        }
        if value.chars().count() > TEXT_MAX_CHARS {
            return Err(invalid(&format!("metadata.{key}"), value, "is too long"));
        }
    }
    Ok(metadata)
}

/// A field's mistake in the real service's words.
fn invalid(field: &str, value: &str, reason: &str) -> Error {
    let shown: String = value.chars().take(120).collect();
    Service::Volume.invalid_field(field, &shown, &format!("'{shown}' {reason}")).into()
}

/// The object under this key of a body, which holds nothing else.
fn member<'a>(body: &'a Value, key: &str) -> Result<&'a Map<String, Value>, Error> {
    let Some(body) = body.as_object() else {
        return Err(invalid("body", "", "is not of type 'object'"));
    };
    if let Some(other) = body.keys().find(|other| *other != key) {
        let words = format!("Additional properties are not allowed ('{other}' was unexpected)");
        return Err(Service::Volume.invalid_field("body", "an object", &words).into());
    }
    let found = body.get(key).ok_or_else(|| {
        let words = format!("'{key}' is a required property");
        Error::from(Service::Volume.invalid_field("body", "an object", &words))
    })?;
    found.as_object().ok_or_else(|| {
        let words = "is not of type 'object'".to_owned();
        Service::Volume.invalid_field(key, &found.to_string(), &words).into()
    })
}

/// A value of this type from a part of a body.
fn read<T: for<'de> Deserialize<'de>>(members: &Map<String, Value>) -> Result<T, Error> {
    let value = Value::Object(members.clone());
    Ok(updraft_edge::rest::from_value(Service::Volume, &value)?)
}

/// An integer that clients also write as a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Integer(i64),
    Text(String),
}

impl Number {
    /// At least one.
    fn positive(&self, field: &str) -> Result<u64, Error> {
        let (number, shown) = match self {
            Self::Integer(number) => (Some(*number), number.to_string()),
            Self::Text(text) => (text.parse().ok(), text.clone()),
        };
        let positive = number.and_then(|number| u64::try_from(number).ok());
        let bounded = positive.filter(|number| (1..=i32::MAX as u64).contains(number));
        bounded.ok_or_else(|| invalid(field, &shown, "is not an integer of 1 or more"))
    }
}

/// A flag that clients also write as a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(bool),
    Text(String),
}

impl Flag {
    fn get(&self, field: &str) -> Result<bool, Error> {
        match self {
            Self::Boolean(flag) => Ok(*flag),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
                "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
                _ => Err(invalid(field, text, "is not a boolean")),
            },
        }
    }
}
