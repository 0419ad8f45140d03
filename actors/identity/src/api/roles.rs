//! `/roles`, and which implies which.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, ServiceError};
use updraft_runtime::policy::Target;

use super::{
    Shared, about,
    fields::{Id, Name, given},
    list::{Resource, collection, resource},
    normalized, options,
};
use crate::{
    core::Core,
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{Extra, GrantRow, RoleRow, is_immutable},
};

/// The role that nothing may imply: whoever has it may do everything.
const NEVER_IMPLIED: &str = "admin";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/roles", get(list).post(create))
        .route("/roles/{role_id}", get(show).patch(update).delete(delete))
        .route("/roles/{role_id}/implies", get(list_implied))
        .route(
            "/roles/{role_id}/implies/{implied_id}",
            get(show_implied).put(imply).delete(stop_implying),
        )
        .route("/role_inferences", get(list_inferences))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    role: NewRole,
}

#[derive(Deserialize)]
struct NewRole {
    name: Name<255>,
    domain_id: Option<Id>,
    description: Option<String>,
    options: Option<Extra>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    role: ChangedRole,
}

#[derive(Deserialize)]
struct ChangedRole {
    id: Option<String>,
    name: Option<Name<255>>,
    #[serde(default, deserialize_with = "given")]
    domain_id: Option<Option<Id>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    options: Option<Extra>,
    #[serde(flatten)]
    extra: Extra,
}

/// A role as it is answered.
pub(super) fn view(links: &Links, row: RoleRow) -> Resource {
    let mut role = row.extra;
    let path = format!("roles/{}", row.id);
    let known = json!({
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "description": row.description,
        "options": row.options,
    });
    role.extend(resource(links, &path, known));
    role
}

/// A target with what rules ask about a role.
pub(super) fn target(target: Target, row: &RoleRow) -> Target {
    let attributes = [
        ("id", Some(&*row.id)),
        ("name", Some(&*row.name)),
        ("domain_id", row.domain_id.as_deref()),
    ];
    about(target, "role", &attributes)
}

/// The role, if the rule (of roles for all, of roles of one domain) lets the caller do this with it.
async fn role(
    core: &Core,
    auth: &Auth,
    (rule, of_domain): (&'static str, &'static str),
    id: &str,
) -> Result<RoleRow, Error> {
    let row = core.store.read(|txn| txn.get::<RoleRow>(id)).await?;
    match row {
        Some(row) => {
            let rule = if row.domain_id.is_some() { of_domain } else { rule };
            core.enforce(&auth.principal, rule, &target(Target::new(), &row))?;
            Ok(row)
        }
        None => {
            core.enforce(&auth.principal, rule, &Target::new())?;
            Err(What::Role.not_found(id))
        }
    }
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    let domain = query.get("domain_id").filter(|id| !id.is_empty());
    let rule = if domain.is_some() { "identity:list_domain_roles" } else { "identity:list_roles" };
    core.enforce(&auth.principal, rule, &Target::new())?;
    let rows = core.store.read(|txn| txn.scan::<RoleRow>(None, usize::MAX)).await;
    let rows = rows.map_err(Error::from)?.into_iter();
    let rows = rows.filter(|row| row.domain_id.as_deref() == domain);
    let found = rows.map(|row| view(&links, row)).collect();
    Ok(Json(collection(&links, "roles", "roles", &query, &["name"], found)?))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let rules = ("identity:get_role", "identity:get_domain_role");
    let row = role(&core, &auth, rules, &id).await?;
    Ok(Json(json!({"role": view(&links, row)})))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { role }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    let row = RoleRow {
        id: core.env.uuid().simple().to_string(),
        name: role.name.trimmed(),
        domain_id: role.domain_id.map(|id| id.0),
        description: role.description,
        implies: Default::default(),
        options: options::of_place(role.options, Extra::new())?,
        extra: normalized(role.extra),
    };
    let of_domain = row.domain_id.is_some();
    let rule = if of_domain { "identity:create_domain_role" } else { "identity:create_role" };
    core.enforce(&auth.principal, rule, &target(Target::new(), &row))?;
    core.change(|change| or_duplicate(change.insert(&row), || duplicate(&row))).await?;
    Ok((StatusCode::CREATED, Json(json!({"role": view(&links, row)}))))
}

