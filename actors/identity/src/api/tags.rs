//! `/projects/{id}/tags`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, ServiceError};
use updraft_runtime::policy::Target;

use super::{Shared, fields::Tag, projects};
use crate::{
    core::Core,
    error::{Error, What},
    rows::ProjectRow,
};

/// Most tags of one project, as Keystone has it.
const TAGS_MAX: usize = 80;

/// A list of tags without doubles.
#[derive(Default)]
pub(super) struct Tags(Vec<Tag>);

impl Tags {
    pub(super) fn into_texts(self) -> Vec<String> {
        self.0.into_iter().map(|tag| tag.0).collect()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = Vec::<Tag>::deserialize(deserializer)?;
        let wrong = if tags.len() > TAGS_MAX {
            "there are too many"
        } else if tags.iter().enumerate().any(|(at, tag)| tags[..at].contains(tag)) {
            "they have non-unique elements"
        } else {
            return Ok(Self(tags));
        };
        Err(serde::de::Error::custom(wrong))
    }
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/projects/{project_id}/tags", get(list).put(replace).delete(clear))
        .route("/projects/{project_id}/tags/{tag}", get(show).put(add).delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    tags: Tags,
}

fn answer(links: &Links, row: &ProjectRow) -> Json<Value> {
    let at = links.api(&format!("projects/{}/tags", row.id));
    Json(json!({"tags": row.tags, "links": {"self": at}}))
}

fn not_found(tag: &str) -> Error {
    Error::NotFound(format!("Could not find project tag: {tag}."))
}

/// The project, if the rule lets the caller do this with it.
async fn project(
    core: &Core,
    auth: &Auth,
    rule: &'static str,
    id: &str,
) -> Result<ProjectRow, Error> {
    let row = core.store.read(|txn| txn.get::<ProjectRow>(id)).await?;
    core.enforce(&auth.principal, rule, &projects::target(Target::new(), row.as_ref()))?;
    row.ok_or_else(|| What::Project.not_found(id))
}

/// Changes the tags of a project.
async fn change(
    core: &Core,
    id: &str,
    work: impl Fn(&mut Vec<String>) -> Result<(), Error>,
) -> Result<ProjectRow, Error> {
    core.change(|change| {
        let mut row = change.get::<ProjectRow>(id)?.ok_or_else(|| What::Project.not_found(id))?;
        work(&mut row.tags)?;
        change.put(&row)?;
        Ok(row)
    })
    .await
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let row = project(&core, &auth, "identity:list_project_tags", &id).await?;
    Ok(answer(&links, &row))
}

async fn replace(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    Path(id): Path<String>,
    JsonBody(Replace { tags }): JsonBody<Replace>,
) -> Result<Json<Value>, ServiceError> {
    project(&core, &auth, "identity:update_project_tags", &id).await?;
    let wanted = tags.into_texts();
    let row = change(&core, &id, |tags| {
        tags.clone_from(&wanted);
        Ok(())
    })
    .await?;
    Ok(answer(&links, &row))
}

async fn clear(
    State(core): State<Shared>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    project(&core, &auth, "identity:delete_project_tags", &id).await?;
    change(&core, &id, |tags| {
        tags.clear();
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show(
    State(core): State<Shared>,
    auth: Auth,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    let row = project(&core, &auth, "identity:get_project_tag", &id).await?;
    if row.tags.contains(&tag) { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&tag).into()) }
}

async fn add(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    uri: Uri,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, ServiceError> {
    project(&core, &auth, "identity:create_project_tag", &id).await?;
    let tag = Tag::new(&tag)
        .map_err(|error| Error::Invalid(format!("Invalid input for field 'tag': {error}")))?;
    change(&core, &id, |tags| {
        if tags.len() >= TAGS_MAX {
            return Err(Error::Invalid(
                "Invalid input for field 'tags': there are too many".into(),
            ));
        }
        if !tags.contains(&tag.0) {
            tags.push(tag.0.clone());
        }
        Ok(())
    })
    .await?;
    let mut response = StatusCode::CREATED.into_response();
    // The path is repeated as the client wrote it: encoded.
    let tag = uri.path().rsplit('/').next().unwrap_or_default();
    let at = links.api(&format!("projects/{id}/tags/{tag}"));
    if let Ok(at) = HeaderValue::from_str(&at) {
        response.headers_mut().insert(header::LOCATION, at);
    }
    Ok(response)
}

async fn remove(
    State(core): State<Shared>,
    auth: Auth,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, ServiceError> {
    project(&core, &auth, "identity:delete_project_tag", &id).await?;
    change(&core, &id, |tags| match tags.iter().position(|other| *other == tag) {
        Some(at) => {
            tags.remove(at);
            Ok(())
        }
        None => Err(not_found(&tag)),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
