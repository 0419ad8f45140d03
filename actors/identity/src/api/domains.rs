//! `/domains`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, ServiceError};
use updraft_protocol::identity::Scope;
use updraft_runtime::{env::UnixMicros, policy::Target};

use super::{
    Shared, about,
    fields::{Flag, Name},
    grants, groups,
    list::{Resource, collection, resource},
    normalized, options,
    places::{self, ChangedPlace},
    projects, roles,
    tags::Tags,
    users,
};
use crate::{
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{self, DomainRow, Extra, GroupRow, ProjectRow, RoleRow, UserRow, is_immutable},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/domains", get(list).post(create))
        .route("/domains/{domain_id}", get(show).patch(update).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    domain: NewDomain,
}

#[derive(Deserialize)]
struct NewDomain {
    name: Name<64>,
    explicit_domain_id: Option<String>,
    description: Option<String>,
    enabled: Option<Flag>,
    tags: Option<Tags>,
    options: Option<Extra>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    domain: ChangedPlace,
}

/// A domain as it is answered.
pub(super) fn view(links: &Links, row: DomainRow) -> Resource {
    let mut domain = row.extra;
    let path = format!("domains/{}", row.id);
    let known = json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "enabled": row.enabled,
        "tags": row.tags,
        "options": row.options,
    });
    domain.extend(resource(links, &path, known));
    domain
}

fn target(row: Option<&DomainRow>) -> Target {
    match row {
        Some(row) => about(Target::new(), "domain", &[("id", Some(&row.id))]),
        None => Target::new(),
    }
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    let own = match &auth.principal.scope {
        Scope::Domain(domain) => Some(domain.id.as_str()),
        _ => None,
    };
    let target =
        own.map_or_else(Target::new, |id| about(Target::new(), "domain", &[("id", Some(id))]));
    core.enforce(&auth.principal, "identity:list_domains", &target)?;
    let rows = core.store.read(|txn| txn.scan::<DomainRow>(None, usize::MAX)).await;
    let rows = rows.map_err(Error::from)?.into_iter();
    let found = rows
        .filter(|row| own.is_none_or(|own| row.id == own))
        .map(|row| view(&links, row))
        .collect();
    Ok(Json(collection(&links, "domains", "domains", &query, &["name", "enabled"], found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let row = core.store.read(|txn| txn.get::<DomainRow>(&id)).await.map_err(Error::from)?;
    core.enforce(&auth.principal, "identity:get_domain", &target(row.as_ref()))?;
    let row = row.ok_or_else(|| What::Domain.not_found(&id))?;
    Ok(Json(json!({"domain": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { domain }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    core.enforce(&auth.principal, "identity:create_domain", &Target::new())?;
    let id = match domain.explicit_domain_id {
        Some(id) => explicit(id)?,
        None => core.env.uuid().simple().to_string(),
    };
    let row = DomainRow {
        id,
        name: domain.name.trimmed(),
        description: domain.description.or_else(|| Some(String::new())),
        enabled: domain.enabled.is_none_or(|flag| flag.0),
        tags: domain.tags.unwrap_or_default().into_texts(),
        options: options::of_place(domain.options, Extra::new())?,
        revoked_before: None,
        extra: normalized(domain.extra),
    };
    core.change(|change| or_duplicate(change.insert(&row), || duplicate(&row.name))).await?;
    Ok((StatusCode::CREATED, Json(json!({"domain": view(&links, row)}))))
}

fn explicit(id: String) -> Result<String, Error> {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if id.len() == 32 && id.bytes().all(hex) {
        return Ok(id);
    }
    Err(Error::Invalid("Domain ID does not conform to required UUID format.".to_owned()))
}

pub(super) fn duplicate(name: &str) -> Error {
    What::Project.conflict(&format!(
        "it is not permitted to have two projects acting as domains with the same name: {name}"
    ))
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { domain }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:update_domain", &Target::new())?;
    let wanted = domain.checked()?;
    let lead = wanted.lead(&core).await;
    let row = core.change(|change| apply(change, &id, &wanted, core.env.wall().plus(lead))).await?;
    Ok(Json(json!({"domain": view(&links, row)})))
}

/// Changes a domain.
pub(super) fn apply(
    change: &mut Change<'_>,
    id: &str,
    wanted: &places::Change,
    now: UnixMicros,
) -> Result<DomainRow, Error> {
    let mut row = change.get::<DomainRow>(id)?.ok_or_else(|| What::Domain.not_found(id))?;
    wanted.apply_to_domain(&mut row, now)?;
    or_duplicate(change.put(&row), || duplicate(&row.name))?;
    Ok(row)
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    core.enforce(&auth.principal, "identity:delete_domain", &Target::new())?;
    core.change(|change| remove(change, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a domain with all that it owns.
pub(super) fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    let row = change.get::<DomainRow>(id)?.ok_or_else(|| What::Domain.not_found(id))?;
    if is_immutable(&row.options) {
        return Err(What::Domain.immutable("delete", id));
    }
    if row.enabled {
        return Err(Error::Forbidden(
            "Cannot delete a domain that is enabled, please disable it first.".to_owned(),
        ));
    }
    for project in change.find::<ProjectRow>(ProjectRow::BY_DOMAIN, id)? {
        projects::remove(change, &project.id)?;
    }
    for user in change.find::<UserRow>(UserRow::BY_DOMAIN, id)? {
        users::remove(change, &user.id)?;
    }
    for group in change.find::<GroupRow>(GroupRow::BY_DOMAIN, id)? {
        groups::remove(change, &group.id)?;
    }
    for role in change.find::<RoleRow>(RoleRow::BY_DOMAIN, id)? {
        roles::remove(change, &role.id)?;
    }
    grants::remove_on(change, &rows::Target::Domain(id.to_owned()))?;
    change.delete::<DomainRow>(id)?;
    Ok(())
}
