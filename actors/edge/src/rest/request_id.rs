//! The number of a request, which its answer, its logs and every inner call carry.

use std::{fmt, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use updraft_runtime::{Env, rpc::TraceContext};
use uuid::Uuid;

use super::{edge::Context, error::ServiceError, service::REQUEST_ID};

const PREFIX: &str = "req-";

/// `req-` and a UUID, fresh for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub(super) fn fresh(env: &Env) -> Self {
        Self(format!("{PREFIX}{}", env.uuid()).into())
    }

    /// What the request's inner calls and rows are traced as, on every node: the same number.
    #[must_use]
    pub fn trace(&self, env: &Env) -> TraceContext {
        let number = self.0.strip_prefix(PREFIX).and_then(|uuid| Uuid::try_parse(uuid).ok());
        number.map_or_else(|| TraceContext::fresh(env), TraceContext::of_request)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(&parts.extensions)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| context.service.internal())
    }
}

/// The id that the caller itself gave the request, for the log alone; anything but `req-` and a
/// UUID is passed over, so that nobody writes into the log what they like.
pub(super) fn global(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let uuid = id.strip_prefix(PREFIX).filter(|uuid| uuid.len() == 36)?;
    Uuid::try_parse(uuid).ok().map(|_| id)
}
