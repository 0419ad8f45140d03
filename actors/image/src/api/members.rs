//! The projects that an image is shared with.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody};

use super::{object, parse_id, view};
use crate::{
    Shared,
    error::Error,
    rows::{ImageRow, Member, MemberStatus, Visibility},
};

/// Most members of an image: the real service's default.
const MEMBERS_MAX: usize = 128;

pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let asker = shared.asking(&auth);
    let row = shared.image_for(&asker, &id, "get_members").await.map_err(|e| missing(&id, e))?;
    check_shared(&row)?;
    // A member sees itself alone.
    let own = |project: &str| asker.is_admin() || asker.project() == Some(project);
    let owner = asker.is_admin() || row.owner.as_deref() == asker.project();
    let members: Vec<Value> = row
        .members
        .iter()
        .filter(|(project, _)| owner || own(project))
        .map(|(project, member)| view::member(&row, project, member))
        .collect();
    Ok(Json(json!({"members": members, "schema": "/v2/schemas/members"})))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, project)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    let asker = shared.asking(&auth);
    let row = shared.image_for(&asker, &id, "get_member").await.map_err(|e| missing(&id, e))?;
    let visible = asker.is_admin()
        || row.owner.as_deref() == asker.project()
        || asker.project() == Some(&project);
    let member = row.members.get(&project).filter(|_| visible);
    let member = member.ok_or_else(|| no_member(&row, &project))?;
    Ok(Json(view::member(&row, &project, member)))
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let project = field(body, "member", "Member to be added not specified")?;
    if project.is_empty() {
        return Err(Error::invalid("Member can't be empty"));
    }
    let asker = shared.asking(&auth);
    let now = shared.context.env.wall();
    let added = |row: &ImageRow| {
        asker.may_on(&shared.policy, "add_member", row)?;
        check_shared(row)?;
        let mut row = row.clone();
        let member = Member { status: MemberStatus::Pending, created_at: now, updated_at: now };
        if row.members.insert(project.clone(), member).is_some() {
            let words = format!("Member {project} is duplicated for image {}", row.id);
            return Err(Error::conflict(words));
        }
        check_count(&row)?;
        Ok(row)
    };
    changed(&shared, &id, &project, added).await
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, project)): Path<(String, String)>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let status = field(body, "status", "Status not specified")?;
    let status = MemberStatus::parse(&status).ok_or_else(|| {
        let words = "Status must be \"pending\", \"accepted\" or \"rejected\".";
        Error::invalid(format!("Incorrect request: {words}"))
    })?;
    let asker = shared.asking(&auth);
    let now = shared.context.env.wall();
    let answered = |row: &ImageRow| {
        asker.may_on(&shared.policy, "get_member", row)?;
        check_shared(row)?;
        let mut row = row.clone();
        let id = row.id;
        // Whether to show an image is for the member to say, not for its owner.
        if !asker.is_admin() && asker.project() != Some(&project) {
            let words = format!("Not allowed to update members for image {id}.");
            return Err(Error::forbidden(words));
        }
        asker.may_on(&shared.policy, "modify_member", &row)?;
        let Some(member) = row.members.get_mut(&project) else {
            return Err(no_member(&row, &project));
        };
        *member = Member { status, updated_at: now, ..member.clone() };
        Ok(row)
    };
    changed(&shared, &id, &project, answered).await
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, project)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let asker = shared.asking(&auth);
    let removed = |row: &ImageRow| {
        asker.may_on(&shared.policy, "delete_member", row)?;
        check_shared(row)?;
        let mut row = row.clone();
        match row.members.remove(&project) {
            Some(_) => Ok(row),
            None => Err(no_member(&row, &project)),
        }
    };
    let image = parse_id(&id).map_err(|error| missing(&id, error))?;
    shared.repository.change(image, removed).await.map_err(|error| missing(&id, error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn changed(
    shared: &Shared,
    id: &str,
    project: &str,
    change: impl Fn(&ImageRow) -> Result<ImageRow, Error>,
) -> Result<Json<Value>, Error> {
    let image = parse_id(id).map_err(|error| missing(id, error))?;
    let row = shared.repository.change(image, change).await.map_err(|error| missing(id, error))?;
    let member = row.members.get(project).ok_or_else(|| no_member(&row, project))?;
    Ok(Json(view::member(&row, project, member)))
}

fn field(body: Value, name: &str, absent: &str) -> Result<String, Error> {
    let body = object(body)?;
    let value = body.get(name).ok_or_else(|| Error::invalid(absent))?;
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::invalid(format!("Expected a {name} in the form: {{\"{name}\": \"...\"}}"))
    })
}

fn check_shared(row: &ImageRow) -> Result<(), Error> {
    if row.about.visibility == Visibility::Shared {
        return Ok(());
    }
    Err(Error::forbidden("Only shared images have members."))
}

fn check_count(row: &ImageRow) -> Result<(), Error> {
    let attempted = row.members.len();
    if attempted <= MEMBERS_MAX {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "Image member limit exceeded for image {}: The limit has been exceeded on the number of \
         allowed image members for this image. Attempted: {attempted}, Maximum: {MEMBERS_MAX}:",
        row.id
    )))
}

fn missing(id: &str, error: Error) -> Error {
    match error {
        Error::NotFound(_) => {
            Error::refused(StatusCode::NOT_FOUND, format!("Image {id} not found."))
        }
        error => error,
    }
}

fn no_member(row: &ImageRow, project: &str) -> Error {
    Error::refused(
        StatusCode::NOT_FOUND,
        format!("{project} not found in the member list of the image {}.", row.id),
    )
}
