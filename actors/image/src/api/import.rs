//! Import: bytes that were staged become the image's own.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody};

use super::{object, parse_id};
use crate::{
    Shared,
    error::Error,
    rows::{ImageRow, Status, Verdict},
    upload::check_formats,
};

/// The ways in which bytes can be imported.
pub(super) const METHODS: [&str; 1] = ["glance-direct"];

pub(super) async fn methods(_auth: Auth) -> Json<Value> {
    Json(json!({"import-methods": {
        "description": "Import methods available.",
        "type": "array",
        "value": METHODS,
    }}))
}

/// There is one store, and it has no name: the real service then says so with 404.
pub(super) async fn stores(_auth: Auth) -> Error {
    Error::refused(StatusCode::NOT_FOUND, "Multi backend is not supported at this site.")
}

pub(super) async fn import(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<StatusCode, Error> {
    check_method(body)?;
    let asker = shared.asking(&auth);
    let now = shared.context.env.wall();
    let imported = |row: &ImageRow| {
        asker.may_on(&shared.policy, "modify_image", row)?;
        import_staged(row).map(|row| ImageRow { updated_at: now, ..row })
    };
    shared.repository.change(parse_id(&id)?, imported).await?;
    Ok(StatusCode::ACCEPTED)
}

fn check_method(body: Value) -> Result<(), Error> {
    let body = object(body)?;
    let method = body
        .get("method")
        .ok_or_else(|| Error::invalid("Import request requires a 'method' field."))?;
    let name = method
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::invalid("Import request requires a 'name' field."))?;
    if METHODS.contains(&name) {
        return Ok(());
    }
    Err(Error::invalid(format!("Unknown import method name '{name}'.")))
}

/// The image with its staged bytes as its own, or without bytes if they are refused: the client asked for
/// something to be done, and finds what became of it in the image.
fn import_staged(row: &ImageRow) -> Result<ImageRow, Error> {
    let staged = row.content.as_ref().filter(|_| row.status == Status::Uploading);
    let Some(content) = staged else {
        return Err(Error::conflict(format!(
            "Image needs to be in 'uploading' state to use 'glance-direct' method, and is in \
             '{}'",
            row.status.as_str()
        )));
    };
    check_formats(row).map_err(|error| Error::conflict(error.to_string()))?;
    let mut row = row.clone();
    match &content.verdict {
        Verdict::Fine => row.status = Status::Active,
        Verdict::Refused(reason) => {
            tracing::info!(image = %row.id, reason, "staged bytes are refused");
            row.requeue();
        }
    }
    Ok(row)
}