fn duplicate(row: &RoleRow) -> Error {
    What::Role.duplicate_name(&row.name, row.domain_id.as_deref())
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { role: wanted }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    let rules = ("identity:update_role", "identity:update_domain_role");
    role(&core, &auth, rules, &id).await?;
    if wanted.id.as_ref().is_some_and(|wanted| *wanted != id) {
        return Err(Error::Invalid("Cannot change ID".to_owned()).into());
    }
    let row = core.change(|change| apply(change, &id, &wanted)).await?;
    Ok(Json(json!({"role": view(&links, row)})))
}

fn apply(change: &mut Change<'_>, id: &str, wanted: &ChangedRole) -> Result<RoleRow, Error> {
    let mut row = change.get::<RoleRow>(id)?.ok_or_else(|| What::Role.not_found(id))?;
    let options = options::of_place(wanted.options.clone(), row.options.clone())?;
    let only_options = wanted.name.is_none()
        && wanted.domain_id.is_none()
        && wanted.description.is_none()
        && wanted.extra.is_empty();
    let unlocks = only_options && !is_immutable(&options);
    if is_immutable(&row.options) && !unlocks {
        return Err(What::Role.immutable("update", id));
    }
    if let Some(domain_id) = &wanted.domain_id
        && domain_id.as_ref().map(|id| &id.0) != row.domain_id.as_ref()
    {
        return Err(Error::Invalid("Update of `domain_id` is not allowed.".to_owned()));
    }
    row.options = options;
    if let Some(name) = &wanted.name {
        row.name = name.clone().trimmed();
    }
    if let Some(description) = &wanted.description {
        row.description.clone_from(description);
    }
    row.extra.extend(normalized(wanted.extra.clone()));
    or_duplicate(change.put(&row), || duplicate(&row))?;
    Ok(row)
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    let rules = ("identity:delete_role", "identity:delete_domain_role");
    role(&core, &auth, rules, &id).await?;
    core.change(|change| {
        let row = change.get::<RoleRow>(&id)?.ok_or_else(|| What::Role.not_found(&id))?;
        if is_immutable(&row.options) {
            return Err(What::Role.immutable("delete", &id));
        }
        remove(change, &id)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a role wherever it is granted or implied.
pub(super) fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    for mut prior in change.find::<RoleRow>(RoleRow::BY_IMPLIED, id)? {
        prior.implies.remove(id);
        change.put(&prior)?;
    }
    for grant in change.find::<GrantRow>(GrantRow::BY_ROLE, id)? {
        super::grants::remove(change, &grant)?;
    }
    change.delete::<RoleRow>(id)?;
    Ok(())
}

/// A role as it stands in an inference.
fn brief(links: &Links, row: &RoleRow) -> Value {
    let at = links.api(&format!("roles/{}", row.id));
    json!({"id": row.id, "name": row.name, "links": {"self": at}})
}

/// Both roles of an inference, if the rule lets the caller do this with them.
async fn pair(
    core: &Core,
    auth: &Auth,
    rule: &'static str,
    (prior_id, implied_id): &(String, String),
) -> Result<(RoleRow, RoleRow), Error> {
    core.enforce(&auth.principal, rule, &Target::new())?;
    core.store
        .read(|txn| {
            let prior = txn.get::<RoleRow>(prior_id)?;
            let implied = txn.get::<RoleRow>(implied_id)?;
            Ok((
                prior.ok_or_else(|| What::Role.not_found(prior_id))?,
                implied.ok_or_else(|| What::Role.not_found(implied_id))?,
            ))
        })
        .await
}

fn does_not_imply((prior_id, implied_id): &(String, String)) -> Error {
    Error::NotFound(format!("{prior_id} does not imply {implied_id}."))
}

fn inference(links: &Links, prior: &RoleRow, implied: &RoleRow) -> Json<Value> {
    let at = links.api(&format!("roles/{}/implies/{}", prior.id, implied.id));
    Json(json!({
        "role_inference": {
            "prior_role": brief(links, prior),
            "implies": brief(links, implied),
        },
        "links": {"self": at},
    }))
}

async fn list_implied(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:list_implied_roles", &Target::new())?;
    let (prior, implied) = core
        .store
        .read(|txn| {
            let prior = txn.get::<RoleRow>(&id)?.ok_or_else(|| What::Role.not_found(&id))?;
            let rows = prior.implies.iter().filter_map(|id| txn.get::<RoleRow>(id).transpose());
            let implied = rows.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Error>((prior, implied))
        })
        .await?;
    let implied: Vec<Value> = implied.iter().map(|row| brief(&links, row)).collect();
    Ok(Json(json!({
        "role_inference": {"prior_role": brief(&links, &prior), "implies": implied},
        "links": {"self": links.api(&format!("roles/{id}/implies"))},
    })))
}

async fn show_implied(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    method: Method,
    Path(ids): Path<(String, String)>,
) -> Result<Response, ServiceError> {
    let head = method == Method::HEAD;
    let rule = if head { "identity:check_implied_role" } else { "identity:get_implied_role" };
    let (prior, implied) = pair(&core, &auth, rule, &ids).await?;
    if !prior.implies.contains(&implied.id) {
        return Err(does_not_imply(&ids).into());
    }
    // Here alone HEAD has another status than GET; clients know it so.
    Ok(match head {
        true => StatusCode::NO_CONTENT.into_response(),
        false => inference(&links, &prior, &implied).into_response(),
    })
}

async fn imply(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(ids): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    let (prior, implied) = pair(&core, &auth, "identity:create_implied_role", &ids).await?;
    if implied.name == NEVER_IMPLIED || (prior.domain_id.is_none() && implied.domain_id.is_some()) {
        return Err(Error::Forbidden(format!("{} cannot be an implied roles.", ids.1)).into());
    }
    core.change(|change| {
        let mut row = change.get::<RoleRow>(&ids.0)?.ok_or_else(|| What::Role.not_found(&ids.0))?;
        change.get::<RoleRow>(&ids.1)?.ok_or_else(|| What::Role.not_found(&ids.1))?;
        if !row.implies.insert(ids.1.clone()) {
            return Err(Error::Conflict(
                "Conflict occurred attempting to store implied_role - Duplicate entry.".to_owned(),
            ));
        }
        Ok(change.put(&row)?)
    })
    .await?;
    Ok((StatusCode::CREATED, inference(&links, &prior, &implied)))
}

async fn stop_implying(
    State(core): State<Shared>,
    auth: Auth,
    Path(ids): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    pair(&core, &auth, "identity:delete_implied_role", &ids).await?;
    core.change(|change| {
        let mut row = change.get::<RoleRow>(&ids.0)?.ok_or_else(|| What::Role.not_found(&ids.0))?;
        if !row.implies.remove(&ids.1) {
            return Err(does_not_imply(&ids));
        }
        Ok(change.put(&row)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_inferences(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:list_role_inference_rules", &Target::new())?;
    let rows = core.store.read(|txn| txn.scan::<RoleRow>(None, usize::MAX)).await;
    let rows = rows.map_err(Error::from)?;
    let named = |id: &String| rows.iter().find(|row| row.id == *id);
    let inferences: Vec<Value> = rows
        .iter()
        .filter(|row| !row.implies.is_empty())
        .map(|row| {
            let implied = row.implies.iter().filter_map(named);
            let implied: Vec<Value> = implied.map(|row| brief(&links, row)).collect();
            json!({"prior_role": brief(&links, row), "implies": implied})
        })
        .collect();
    Ok(Json(json!({
        "role_inferences": inferences,
        "links": {"self": links.api("role_inferences")},
    })))
}
