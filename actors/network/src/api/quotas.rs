//! `/quotas`

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::{Map, Value, json};
use updraft_edge::rest::{Auth, JsonBody};
use updraft_runtime::store::{StoreError, Txn};

use super::{App, asker::Asker, resource::owned, values::Check};
use crate::{
    error::{NetworkError, Outcome, bad_request, l2},
    ops::quotas,
    rows::{QuotaRow, Resource},
    work::Work,
};

/// Largest limit: what neutron's database holds.
const LIMIT_MAX: i64 = 2_147_483_647;

/// The routes of quotas.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/quotas", get(list))
        .route("/quotas/{project}", get(show).put(update).delete(delete))
        .route("/quotas/{project}/default", get(defaults))
        .route("/quotas/{project}/details", get(details))
        .route("/quotas/{project}/details.json", get(details))
}

/// A project sees its own limits; those of others only who may.
fn check_visible(asker: &Asker<'_>, project_id: &str) -> Outcome<()> {
    if project_id == asker.project_id {
        return Ok(());
    }
    asker.must("get_quota", &owned(&asker.project_id))
}

fn shown(limits: &BTreeMap<Resource, i64>) -> Map<String, Value> {
    limits.iter().map(|(resource, limit)| (resource.as_str().to_owned(), json!(limit))).collect()
}

async fn list(State(app): State<App>, auth: Auth) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    asker.must("get_quota", &owned(&asker.project_id))?;
    let config = &app.core.config;
    let all = app
        .core
        .read(|txn| {
            let rows = txn.scan::<QuotaRow>(None, usize::MAX)?;
            let one = |row: &QuotaRow| {
                let mut view = shown(&quotas::limits(txn, config, &row.project_id)?);
                view.insert("project_id".to_owned(), json!(row.project_id));
                view.insert("tenant_id".to_owned(), json!(row.project_id));
                Ok(Value::from(view))
            };
            Ok(rows.iter().map(one).collect::<Result<Vec<Value>, StoreError>>()?)
        })
        .await?;
    Ok(Json(json!({"quotas": all})))
}

async fn show(
    State(app): State<App>,
    auth: Auth,
    Path(project_id): Path<String>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    if let "tenant" | "project" = project_id.as_str() {
        let key = format!("{project_id}_id");
        return Ok(Json(json!({ project_id: {key: asker.project_id} })));
    }
    check_visible(&asker, &project_id)?;
    let config = &app.core.config;
    let limits = app.core.read(|txn| Ok(quotas::limits(txn, config, &project_id)?)).await?;
    Ok(Json(json!({"quota": shown(&limits)})))
}

async fn defaults(
    State(app): State<App>,
    auth: Auth,
    Path(project_id): Path<String>,
) -> Result<Json<Value>, NetworkError> {
    check_visible(&app.asker(&auth), &project_id)?;
    let config = &app.core.config;
    let limits =
        Resource::ALL.into_iter().map(|resource| (resource, config.default_limit(resource)));
    Ok(Json(json!({"quota": shown(&limits.collect())})))
}

async fn details(
    State(app): State<App>,
    auth: Auth,
    Path(project_id): Path<String>,
) -> Result<Json<Value>, NetworkError> {
    check_visible(&app.asker(&auth), &project_id)?;
    let config = &app.core.config;
    let all = app
        .core
        .read(|txn| {
            let mut all = Map::new();
            for (resource, limit) in quotas::limits(txn, config, &project_id)? {
                let used = used(txn, &project_id, resource)?;
                let detail = json!({"limit": limit, "used": used, "reserved": 0});
                all.insert(resource.as_str().to_owned(), detail);
            }
            Ok(all)
        })
        .await?;
    Ok(Json(json!({"quota": all})))
}

fn used(txn: &Txn, project_id: &str, resource: Resource) -> Result<usize, StoreError> {
    quotas::used(txn, project_id, resource, usize::MAX)
}

async fn update(
    State(app): State<App>,
    auth: Auth,
    Path(project_id): Path<String>,
    JsonBody(value): JsonBody<Value>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    asker.must("update_quota", &owned(&asker.project_id))?;
    let (wanted, force) = read(&value)?;
    let change = |work: &mut Work<'_>| {
        let known = work.txn.get::<QuotaRow>(&project_id)?;
        let mut limits = known.map(|row| row.limits).unwrap_or_default();
        for (resource, limit) in &wanted {
            check_used(work, &project_id, *resource, *limit, force)?;
            limits.insert(*resource, *limit);
        }
        work.txn.put(&QuotaRow { project_id: project_id.clone(), limits })?;
        Ok(quotas::limits(work.txn, work.config, &project_id)?)
    };
    let limits = app.core.transact(app.trace(&auth, "PUT quotas"), change).await?;
    Ok(Json(json!({"quota": shown(&limits)})))
}

/// The limits that a body sets, and whether they hold though more is used.
fn read(value: &Value) -> Outcome<(BTreeMap<Resource, i64>, bool)> {
    let Some(body) = value.get("quota").and_then(Value::as_object) else {
        return Err(bad_request("Unable to find 'quota' in request body"));
    };
    let force = body.get("force").and_then(Value::as_bool).unwrap_or(false);
    let mut limits = BTreeMap::new();
    for (name, limit) in body {
        if let "force" | "check_limit" | "tenant_id" | "project_id" = name.as_str() {
            continue;
        }
        let Some(resource) = Resource::parse(name) else {
            return Err(bad_request(format!("Unrecognized attribute(s) '{name}'")));
        };
        let limit = Check::Range(-1, LIMIT_MAX).convert(name, limit)?;
        limits.insert(resource, limit.as_i64().unwrap_or(-1));
    }
    Ok((limits, force))
}

fn check_used(
    work: &Work<'_>,
    project_id: &str,
    resource: Resource,
    limit: i64,
    force: bool,
) -> Outcome<()> {
    let Ok(limit) = usize::try_from(limit) else { return Ok(()) };
    let used = used(work.txn, project_id, resource)?;
    if force || used <= limit {
        return Ok(());
    }
    Err(bad_request(format!(
        "Quota limit {limit} for {} must be greater than or equal to already used {used}",
        resource.as_str()
    )))
}

async fn delete(
    State(app): State<App>,
    auth: Auth,
    Path(project_id): Path<String>,
) -> Result<StatusCode, NetworkError> {
    let asker = app.asker(&auth);
    asker.must("delete_quota", &owned(&asker.project_id))?;
    let remove = |work: &mut Work<'_>| match work.txn.delete::<QuotaRow>(&project_id)? {
        Some(_) => Ok(()),
        None => Err(l2::project_quota_not_found(&project_id)),
    };
    app.core.transact(app.trace(&auth, "DELETE quotas"), remove).await?;
    Ok(StatusCode::NO_CONTENT)
}
