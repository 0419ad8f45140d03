//! `/users`.

use std::time::Duration;

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
    Shared, about, auth, domain_of_new,
    fields::{Flag, Id, Name, given},
    grants, groups,
    list::{Resource, collection, resource},
    normalized, options,
};
use crate::{
    core::Core,
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{Actor, DomainRow, Extra, GroupRow, MemberRow, UserRow},
};

/// Attributes by which a list can be narrowed.
pub(super) const FILTERS: [&str; 3] = ["domain_id", "enabled", "name"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{user_id}", get(show).patch(update).delete(delete))
        .route("/users/{user_id}/projects", get(list_projects))
        .route("/users/{user_id}/groups", get(list_groups))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    user: NewUser,
}

#[derive(Deserialize)]
struct NewUser {
    name: Name<255>,
    domain_id: Option<Id>,
    enabled: Option<Flag>,
    default_project_id: Option<String>,
    password: Option<String>,
    options: Option<Extra>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    user: ChangedUser,
}

#[derive(Deserialize)]
struct ChangedUser {
    id: Option<String>,
    name: Option<Name<255>>,
    domain_id: Option<Id>,
    enabled: Option<Flag>,
    #[serde(default, deserialize_with = "given")]
    default_project_id: Option<Option<String>>,
    password: Option<String>,
    options: Option<Extra>,
    #[serde(flatten)]
    extra: Extra,
}

/// A user as it is answered.
pub(super) fn view(links: &Links, row: UserRow) -> Resource {
    let mut user = row.extra;
    let path = format!("users/{}", row.id);
    let mut known = json!({
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "enabled": row.enabled,
        "options": row.options,
        "password_expires_at": null,
    });
    if let Some(project_id) = row.default_project_id {
        known["default_project_id"] = json!(project_id);
    }
    user.extend(resource(links, &path, known));
    user
}

/// A target with what rules ask about a user.
pub(super) fn target(target: Target, row: Option<&UserRow>) -> Target {
    match row {
        Some(row) => {
            let attributes = [("id", Some(&*row.id)), ("domain_id", Some(&*row.domain_id))];
            about(target, "user", &attributes)
        }
        None => target,
    }
}

