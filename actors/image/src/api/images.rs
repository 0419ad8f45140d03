//! One image: make it, show it, delete it, and bar or free its bytes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Map, Value};
use updraft_edge::rest::{Auth, JsonBody};
use uuid::Uuid;

use super::{import::METHODS, object, parse_id, view};
use crate::{
    Shared, attributes,
    error::Error,
    rows::{About, ImageRow, Status},
};

/// Names the ways in which an image's bytes can be imported.
const IMPORT_METHODS: HeaderName = HeaderName::from_static("openstack-image-import-methods");

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    JsonBody(body): JsonBody<Value>,
) -> Result<impl IntoResponse, Error> {
    let asker = shared.asking(&auth);
    let wanted = Wanted::read(object(body)?)?;
    let owner = wanted.owner.unwrap_or_else(|| asker.project().map(str::to_owned));
    asker.may_create(&shared.policy, owner.as_deref(), wanted.about.visibility)?;
    attributes::check_counts(&wanted.about)?;
    let env = &shared.context.env;
    let id = wanted.id.unwrap_or_else(|| env.uuid());
    let row = ImageRow::new(id, owner, wanted.about, env.wall());
    shared.repository.insert(&row).await?;
    let headers =
        [(header::LOCATION, format!("/v2/images/{id}")), (IMPORT_METHODS, METHODS.join(","))];
    Ok((StatusCode::CREATED, headers, Json(view::image(&row))))
}

/// What a new image shall be.
struct Wanted {
    id: Option<Uuid>,
    /// Outer `None`: the body does not say.
    owner: Option<Option<String>>,
    about: About,
}

impl Wanted {
    fn read(body: Map<String, Value>) -> Result<Self, Error> {
        let mut wanted = Self { id: None, owner: None, about: About::default() };
        for (name, value) in body {
            attributes::check_new(&name)?;
            match name.as_str() {
                "id" => wanted.id = Some(id(&value)?),
                "owner" => wanted.owner = Some(attributes::text_or_null(&name, &value)?),
                _ => attributes::set(&mut wanted.about, &name, &value)?,
            }
        }
        Ok(wanted)
    }
}

fn id(value: &Value) -> Result<Uuid, Error> {
    // Only the form with dashes is an id.
    let text = attributes::text("id", value)?;
    let id = text.parse::<Uuid>().ok().filter(|_| text.len() == 36);
    id.ok_or_else(|| attributes::mismatch("id", value, "does not match a UUID"))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = shared.image_for(&shared.asking(&auth), &id, "get_image").await?;
    Ok(Json(view::image(&row)))
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let asker = shared.asking(&auth);
    let now = shared.context.env.wall();
    let deleted = |row: &ImageRow| {
        asker.may_on(&shared.policy, "delete_image", row)?;
        if row.about.protected {
            let words = format!("Image {} is protected and cannot be deleted.", row.id);
            return Err(Error::forbidden(words));
        }
        Ok(ImageRow { deleted_at: Some(now), updated_at: now, ..row.clone() })
    };
    let outcome = match parse_id(&id) {
        Ok(image) => shared.repository.change(image, deleted).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(Error::NotFound(_)) => Err(Error::refused(
            StatusCode::NOT_FOUND,
            format!("Failed to find image {id} to delete"),
        )),
        Err(error) => Err(error),
    }
}

pub(super) async fn deactivate(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    switch(&shared, &auth, &id, "deactivate", Status::Deactivated).await
}

pub(super) async fn reactivate(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    switch(&shared, &auth, &id, "reactivate", Status::Active).await
}

async fn switch(
    shared: &Shared,
    auth: &Auth,
    id: &str,
    rule: &str,
    to: Status,
) -> Result<StatusCode, Error> {
    let asker = shared.asking(auth);
    let now = shared.context.env.wall();
    let switched = |row: &ImageRow| {
        asker.may_on(&shared.policy, rule, row)?;
        match row.status {
            Status::Active | Status::Deactivated if row.status == to => Ok(row.clone()),
            Status::Active | Status::Deactivated => {
                Ok(ImageRow { status: to, updated_at: now, ..row.clone() })
            }
            status => Err(Error::forbidden(format!(
                "Not allowed to {rule} image in status '{}'",
                status.as_str()
            ))),
        }
    };
    shared.repository.change(parse_id(id)?, switched).await?;
    Ok(StatusCode::NO_CONTENT)
}
