//! An image's tags, one by one.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::Value;
use updraft_edge::rest::Auth;

use super::parse_id;
use crate::{Shared, attributes, error::Error, rows::ImageRow};

pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let tag = attributes::text("tags", &Value::from(tag))?;
    change(&shared, &auth, &id, |row| {
        row.about.tags.insert(tag.clone());
        attributes::check_counts(&row.about)
    })
    .await
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    change(&shared, &auth, &id, |row| {
        let words = "The resource could not be found.";
        let missing = || Error::refused(StatusCode::NOT_FOUND, words);
        if row.about.tags.remove(&tag) { Ok(()) } else { Err(missing()) }
    })
    .await
}

async fn change(
    shared: &Shared,
    auth: &Auth,
    id: &str,
    f: impl Fn(&mut ImageRow) -> Result<(), Error>,
) -> Result<StatusCode, Error> {
    let asker = shared.asking(auth);
    let now = shared.context.env.wall();
    let changed = |row: &ImageRow| {
        asker.may_on(&shared.policy, "modify_image", row)?;
        let mut row = ImageRow { updated_at: now, ..row.clone() };
        f(&mut row)?;
        Ok(row)
    };
    shared.repository.change(parse_id(id)?, changed).await?;
    Ok(StatusCode::NO_CONTENT)
}
