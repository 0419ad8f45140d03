//! `/auth`: tokens, and what their holders may ask about themselves.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use updraft_edge::{
    rest::{Auth, JsonBody, Links, Query, Service, ServiceError},
    token::CLOCK_SKEW_MAX,
    verify::EXPIRED_GRACE,
};
use updraft_protocol::identity::{IdentitySnapshot, Principal, Token};
use updraft_runtime::policy::Target;

use super::{
    Shared, domains,
    list::{Resource, collection},
    projects,
};
use crate::{
    authenticate::{self, TokenRequest},
    core::Core,
    error::{Error, expecting},
    issue,
    ledger::Change,
    rows::{DomainRow, ProjectRow, RevokedRow, UserRow},
};

/// Carries the token that a request is about, and the one that an answer gives.
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// How long a request for a token may wait after a revocation: the rest of its second, and as much as
/// the clock that it was made by may be ahead.
const REVOCATION_WAIT_MAX: Duration = Duration::from_secs(5);

/// Most tokens of one user that are remembered as revoked one by one: for two days a user can take
/// back one every three minutes. Beyond that, half of them are replaced by one date.
pub(super) const REVOKED_PER_USER_MAX: usize = 1_024;

pub(super) fn public() -> Router<Shared> {
    Router::new().route("/auth/tokens", post(create))
}

pub(super) fn protected() -> Router<Shared> {
    Router::new()
        .route("/auth/tokens", get(validate).delete(revoke))
        .route("/auth/catalog", get(catalog))
        .route("/auth/projects", get(list_projects))
        .route("/auth/domains", get(list_domains))
        .route("/auth/system", get(list_system))
}

