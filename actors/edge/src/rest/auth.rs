//! Who makes a request: the token in its headers, judged on this node.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use updraft_protocol::identity::{AuthContext, Principal, SERVICE_ROLE, Token};

use super::{
    edge::Context, error::ServiceError, links::Links, request_id::RequestId, service::Service,
};
use crate::verify::{EXPIRED_GRACE, TokenError};

const USER_TOKEN: &str = "x-auth-token";
const SERVICE_TOKEN: &str = "x-service-token";

/// Who makes the request; every handler behind the edge can ask for it.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The user.
    pub principal: Arc<Principal>,
    /// The user's token as it came.
    pub token: Token,
    /// The service that sends the request for the user, if it brought a token of its own.
    pub service: Option<Arc<Principal>>,
    /// The request's id.
    pub request_id: RequestId,
}

impl Auth {
    /// What inner calls on behalf of this request carry.
    #[must_use]
    pub fn context(&self) -> AuthContext {
        AuthContext {
            token: self.token.clone(),
            principal: Principal::clone(&self.principal),
            request_id: self.request_id.to_string(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Auth {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(&parts.extensions)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| context.service.unauthorized())
    }
}

/// Lets a request through whose token passes, with [`Auth`] in its extensions.
pub(super) async fn authenticate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(request_id) = request.extensions().get::<RequestId>().cloned() else {
        return context.service.internal().into_response();
    };
    match judge(&context, request.headers(), request_id) {
        Ok(auth) => {
            request.extensions_mut().insert(auth);
            next.run(request).await
        }
        Err(error) => refusal(context.service, &error).into_response(),
    }
}

fn judge(
    context: &Context,
    headers: &HeaderMap,
    request_id: RequestId,
) -> Result<Auth, TokenProblem> {
    let now = context.env.wall();
    let verify = |token: &str, grace| context.verifier.verify(token, now, grace).map(Arc::new);
    let service = token_in(headers, SERVICE_TOKEN)
        .map(|token| verify(token, Duration::ZERO).map_err(TokenProblem::Service))
        .transpose()?;
    if service.as_ref().is_some_and(|service| !service.has_role(SERVICE_ROLE)) {
        return Err(TokenProblem::NoServiceRole);
    }
    let grace = if service.is_some() { EXPIRED_GRACE } else { Duration::ZERO };
    let token = token_in(headers, USER_TOKEN).ok_or(TokenProblem::Missing)?;
    let principal = verify(token, grace).map_err(TokenProblem::User)?;
    Ok(Auth { principal, token: Token::new(token), service, request_id })
}

/// What was wrong, for the log; the client hears one answer for all of it.
#[derive(Debug, thiserror::Error)]
enum TokenProblem {
    #[error("there is no token")]
    Missing,
    #[error("the token does not pass: {0}")]
    User(TokenError),
    #[error("the service token does not pass: {0}")]
    Service(TokenError),
    #[error("the service token lacks the role {SERVICE_ROLE:?}")]
    NoServiceRole,
}

fn refusal(service: Service, problem: &TokenProblem) -> ServiceError {
    tracing::info!(%problem, "request refused");
    match problem {
        // This says something of this node, not of the token.
        TokenProblem::User(TokenError::NotReady) | TokenProblem::Service(TokenError::NotReady) => {
            service
                .unavailable("The Keystone service is temporarily unavailable.")
                .retry_after_secs(1)
        }
        _ => service.unauthorized(),
    }
}

fn token_in<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Text that is not ASCII is no token; it is not the same as none.
    headers.get(name).map(|token| token.to_str().unwrap_or_default().trim())
}

/// Refuses a request whose path names another project than its token.
pub(super) async fn project_in_path(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Response {
    let named = request.extensions().get::<Links>().and_then(Links::project_id);
    let held = request.extensions().get::<Auth>().and_then(|auth| auth.principal.project_id());
    if named.is_none() || named == held {
        return next.run(request).await;
    }
    let (named, held) = (named.unwrap_or("None"), held.unwrap_or("None"));
    let message = match context.service {
        Service::Compute => format!(
            "Malformed request URL: URL's project_id '{named}' doesn't match Context's project_id \
             '{held}'"
        ),
        _ => "Malformed request url".to_owned(),
    };
    context.service.bad_request(message).into_response()
}
