//! How much a project has and may have.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Map, Value, json};
use updraft_edge::rest::{Auth, JsonBody, Query};
use updraft_runtime::store::StoreError;

use super::{invalid, member};
use crate::{
    Shared,
    error::Error,
    quota::{self, Used},
    rows::{Limits, QuotaRow, UNLIMITED},
};

/// Largest limit: what the real service's columns hold.
const LIMIT_MAX: i64 = i32::MAX as i64;

/// Quotas that are told but limit nothing here, with the real service's defaults.
const UNUSED: [(&str, i64); 6] = [
    ("backups", 10),
    ("backup_gigabytes", 1_000),
    ("groups", 10),
    ("volumes___DEFAULT__", UNLIMITED),
    ("gigabytes___DEFAULT__", UNLIMITED),
    ("snapshots___DEFAULT__", UNLIMITED),
];

fn entries(limits: &Limits, used: &Used) -> Vec<(&'static str, i64, u64)> {
    let mut entries = vec![
        ("volumes", limits.volumes, used.volumes),
        ("gigabytes", limits.gigabytes, used.gigabytes),
        ("snapshots", limits.snapshots, used.snapshots),
        ("per_volume_gigabytes", limits.per_volume_gigabytes, 0),
    ];
    entries.extend(UNUSED.map(|(name, limit)| {
        let used = match name {
            "volumes___DEFAULT__" => used.volumes,
            "gigabytes___DEFAULT__" => used.gigabytes,
            "snapshots___DEFAULT__" => used.snapshots,
            _ => 0,
        };
        (name, limit, used)
    }));
    entries
}

fn view(limits: &Limits, used: Option<&Used>) -> Map<String, Value> {
    let none = Used::default();
    entries(limits, used.unwrap_or(&none))
        .into_iter()
        .map(|(name, limit, count)| {
            let value = match used {
                Some(_) => json!({"limit": limit, "in_use": count, "reserved": 0}),
                None => json!(limit),
            };
            (name.to_owned(), value)
        })
        .collect()
}

impl Shared {
    async fn limits_and_use(&self, project: &str) -> Result<(Limits, Used), Error> {
        self.repository
            .read(|txn| Ok((quota::limits(txn, project)?, quota::used(txn, project)?)))
            .await
    }
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    query: Query,
    Path(project): Path<String>,
) -> Result<Json<Value>, Error> {
    shared.in_other(&auth, "volume_extension:quotas:show", &project)?;
    let (limits, used) = shared.limits_and_use(&project).await?;
    let used = query.flag("usage")?.unwrap_or(false).then_some(&used);
    let mut set = view(&limits, used);
    set.insert("id".to_owned(), json!(project));
    Ok(Json(json!({"quota_set": set})))
}

pub(super) async fn defaults(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(project): Path<String>,
) -> Result<Json<Value>, Error> {
    shared.in_other(&auth, "volume_extension:quotas:show", &project)?;
    let mut set = view(&Limits::default(), None);
    set.insert("id".to_owned(), json!(project));
    Ok(Json(json!({"quota_set": set})))
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(project): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    shared.in_other(&auth, "volume_extension:quotas:update", &project)?;
    let changes = read_limits(member(&body, "quota_set")?)?;
    let limits = shared
        .repository
        .commit(|txn, _| {
            let used = quota::used(txn, &project)?;
            let mut limits = quota::limits(txn, &project)?;
            for (name, value) in &changes {
                set(&mut limits, &used, name, *value)?;
            }
            txn.put(&QuotaRow { project: project.clone(), limits })?;
            Ok(limits)
        })
        .await?;
    Ok(Json(json!({"quota_set": view(&limits, None)})))
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(project): Path<String>,
) -> Result<StatusCode, Error> {
    shared.in_other(&auth, "volume_extension:quotas:delete", &project)?;
    let deleted = |txn: &mut updraft_runtime::store::Txn, _look| {
        Ok::<_, Error>(txn.delete::<QuotaRow>(&project).map_err(|error: StoreError| error)?)
    };
    shared.repository.commit(deleted).await?;
    Ok(StatusCode::OK)
}

fn read_limits(members: &Map<String, Value>) -> Result<Vec<(String, i64)>, Error> {
    let known = entries(&Limits::default(), &Used::default());
    let mut limits = Vec::new();
    for (name, value) in members {
        if ["tenant_id", "id", "force"].contains(&name.as_str()) {
            continue;
        }
        if !known.iter().any(|(known, _, _)| known == name) {
            let words = "is not a quota of this service";
            return Err(invalid("quota_set", name, words));
        }
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let bounded = number.filter(|number| (UNLIMITED..=LIMIT_MAX).contains(number));
        let number = bounded.ok_or_else(|| {
            let words = format!("is not an integer from -1 to {LIMIT_MAX}");
            invalid(&format!("quota_set.{name}"), &value.to_string(), &words)
        })?;
        limits.push((name.clone(), number));
    }
    Ok(limits)
}

fn set(limits: &mut Limits, used: &Used, name: &str, value: i64) -> Result<(), Error> {
    let (limit, count) = match name {
        "volumes" => (&mut limits.volumes, used.volumes),
        "gigabytes" => (&mut limits.gigabytes, used.gigabytes),
        "snapshots" => (&mut limits.snapshots, used.snapshots),
        "per_volume_gigabytes" => (&mut limits.per_volume_gigabytes, 0),
        // Nothing of the kind exists here, so that any limit holds.
        _ => return Ok(()),
    };
    if value != UNLIMITED && u64::try_from(value).unwrap_or(0) < count {
        return Err(Error::BadRequest(format!(
            "Quota {name} limit must be equal or greater than existing resources. Current usage \
             is {count} and the requested limit is {value}."
        )));
    }
    *limit = value;
    Ok(())
}

pub(super) async fn limits(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    query: Query,
) -> Result<Json<Value>, Error> {
    let own = shared.in_project(&auth, "limits_extension:used_limits")?;
    let other = query.get("project_id").or(query.get("tenant_id"));
    let project = other.filter(|_| shared.is_admin(&auth)).unwrap_or(&own);
    let (limits, used) = shared.limits_and_use(project).await?;
    Ok(Json(json!({"limits": {"rate": [], "absolute": {
        "maxTotalVolumes": limits.volumes,
        "maxTotalVolumeGigabytes": limits.gigabytes,
        "maxTotalSnapshots": limits.snapshots,
        "maxTotalBackups": 10,
        "maxTotalBackupGigabytes": 1_000,
        "totalVolumesUsed": used.volumes,
        "totalGigabytesUsed": used.gigabytes,
        "totalSnapshotsUsed": used.snapshots,
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }}})))
}