/// The user, if the rule lets the caller do this with it.
async fn user(core: &Core, auth: &Auth, rule: &'static str, id: &str) -> Result<UserRow, Error> {
    let row = core.store.read(|txn| txn.get::<UserRow>(id)).await?;
    let target = target(Target::new().with("user_id", id), row.as_ref());
    core.enforce(&auth.principal, rule, &target)?;
    row.ok_or_else(|| What::User.not_found(id))
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
    let target = own.map_or_else(Target::new, |id| Target::new().with("target.domain_id", id));
    core.enforce(&auth.principal, "identity:list_users", &target)?;
    let rows = core.store.read(|txn| txn.scan::<UserRow>(None, usize::MAX)).await;
    let rows = rows.map_err(Error::from)?.into_iter();
    let rows = rows.filter(|row| own.is_none_or(|own| row.domain_id == own));
    let found = rows.map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "users", "users", &query, &FILTERS, found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let row = user(&core, &auth, "identity:get_user", &id).await?;
    Ok(Json(json!({"user": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { user }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    let asked = user.domain_id.as_ref().map(|id| id.0.as_str());
    let target = about(Target::new(), "user", &[("domain_id", asked)]);
    core.enforce(&auth.principal, "identity:create_user", &target)?;
    let password_hash = match user.password {
        Some(password) => Some(core.hasher.hash(password).await?),
        None => None,
    };
    let row = UserRow {
        id: core.env.uuid().simple().to_string(),
        name: user.name.trimmed(),
        domain_id: domain_of_new(user.domain_id, &auth),
        enabled: user.enabled.is_none_or(|flag| flag.0),
        default_project_id: user.default_project_id,
        password_hash,
        options: options::of_user(user.options, Extra::new())?,
        revoked_before: None,
        extra: normalized(user.extra),
    };
    core.change(|change| {
        if change.get::<DomainRow>(&row.domain_id)?.is_none() {
            return Err(What::Domain.not_found(&row.domain_id));
        }
        check_default_project(change, &row)?;
        let duplicate = || What::User.duplicate_name(&row.name, Some(&row.domain_id));
        or_duplicate(change.insert(&row), duplicate)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"user": view(&links, row)}))))
}

fn check_default_project(change: &Change<'_>, row: &UserRow) -> Result<(), Error> {
    match &row.default_project_id {
        Some(id) if change.get::<DomainRow>(id)?.is_some() => {
            Err(Error::Invalid(format!("User's default project ID cannot be a domain ID: {id}")))
        }
        _ => Ok(()),
    }
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { user: wanted }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    let held = user(&core, &auth, "identity:update_user", &id).await?;
    if wanted.id.is_some_and(|wanted| wanted != id) {
        return Err(Error::Invalid("Cannot change user ID".to_owned()).into());
    }
    if wanted.domain_id.is_some_and(|wanted| wanted.0 != held.domain_id) {
        return Err(Error::Invalid("Cannot change Domain ID".to_owned()).into());
    }
    let password_hash = match wanted.password {
        Some(password) => Some(core.hasher.hash(password).await?),
        None => None,
    };
    let wanted = Wanted {
        name: wanted.name.map(Name::trimmed),
        enabled: wanted.enabled.map(|flag| flag.0),
        default_project_id: wanted.default_project_id,
        password_hash,
        options: wanted.options,
        extra: normalized(wanted.extra),
    };
    let revokes = wanted.enabled == Some(false) || wanted.password_hash.is_some();
    let lead = if revokes { core.clock_lead().await } else { Duration::ZERO };
    let row = core.change(|change| apply(change, &id, &wanted, core.env.wall().plus(lead))).await?;
    Ok(Json(json!({"user": view(&links, row)})))
}

/// What is to become of a user; everything is left as it is that is not named.
#[derive(Default)]
pub(super) struct Wanted {
    name: Option<String>,
    enabled: Option<bool>,
    default_project_id: Option<Option<String>>,
    password_hash: Option<String>,
    options: Option<Extra>,
    extra: Extra,
}

impl Wanted {
    /// Another password, and nothing else.
    pub(super) fn password(hash: String) -> Self {
        Self { password_hash: Some(hash), ..Self::default() }
    }
}

/// Changes a user. Who is disabled or gets another password loses all tokens.
pub(super) fn apply(
    change: &mut Change<'_>,
    id: &str,
    wanted: &Wanted,
    now: UnixMicros,
) -> Result<UserRow, Error> {
    let mut row = change.get::<UserRow>(id)?.ok_or_else(|| What::User.not_found(id))?;
    let disabled = row.enabled && wanted.enabled == Some(false);
    if disabled || wanted.password_hash.is_some() {
        row.revoked_before = row.revoked_before.max(Some(now));
    }
    if let Some(name) = &wanted.name {
        row.name.clone_from(name);
    }
    if let Some(project_id) = &wanted.default_project_id {
        row.default_project_id.clone_from(project_id);
        check_default_project(change, &row)?;
    }
    if wanted.password_hash.is_some() {
        row.password_hash.clone_from(&wanted.password_hash);
    }
    row.enabled = wanted.enabled.unwrap_or(row.enabled);
    row.options = options::of_user(wanted.options.clone(), row.options)?;
    row.extra.extend(wanted.extra.clone());
    or_duplicate(change.put(&row), || What::User.duplicate_name(&row.name, None))?;
    Ok(row)
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    user(&core, &auth, "identity:delete_user", &id).await?;
    core.change(|change| {
        change.get::<UserRow>(&id)?.ok_or_else(|| What::User.not_found(&id))?;
        remove(change, &id)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a user and whatever the user may be anywhere.
pub(super) fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    grants::remove_of(change, &Actor::User(id.to_owned()))?;
    for member in change.find::<MemberRow>(MemberRow::BY_USER, id)? {
        groups::remove_member(change, &member)?;
    }
    change.delete::<UserRow>(id)?;
    Ok(())
}

async fn list_projects(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    user(&core, &auth, "identity:list_user_projects", &id).await?;
    let found = auth::projects_of(&core, &links, &id).await?;
    let path = format!("users/{id}/projects");
    Ok(Json(collection(&links, &path, "projects", &query, &FILTERS, found)?))
}

async fn list_groups(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    user(&core, &auth, "identity:list_groups_for_user", &id).await?;
    let found: Vec<Resource> = core
        .store
        .read(|txn| {
            let members = txn.find::<MemberRow>(MemberRow::BY_USER, &id)?;
            let mut found = Vec::new();
            for member in members {
                if let Some(row) = txn.get::<GroupRow>(&member.group_id)? {
                    let mut group = groups::view(&links, row);
                    group.insert("membership_expires_at".to_owned(), Value::Null);
                    found.push(group);
                }
            }
            Ok::<_, Error>(found)
        })
        .await?;
    let path = format!("users/{id}/groups");
    Ok(Json(collection(&links, &path, "groups", &query, &["name"], found)?))
}
