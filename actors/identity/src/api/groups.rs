//! `/groups` and who is in them.

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
use updraft_runtime::{policy::Target, store::Record};

use super::{
    Shared, about, domain_of_new,
    fields::{Id, Name, given},
    grants,
    list::{Resource, collection, resource},
    normalized, users,
};
use crate::{
    core::Core,
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{Actor, DomainRow, Extra, GroupRow, MemberRow, UserRow, members_of},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/groups", get(list).post(create))
        .route("/groups/{group_id}", get(show).patch(update).delete(delete))
        .route("/groups/{group_id}/users", get(list_users))
        .route(
            "/groups/{group_id}/users/{user_id}",
            get(check_user).put(add_user).delete(remove_user),
        )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    group: NewGroup,
}

#[derive(Deserialize)]
struct NewGroup {
    name: Name<255>,
    domain_id: Option<Id>,
    description: Option<String>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    group: ChangedGroup,
}

#[derive(Deserialize)]
struct ChangedGroup {
    id: Option<String>,
    name: Option<Name<255>>,
    domain_id: Option<Id>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(flatten)]
    extra: Extra,
}

/// A group as it is answered.
pub(super) fn view(links: &Links, row: GroupRow) -> Resource {
    let mut group = row.extra;
    let path = format!("groups/{}", row.id);
    let known = json!({
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "description": row.description,
    });
    group.extend(resource(links, &path, known));
    group
}

/// A target with what rules ask about a group.
pub(super) fn target(target: Target, row: Option<&GroupRow>) -> Target {
    match row {
        Some(row) => {
            let attributes = [("id", Some(&*row.id)), ("domain_id", Some(&*row.domain_id))];
            about(target, "group", &attributes)
        }
        None => target,
    }
}

