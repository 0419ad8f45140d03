//! What the routes that belong to no OpenStack service share.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use updraft_edge::context::Context;
use updraft_protocol::identity::Principal;

/// Whose token a request carries.
pub(crate) fn principal(context: &Context, headers: &HeaderMap) -> Result<Principal, StatusCode> {
    let token = headers.get("x-auth-token").and_then(|value| value.to_str().ok());
    let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
    let verified = context.verifier.verify(token, context.env.wall(), Duration::ZERO);
    verified.map_err(|_| StatusCode::UNAUTHORIZED)
}