async fn create(
    State(core): State<Shared>,
    query: Query,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Response, ServiceError> {
    let auth = request.auth.ok_or_else(|| expecting("auth", "request body"))?;
    let (asked, proof) = authenticate::prove(&core, auth).await?;
    let give_up = core.env.now() + REVOCATION_WAIT_MAX;
    loop {
        // The order matters. What was proven must still be so after the token's time: then whatever
        // revokes it comes later, and has a later time.
        let at = core.env.wall();
        // What was just granted on another node counts at once.
        let snapshot = core.publisher.catch_up().await.map_err(Error::from)?;
        let wish = authenticate::wish(&core, &snapshot, &asked, &proof).await?;
        let wait = wish.wait(&snapshot, at);
        if wait.is_zero() {
            let (token, principal) = issue::issue(&core, &snapshot, wish, at)?;
            core.record_issue(at, &principal);
            return Ok(answer(StatusCode::CREATED, &token, &principal, &snapshot, &query));
        }
        if core.env.now() + wait > give_up {
            return Err(Error::Busy("the clocks of the control nodes to meet").into());
        }
        core.env.sleep(wait).await;
    }
}

fn answer(
    status: StatusCode,
    token: &Token,
    principal: &Principal,
    snapshot: &IdentitySnapshot,
    query: &Query,
) -> Response {
    let with_catalog = query.get("nocatalog").is_none();
    let body = Json(issue::describe(principal, snapshot, with_catalog));
    let mut response = (status, body).into_response();
    if let Ok(token) = HeaderValue::from_str(token.reveal()) {
        response.headers_mut().insert(SUBJECT_TOKEN, token);
    }
    response
}

/// The token that a request is about, and who it stands for.
struct Subject {
    token: Token,
    principal: Arc<Principal>,
}

impl Subject {
    /// Refuses with 404, whatever is wrong with it, unless there is none at all.
    fn of(
        core: &Core,
        auth: &Auth,
        headers: &HeaderMap,
        grace: Duration,
    ) -> Result<Option<Self>, ServiceError> {
        let Some(token) = headers.get(SUBJECT_TOKEN) else { return Ok(None) };
        let token = token.to_str().unwrap_or_default().trim();
        if token == auth.token.reveal() {
            let (token, principal) = (auth.token.clone(), auth.principal.clone());
            return Ok(Some(Self { token, principal }));
        }
        match core.verifier.verify(token, core.env.wall(), grace) {
            Ok(principal) => {
                Ok(Some(Self { token: Token::new(token), principal: Arc::new(principal) }))
            }
            Err(error) => {
                tracing::info!(%error, "a token that was asked about does not pass");
                Err(Service::Identity.not_found("Failed to validate token"))
            }
        }
    }
}

/// Refuses by the rule, and then if there is no subject.
fn allowed(
    core: &Core,
    auth: &Auth,
    rule: &'static str,
    subject: Option<Subject>,
) -> Result<Subject, ServiceError> {
    let target = Target::new();
    let target = match &subject {
        Some(subject) => target.with("target.token.user_id", subject.principal.user.id.as_str()),
        None => target,
    };
    core.enforce(&auth.principal, rule, &target)?;
    subject.ok_or_else(|| Service::Identity.not_found("No token in the request"))
}

async fn validate(
    State(core): State<Shared>,
    auth: Auth,
    method: Method,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    let expired_too = query.flag("allow_expired")?.unwrap_or(false);
    let grace = if expired_too { EXPIRED_GRACE } else { Duration::ZERO };
    let subject = Subject::of(&core, &auth, &headers, grace)?;
    let head = method == Method::HEAD;
    let rule = if head { "identity:check_token" } else { "identity:validate_token" };
    let Subject { token, principal } = allowed(&core, &auth, rule, subject)?;
    Ok(answer(StatusCode::OK, &token, &principal, &core.verifier.snapshot(), &query))
}

async fn revoke(
    State(core): State<Shared>,
    auth: Auth,
    headers: HeaderMap,
) -> Result<StatusCode, ServiceError> {
    let subject = Subject::of(&core, &auth, &headers, Duration::ZERO)?;
    let subject = allowed(&core, &auth, "identity:revoke_token", subject)?;
    let principal = &subject.principal;
    let audit_id = principal.audit_ids.first().copied();
    let row = RevokedRow {
        audit_id: audit_id.ok_or(Error::Internal("a token has no audit id"))?,
        user_id: principal.user.id.clone(),
        issued_at: principal.issued_at,
        revoked_at: core.env.wall(),
        forget_at: principal.expires_at.plus(EXPIRED_GRACE + CLOCK_SKEW_MAX),
    };
    core.change(|change| {
        change.put(&row)?;
        bound(change, &row.user_id)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the older half of too many revocations by a date before which all tokens are void.
pub(super) fn bound(change: &mut Change<'_>, user_id: &str) -> Result<(), Error> {
    let mut rows = change.find::<RevokedRow>(RevokedRow::BY_USER, user_id)?;
    if rows.len() <= REVOKED_PER_USER_MAX {
        return Ok(());
    }
    rows.sort_by_key(|row| row.issued_at);
    rows.truncate(REVOKED_PER_USER_MAX / 2);
    let Some(mut user) = change.get::<UserRow>(user_id)? else { return Ok(()) };
    user.revoked_before = user.revoked_before.max(rows.last().map(|row| row.issued_at));
    change.put(&user)?;
    for row in rows {
        change.delete::<RevokedRow>(&row.audit_id.to_string())?;
    }
    Ok(())
}

async fn catalog(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_auth_catalog", &Target::new())?;
    if auth.principal.project().is_none() {
        return Err(
            Service::Identity.forbidden("You are not authorized to perform the requested action.")
        );
    }
    let snapshot = core.verifier.snapshot();
    let catalog = issue::catalog_for(&auth.principal, &snapshot);
    Ok(Json(json!({"catalog": catalog, "links": {"self": links.api("auth/catalog")}})))
}

async fn list_projects(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_auth_projects", &Target::new())?;
    let found = projects_of(&core, &links, &auth.principal.user.id).await?;
    Ok(Json(collection(&links, "auth/projects", "projects", &query, &[], found)?))
}

/// The projects in which a user has a role.
pub(super) async fn projects_of(
    core: &Core,
    links: &Links,
    user_id: &str,
) -> Result<Vec<Resource>, Error> {
    let snapshot = core.publisher.catch_up().await?;
    let held = snapshot.assignments.get(user_id);
    let ids = held.into_iter().flat_map(|held| held.projects.keys());
    core.store
        .read(|txn| {
            let rows = ids.filter_map(|id| txn.get::<ProjectRow>(id).transpose());
            rows.map(|row| Ok(projects::view(links, row?))).collect()
        })
        .await
}

async fn list_domains(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_auth_domains", &Target::new())?;
    let snapshot = core.publisher.catch_up().await.map_err(Error::from)?;
    let held = snapshot.assignments.get(&auth.principal.user.id);
    let ids = held.into_iter().flat_map(|held| held.domains.keys());
    let found: Vec<Resource> = core
        .store
        .read(|txn| {
            let rows = ids.filter_map(|id| txn.get::<DomainRow>(id).transpose());
            rows.map(|row| Ok::<_, Error>(domains::view(&links, row?))).collect()
        })
        .await?;
    Ok(Json(collection(&links, "auth/domains", "domains", &query, &[], found)?))
}

async fn list_system(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
) -> Result<Json<Value>, ServiceError> {
    core.enforce(&auth.principal, "identity:get_auth_system", &Target::new())?;
    let snapshot = core.verifier.snapshot();
    let held = snapshot.assignments.get(&auth.principal.user.id);
    let all = held.filter(|held| !held.system.is_empty()).map(|_| json!({"all": true}));
    let system: Vec<Value> = all.into_iter().collect();
    Ok(Json(json!({"system": system, "links": {"self": links.api("auth/system")}})))
}