/// The group, if the rule lets the caller do this with it.
async fn group(core: &Core, auth: &Auth, rule: &'static str, id: &str) -> Result<GroupRow, Error> {
    let row = core.store.read(|txn| txn.get::<GroupRow>(id)).await?;
    core.enforce(&auth.principal, rule, &target(Target::new(), row.as_ref()))?;
    row.ok_or_else(|| What::Group.not_found(id))
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
    let target = own
        .map_or_else(Target::new, |id| about(Target::new(), "group", &[("domain_id", Some(id))]));
    core.enforce(&auth.principal, "identity:list_groups", &target)?;
    let rows = core.store.read(|txn| txn.scan::<GroupRow>(None, usize::MAX)).await;
    let rows = rows.map_err(Error::from)?.into_iter();
    let rows = rows.filter(|row| own.is_none_or(|own| row.domain_id == own));
    let found = rows.map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "groups", "groups", &query, &["domain_id", "name"], found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let row = group(&core, &auth, "identity:get_group", &id).await?;
    Ok(Json(json!({"group": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { group }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    let asked = group.domain_id.as_ref().map(|id| id.0.as_str());
    let target = about(Target::new(), "group", &[("domain_id", asked)]);
    core.enforce(&auth.principal, "identity:create_group", &target)?;
    let row = GroupRow {
        id: core.env.uuid().simple().to_string(),
        name: group.name.trimmed(),
        domain_id: domain_of_new(group.domain_id, &auth),
        description: group.description.or_else(|| Some(String::new())),
        extra: normalized(group.extra),
    };
    core.change(|change| {
        if change.get::<DomainRow>(&row.domain_id)?.is_none() {
            return Err(What::Domain.not_found(&row.domain_id));
        }
        let duplicate = || What::Group.duplicate_name(&row.name, Some(&row.domain_id));
        or_duplicate(change.insert(&row), duplicate)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"group": view(&links, row)}))))
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { group: wanted }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    let held = group(&core, &auth, "identity:update_group", &id).await?;
    if wanted.id.is_some_and(|wanted| wanted != id) {
        return Err(Error::Invalid("Cannot change ID".to_owned()).into());
    }
    if wanted.domain_id.is_some_and(|wanted| wanted.0 != held.domain_id) {
        return Err(Error::Invalid("Cannot change Domain ID".to_owned()).into());
    }
    let (name, extra) = (wanted.name.map(Name::trimmed), normalized(wanted.extra));
    let row = core
        .change(|change| {
            let mut row = change.get::<GroupRow>(&id)?.ok_or_else(|| What::Group.not_found(&id))?;
            if let Some(name) = &name {
                row.name.clone_from(name);
            }
            if let Some(description) = &wanted.description {
                row.description.clone_from(description);
            }
            row.extra.extend(extra.clone());
            or_duplicate(change.put(&row), || What::Group.duplicate_name(&row.name, None))?;
            Ok(row)
        })
        .await?;
    Ok(Json(json!({"group": view(&links, row)})))
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    group(&core, &auth, "identity:delete_group", &id).await?;
    core.change(|change| {
        change.get::<GroupRow>(&id)?.ok_or_else(|| What::Group.not_found(&id))?;
        remove(change, &id)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a group, who is in it, and what is granted to it.
pub(super) fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    // While its members are still known: what they may be changes.
    grants::remove_of(change, &Actor::Group(id.to_owned()))?;
    for user_id in members_of(change, id)? {
        remove_member(change, &MemberRow { group_id: id.to_owned(), user_id })?;
    }
    change.delete::<GroupRow>(id)?;
    Ok(())
}

/// Takes a user out of a group; says whether the user was in it.
pub(super) fn remove_member(change: &mut Change<'_>, row: &MemberRow) -> Result<bool, Error> {
    Ok(change.delete::<MemberRow>(&row.key())?.is_some())
}

async fn list_users(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    group(&core, &auth, "identity:list_users_in_group", &id).await?;
    let found: Vec<Resource> = core
        .store
        .read(|txn| {
            let ids = members_of(txn, &id)?;
            let rows = ids.iter().filter_map(|id| txn.get::<UserRow>(id).transpose());
            rows.map(|row| Ok::<_, Error>(users::view(&links, row?))).collect()
        })
        .await?;
    let path = format!("groups/{id}/users");
    Ok(Json(collection(&links, &path, "users", &query, &users::FILTERS, found)?))
}

/// The membership, if the rule lets the caller do this with it and both sides exist.
async fn member(
    core: &Core,
    auth: &Auth,
    rule: &'static str,
    (group_id, user_id): (String, String),
) -> Result<MemberRow, Error> {
    let read = core.store.read(|txn| {
        Ok::<_, Error>((txn.get::<GroupRow>(&group_id)?, txn.get::<UserRow>(&user_id)?))
    });
    let (group, user) = read.await?;
    let about = users::target(target(Target::new(), group.as_ref()), user.as_ref());
    core.enforce(&auth.principal, rule, &about)?;
    group.ok_or_else(|| What::Group.not_found(&group_id))?;
    user.ok_or_else(|| What::User.not_found(&user_id))?;
    Ok(MemberRow { group_id, user_id })
}

fn not_a_member(row: &MemberRow) -> Error {
    let MemberRow { group_id, user_id } = row;
    Error::NotFound(format!("User '{user_id}' not found in group '{group_id}'"))
}

async fn check_user(
    State(core): State<Shared>,
    auth: Auth,
    Path(ids): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    let row = member(&core, &auth, "identity:check_user_in_group", ids).await?;
    let found = core.store.read(|txn| txn.get::<MemberRow>(&row.key())).await;
    match found.map_err(Error::from)? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(not_a_member(&row).into()),
    }
}

async fn add_user(
    State(core): State<Shared>,
    auth: Auth,
    Path(ids): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    let row = member(&core, &auth, "identity:add_user_to_group", ids).await?;
    core.change(|change| {
        // Read again: neither may go while this is written.
        change
            .get::<GroupRow>(&row.group_id)?
            .ok_or_else(|| What::Group.not_found(&row.group_id))?;
        change.get::<UserRow>(&row.user_id)?.ok_or_else(|| What::User.not_found(&row.user_id))?;
        Ok(change.put(&row)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_user(
    State(core): State<Shared>,
    auth: Auth,
    Path(ids): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    let row = member(&core, &auth, "identity:remove_user_from_group", ids).await?;
    core.change(|change| match remove_member(change, &row)? {
        true => Ok(()),
        false => Err(not_a_member(&row)),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
