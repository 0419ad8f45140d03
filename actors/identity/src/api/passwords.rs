//! `/users/{id}/password`: who knows the old password may set a new one, without a token.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use updraft_edge::rest::{JsonBody, ServiceError};

use super::{Shared, users};
use crate::{
    error::Error,
    rows::{DomainRow, UserRow},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/users/{user_id}/password", post(change))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangePassword {
    user: Passwords,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    original_password: String,
    password: String,
}

async fn change(
    State(core): State<Shared>,
    Path(id): Path<String>,
    JsonBody(ChangePassword { user }): JsonBody<ChangePassword>,
) -> Result<StatusCode, ServiceError> {
    let row = core
        .store
        .read(|txn| {
            let Some(row) = txn.get::<UserRow>(&id)?.filter(|row| row.enabled) else {
                return Ok(None);
            };
            let domain = txn.get::<DomainRow>(&row.domain_id)?;
            Ok::<_, Error>(domain.filter(|domain| domain.enabled).map(|_| row))
        })
        .await?;
    let held = row.and_then(|row| row.password_hash);
    let wrong = || Error::Unauthenticated("the user or the old password is wrong");
    if !core.hasher.check(user.original_password, held.clone()).await? {
        return Err(wrong().into());
    }
    let wanted = users::Wanted::password(core.hasher.hash(user.password).await?);
    let lead = core.clock_lead().await;
    core.change(|change| {
        let row = change.get::<UserRow>(&id)?;
        // Another request may have changed it meanwhile.
        if row.is_none_or(|row| row.password_hash != held) {
            return Err(wrong());
        }
        users::apply(change, &id, &wanted, core.env.wall().plus(lead)).map(|_| ())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
