//! `/projects`.

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
use updraft_runtime::{env::UnixMicros, policy::Target, store::Txn};

use super::{
    Shared, about, auth, domain_of_new, domains,
    fields::{Flag, Id, Name},
    grants,
    list::{Resource, collection, resource},
    normalized, options,
    places::{self, ChangedPlace},
    tags::Tags,
    tree,
};
use crate::{
    core::Core,
    error::{Error, What, or_duplicate},
    ledger::Change,
    rows::{self, DomainRow, Extra, ProjectRow, is_immutable},
};

/// Attributes by which a list can be narrowed.
const FILTERS: [&str; 5] = ["domain_id", "enabled", "name", "parent_id", "is_domain"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/projects", get(list).post(create))
        .route("/projects/{project_id}", get(show).patch(update).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    project: NewProject,
}

#[derive(Deserialize)]
struct NewProject {
    name: Name<64>,
    domain_id: Option<Id>,
    parent_id: Option<Id>,
    is_domain: Option<Flag>,
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
    project: ChangedPlace,
}

/// A project as it is answered.
pub(super) fn view(links: &Links, row: ProjectRow) -> Resource {
    let mut project = row.extra;
    let path = format!("projects/{}", row.id);
    let known = json!({
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "parent_id": row.parent_id,
        "is_domain": false,
        "description": row.description,
        "enabled": row.enabled,
        "tags": row.tags,
        "options": row.options,
    });
    project.extend(resource(links, &path, known));
    project
}

/// A domain as a project that acts as one, which is how this part of the API sees it.
pub(super) fn view_of_domain(links: &Links, row: DomainRow) -> Resource {
    let path = format!("projects/{}", row.id);
    let mut project = domains::view(links, row);
    let known = json!({"domain_id": null, "parent_id": null, "is_domain": true});
    project.extend(resource(links, &path, known));
    project
}

/// A target with what rules ask about a project.
pub(super) fn target(target: Target, row: Option<&ProjectRow>) -> Target {
    match row {
        Some(row) => {
            let attributes = [("id", Some(&*row.id)), ("domain_id", Some(&*row.domain_id))];
            about(target, "project", &attributes)
        }
        None => target,
    }
}

/// A project, or a domain that is asked for as one.
enum Place {
    Project(ProjectRow),
    Domain(DomainRow),
}

impl Place {
    fn find(txn: &Txn, id: &str) -> Result<Option<Self>, Error> {
        Ok(match txn.get::<ProjectRow>(id)? {
            Some(row) => Some(Self::Project(row)),
            None => txn.get::<DomainRow>(id)?.map(Self::Domain),
        })
    }

    fn target(&self) -> Target {
        match self {
            Self::Project(row) => target(Target::new(), Some(row)),
            Self::Domain(row) => {
                about(Target::new(), "project", &[("id", Some(&row.id)), ("domain_id", None)])
            }
        }
    }

    fn view(self, links: &Links) -> Resource {
        match self {
            Self::Project(row) => view(links, row),
            Self::Domain(row) => view_of_domain(links, row),
        }
    }
}

/// What is asked for, if the rule lets the caller do this with it.
async fn place(core: &Core, auth: &Auth, rule: &'static str, id: &str) -> Result<Place, Error> {
    let place = core.store.read(|txn| Place::find(txn, id)).await?;
    let target = place.as_ref().map_or_else(Target::new, Place::target);
    core.enforce(&auth.principal, rule, &target)?;
    place.ok_or_else(|| What::Project.not_found(id))
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
    let target = Target::new();
    let target = own.map_or_else(Target::new, |id| target.with("target.domain_id", id));
    core.enforce(&auth.principal, "identity:list_projects", &target)?;
    let wants_domains = query.flag("is_domain").ok().flatten().unwrap_or(false);
    let found: Vec<Resource> = core
        .store
        .read(|txn| {
            if wants_domains {
                let rows = txn.scan::<DomainRow>(None, usize::MAX)?.into_iter();
                return Ok(rows.map(|row| view_of_domain(&links, row)).collect());
            }
            let rows = txn.scan::<ProjectRow>(None, usize::MAX)?.into_iter();
            let rows = rows.filter(|row| own.is_none_or(|own| row.domain_id == own));
            Ok::<_, Error>(rows.map(|row| view(&links, row)).collect())
        })
        .await?;
    let found = found.into_iter().filter(|project| tags_pass(&query, project)).collect();
    Ok(Json(collection(&links, "projects", "projects", &query, &FILTERS, found)?))
}

/// Whether a project has the tags that a query asks for, and none that it does not want.
fn tags_pass(query: &Query, project: &Resource) -> bool {
    let tags: Vec<&str> = project
        .get("tags")
        .and_then(Value::as_array)
        .map(|tags| tags.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let asked = |name| query.get(name).map(|text: &str| text.split(',').collect::<Vec<_>>());
    let has = |tag: &&str| tags.contains(tag);
    asked("tags").is_none_or(|all| all.iter().all(has))
        && asked("tags-any").is_none_or(|any| any.iter().any(has))
        && asked("not-tags").is_none_or(|all| !all.iter().all(has))
        && asked("not-tags-any").is_none_or(|any| !any.iter().any(has))
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let place = place(&core, &auth, "identity:get_project", &id).await?;
    let relatives = match &place {
        Place::Project(row) => {
            let visible = auth::projects_of(&core, &links, &auth.principal.user.id).await?;
            core.store.read(|txn| tree::relatives(txn, &links, &query, row, &visible)).await?
        }
        Place::Domain(_) => Resource::new(),
    };
    let mut project = place.view(&links);
    project.extend(relatives);
    Ok(Json(json!({ "project": project })))
}

async fn create(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    JsonBody(Create { project }): JsonBody<Create>,
) -> Result<(StatusCode, Json<Value>), ServiceError> {
    let asked = project.domain_id.as_ref().map(|id| id.0.as_str());
    let target = about(Target::new(), "project", &[("domain_id", asked)]);
    core.enforce(&auth.principal, "identity:create_project", &target)?;
    let project = if project.is_domain.is_some_and(|flag| flag.0) {
        let row = new_domain(&core, project)?;
        let duplicate = || domains::duplicate(&row.name);
        core.change(|change| or_duplicate(change.insert(&row), duplicate)).await?;
        view_of_domain(&links, row)
    } else {
        let row = new_project(&core, &auth, project)?;
        core.change(|change| insert(change, &row)).await?;
        view(&links, row)
    };
    Ok((StatusCode::CREATED, Json(json!({ "project": project }))))
}

fn new_domain(core: &Core, project: NewProject) -> Result<DomainRow, Error> {
    if project.parent_id.is_some() {
        return Err(Error::Invalid("only root projects are allowed to act as domains.".to_owned()));
    }
    Ok(DomainRow {
        id: core.env.uuid().simple().to_string(),
        name: project.name.trimmed(),
        description: project.description.or_else(|| Some(String::new())),
        enabled: project.enabled.is_none_or(|flag| flag.0),
        tags: project.tags.unwrap_or_default().into_texts(),
        options: options::of_place(project.options, Extra::new())?,
        revoked_before: None,
        extra: normalized(project.extra),
    })
}

fn new_project(core: &Core, auth: &Auth, project: NewProject) -> Result<ProjectRow, Error> {
    let domain_id = domain_of_new(project.domain_id, auth);
    Ok(ProjectRow {
        id: core.env.uuid().simple().to_string(),
        name: project.name.trimmed(),
        parent_id: project.parent_id.map_or_else(|| domain_id.clone(), |id| id.0),
        domain_id,
        description: project.description.or_else(|| Some(String::new())),
        enabled: project.enabled.is_none_or(|flag| flag.0),
        tags: project.tags.unwrap_or_default().into_texts(),
        options: options::of_place(project.options, Extra::new())?,
        revoked_before: None,
        extra: normalized(project.extra),
    })
}

fn insert(change: &mut Change<'_>, row: &ProjectRow) -> Result<(), Error> {
    if change.get::<DomainRow>(&row.domain_id)?.is_none() {
        return Err(Error::Invalid(format!("Could not find domain: {}.", row.domain_id)));
    }
    tree::check_place_of_new(change, row)?;
    or_duplicate(change.insert(row), || duplicate(row))
}

fn duplicate(row: &ProjectRow) -> Error {
    What::Project.conflict(&format!(
        "it is not permitted to have two projects with either the same name or same id in the same \
         domain: name is {}, project id {}",
        row.name, row.id
    ))
}

async fn update(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Update { mut project }): JsonBody<Update>,
) -> Result<Json<Value>, ServiceError> {
    let place = place(&core, &auth, "identity:update_project", &id).await?;
    let held = place.view(&links);
    let stays = |project: &mut ChangedPlace, name: &str, error: fn() -> Error| {
        project.must_stay(name, held.get(name).unwrap_or(&Value::Null), error)
    };
    stays(&mut project, "id", || Error::Invalid("Cannot change ID".to_owned()))?;
    stays(&mut project, "domain_id", || Error::Invalid("Cannot change Domain ID".to_owned()))?;
    stays(&mut project, "parent_id", || {
        Error::Forbidden("Update of `parent_id` is not allowed.".to_owned())
    })?;
    stays(&mut project, "is_domain", || {
        Error::Invalid("Update of `is_domain` is not allowed.".to_owned())
    })?;
    let wanted = project.checked()?;
    let lead = wanted.lead(&core).await;
    let project = core
        .change(|change| {
            let now = core.env.wall().plus(lead);
            match Place::find(change, &id)? {
                Some(Place::Project(row)) => {
                    apply(change, row, &wanted, now).map(|row| view(&links, row))
                }
                Some(Place::Domain(_)) => {
                    domains::apply(change, &id, &wanted, now).map(|row| view_of_domain(&links, row))
                }
                None => Err(What::Project.not_found(&id)),
            }
        })
        .await?;
    Ok(Json(json!({ "project": project })))
}

fn apply(
    change: &mut Change<'_>,
    mut row: ProjectRow,
    wanted: &places::Change,
    now: UnixMicros,
) -> Result<ProjectRow, Error> {
    match (row.enabled, wanted.enabled) {
        (false, Some(true)) => tree::check_may_be_enabled(change, &row)?,
        (true, Some(false)) => tree::check_may_be_disabled(change, &row)?,
        _ => {}
    }
    wanted.apply_to_project(&mut row, now)?;
    or_duplicate(change.put(&row), || duplicate(&row))?;
    Ok(row)
}

async fn delete(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    place(&core, &auth, "identity:delete_project", &id).await?;
    core.change(|change| match Place::find(change, &id)? {
        Some(Place::Domain(_)) => domains::remove(change, &id),
        Some(Place::Project(row)) if is_immutable(&row.options) => {
            Err(What::Project.immutable("delete", &id))
        }
        Some(Place::Project(row)) => {
            tree::check_is_leaf(change, &row)?;
            remove(change, &row.id)
        }
        None => Err(What::Project.not_found(&id)),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a project and what is granted in it.
pub(super) fn remove(change: &mut Change<'_>, id: &str) -> Result<(), Error> {
    grants::remove_on(change, &rows::Target::Project(id.to_owned()))?;
    change.delete::<ProjectRow>(id)?;
    Ok(())
}
