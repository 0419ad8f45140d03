//! Flavors' extra specs, and which projects may use those that are not public.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};
use updraft_edge::rest::{JsonBody, Service, from_value};

use super::{
    Api,
    body::{Name, is_key},
    call::Call,
    flavors,
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_request, conflict, no_flavor, not_found},
    rows::FlavorRow,
};

/// The routes of extra specs and access.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/flavors/{flavor}/os-extra_specs", get(index).post(merge))
        .route("/flavors/{flavor}/os-extra_specs/{key}", get(show).put(set).delete(remove))
        .route("/flavors/{flavor}/os-flavor-access", get(access))
        .route("/flavors/{flavor}/action", post(action))
}

/// Extra specs; a number is as good as its text.
struct Specs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Specs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let text = |(key, value): (String, Value)| match value {
            _ if !is_key(&key) => Err(D::Error::custom(format_args!(
                "Additional properties are not allowed ('{key}' was unexpected)"
            ))),
            Value::String(text) if text.chars().count() <= 255 => Ok((key, text)),
            Value::Number(number) => Ok((key, number.to_string())),
            other => {
                Err(D::Error::custom(format_args!("{other} is not a string of 255 characters")))
            }
        };
        all.into_iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    extra_specs: Specs,
}

fn missing(flavor: &str, key: &str) -> Error {
    not_found(format!("Flavor {flavor} has no extra specs with key {key}."))
}

async fn index(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.must("os-flavor-extra-specs:index")?;
    let row = call.api.context.store.read(|txn| flavors::find(&call, txn, &id)).await?;
    answer(&json!({"extra_specs": row.spec.extra_specs}))
}

async fn show(call: Call, Path((id, key)): Path<(String, String)>) -> Outcome<Response> {
    call.must("os-flavor-extra-specs:show")?;
    let row = call.api.context.store.read(|txn| flavors::find(&call, txn, &id)).await?;
    let value = row.spec.extra_specs.get(&key).ok_or_else(|| missing(&id, &key))?;
    answer(&json!({key: value}))
}

/// Changes a flavor, whoever may see it.
async fn change<T>(
    call: &Call,
    id: &str,
    act: impl Fn(&mut FlavorRow) -> Outcome<T>,
) -> Outcome<T> {
    call.api
        .context
        .store
        .transact(|txn| {
            let mut row = txn.get::<FlavorRow>(id)?.ok_or_else(|| no_flavor(id))?;
            let value = act(&mut row)?;
            txn.put(&row)?;
            Ok(value)
        })
        .await
}

async fn merge(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Body>,
) -> Outcome<Response> {
    call.must("os-flavor-extra-specs:create")?;
    let specs = body.extra_specs.0;
    let merge = |row: &mut FlavorRow| {
        row.spec.extra_specs.extend(specs.clone());
        Ok(())
    };
    change(&call, &id, merge).await?;
    answer(&json!({"extra_specs": specs}))
}

async fn set(
    call: Call,
    Path((id, key)): Path<(String, String)>,
    JsonBody(Specs(body)): JsonBody<Specs>,
) -> Outcome<Response> {
    call.must("os-flavor-extra-specs:update")?;
    if body.len() > 1 {
        return Err(bad_request("Request body contains too many items"));
    }
    let value = body.get(&key).ok_or_else(|| bad_request("Request body and URI mismatch"))?;
    let set = |row: &mut FlavorRow| {
        row.spec.extra_specs.insert(key.clone(), value.clone());
        Ok(())
    };
    change(&call, &id, set).await?;
    answer(&body)
}

async fn remove(call: Call, Path((id, key)): Path<(String, String)>) -> Outcome<StatusCode> {
    call.must("os-flavor-extra-specs:delete")?;
    let remove = |row: &mut FlavorRow| {
        row.spec.extra_specs.remove(&key).map(|_| ()).ok_or_else(|| missing(&id, &key))
    };
    change(&call, &id, remove).await?;
    Ok(StatusCode::OK)
}

fn access_list(row: &FlavorRow) -> Value {
    let entry = |project: &String| json!({"flavor_id": row.spec.id, "tenant_id": project});
    json!({"flavor_access": row.access.iter().map(entry).collect::<Vec<_>>()})
}

async fn access(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.must("os-flavor-access")?;
    let row = call.api.context.store.read(|txn| flavors::find(&call, txn, &id)).await?;
    if row.is_public {
        return Err(not_found("Access list not available for public flavors."));
    }
    answer(&access_list(&row))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessBody {
    #[serde(rename = "addTenantAccess")]
    add: Option<Tenant>,
    #[serde(rename = "removeTenantAccess")]
    remove: Option<Tenant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    tenant: Name,
}

async fn action(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Outcome<Response> {
    let known = |name: &String| ["addTenantAccess", "removeTenantAccess"].contains(&name.as_str());
    if let Some(name) = body.keys().find(|name| !known(name)) {
        return Err(bad_request(format!("There is no such action: {name}")));
    }
    let body: AccessBody = from_value(Service::Compute, &Value::Object(body))?;
    let list = match (body.add, body.remove) {
        (Some(project), None) => {
            call.must("os-flavor-access:add_tenant_access")?;
            let project = project.tenant.0;
            super::quotas::check_project(&call, &project)?;
            change(&call, &id, |row| add_access(row, &project)).await?
        }
        (None, Some(project)) => {
            call.must("os-flavor-access:remove_tenant_access")?;
            let project = project.tenant.0;
            super::quotas::check_project(&call, &project)?;
            change(&call, &id, |row| remove_access(row, &project)).await?
        }
        _ => {
            return Err(bad_request("Malformed request body: it must name exactly one action"));
        }
    };
    answer(&list)
}

fn add_access(row: &mut FlavorRow, project: &str) -> Outcome<Value> {
    if row.is_public {
        return Err(conflict("Can not add access to a public flavor."));
    }
    if !row.access.insert(project.to_owned()) {
        return Err(conflict(format!(
            "Flavor access already exists for flavor {} and project {project} combination.",
            row.spec.id
        )));
    }
    Ok(access_list(row))
}

fn remove_access(row: &mut FlavorRow, project: &str) -> Outcome<Value> {
    if !row.access.remove(project) {
        return Err(not_found(format!(
            "Flavor access not found for {} / {project} combination.",
            row.spec.id
        )));
    }
    Ok(access_list(row))
}
