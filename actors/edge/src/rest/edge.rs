//! The edge around a service's routes: everything a request passes on its way in and out.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{NestedPath, Request, State},
    http::{Extensions, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use tower::Layer;
use tracing::Instrument;
use updraft_runtime::{Env, policy::Policy};

use super::{
    auth,
    body::JSON_BODY_MAX_BYTES,
    error::ServiceError,
    links::{Links, Scheme},
    microversion::{self, VersionRange},
    request_id::{self, RequestId},
    service::Service,
    versions,
};
use crate::{policy::Enforcer, verify::Verifier};

/// What an edge is made of.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Which service stands behind it.
    pub service: Service,
    /// The door to the world.
    pub env: Env,
    /// Judges tokens.
    pub verifier: Arc<Verifier>,
    /// The service's rules.
    pub policy: Arc<Policy>,
    /// The versions it offers: microversions of compute and volume, the numbered ones of image.
    pub versions: VersionRange,
    /// Where a client without a token finds identity: an address, or a path on the same host.
    pub identity_url: String,
    /// The address of the service's root as clients shall see it; without one, what the client
    /// itself used.
    pub public_url: Option<String>,
    /// Largest JSON body, in bytes.
    pub json_body_max_bytes: usize,
}

impl EdgeConfig {
    /// A configuration with defaults for all that has one.
    #[must_use]
    pub fn new(
        service: Service,
        env: Env,
        verifier: Arc<Verifier>,
        policy: Arc<Policy>,
        versions: VersionRange,
    ) -> Self {
        Self {
            service,
            env,
            verifier,
            policy,
            versions,
            identity_url: "/identity".to_owned(),
            public_url: None,
            json_body_max_bytes: JSON_BODY_MAX_BYTES,
        }
    }
}

/// The edge of one service.
#[derive(Clone, Debug)]
pub struct Edge(Arc<Context>);

/// What every layer and extractor of an edge can see.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) service: Service,
    pub(super) env: Env,
    pub(super) verifier: Arc<Verifier>,
    pub(super) versions: VersionRange,
    pub(super) json_body_max_bytes: usize,
    enforcer: Enforcer,
    identity_url: String,
    public_url: Option<String>,
    panics: AtomicU64,
}

impl Context {
    /// The context that [`front`] gave to a request; a handler outside of an edge has none.
    pub(super) fn of(extensions: &Extensions) -> Result<Arc<Self>, ServiceError> {
        extensions.get::<Arc<Self>>().cloned().ok_or_else(|| Service::Identity.internal())
    }
}

impl Edge {
    /// An edge of this configuration.
    #[must_use]
    pub fn new(config: EdgeConfig) -> Self {
        Self(Arc::new(Context {
            service: config.service,
            env: config.env,
            verifier: config.verifier,
            versions: config.versions,
            json_body_max_bytes: config.json_body_max_bytes,
            enforcer: Enforcer::new(config.service, config.policy),
            identity_url: config.identity_url,
            public_url: config.public_url,
            panics: AtomicU64::new(0),
        }))
    }

    /// The whole service: version documents at its root, and these routes below each of its API
    /// paths (`/v2.1`, ...), where they are written without that path and without a project id.
    /// `protected` routes need a token. Neither may have `/`, which is the API's document.
    ///
    /// Put it under another path with `nest_service`, which keeps addresses in answers right.
    pub fn mount(&self, public: Router, protected: Router) -> Router {
        let context = &self.0;
        let service = context.service;
        let negotiate = from_fn_with_state(context.clone(), microversion::negotiate);
        let protected = protected
            .fallback(no_such_path)
            .layer(from_fn_with_state(context.clone(), auth::project_in_path))
            .layer(negotiate.clone())
            .layer(from_fn_with_state(context.clone(), auth::authenticate));
        let public = match service {
            Service::Image => public,
            _ => public.route("/", get(versions::api)),
        };
        let api = public
            .layer(negotiate)
            .merge(protected)
            .method_not_allowed_fallback(method_not_allowed);
        let mut all = Router::new().route("/", get(versions::root));
        if service == Service::Image {
            all = all.route("/versions", get(versions::listed));
        }
        for prefix in service.prefixes() {
            let enter = from_fn_with_state((*prefix, service), enter);
            all = all.nest_service(prefix, enter.layer(api.clone()));
        }
        all.fallback(no_such_path)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn_with_state(context.clone(), front))
    }

    /// The service's rules, for its handlers.
    #[must_use]
    pub fn enforcer(&self) -> Enforcer {
        self.0.enforcer.clone()
    }

    /// How many handlers have panicked since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }
}

async fn no_such_path(request: Request) -> ServiceError {
    match Context::of(request.extensions()) {
        Ok(context) => context.service.no_such_path(),
        Err(error) => error,
    }
}

async fn method_not_allowed(request: Request) -> ServiceError {
    match Context::of(request.extensions()) {
        Ok(context) => context.service.method_not_allowed(request.method().as_str()),
        Err(error) => error,
    }
}

/// Numbers a request, guards the rest against panics, and completes the answer.
async fn front(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Response {
    let request_id = RequestId::fresh(&context.env);
    let head = Head::of(&context, &request);
    let span = tracing::info_span!(
        "request",
        service = context.service.name(),
        %request_id,
        global_request_id = request_id::global(request.headers()),
        method = %request.method(),
        path = request.uri().path(),
    );
    let extensions = request.extensions_mut();
    extensions.insert(context.clone());
    extensions.insert(request_id.clone());
    extensions.insert(head.links.clone());
    let started = context.env.now();
    let work = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone());
    let mut response = work.await.unwrap_or_else(|_| {
        context.panics.fetch_add(1, Ordering::Relaxed);
        span.in_scope(|| tracing::error!("a handler panicked"));
        context.service.internal().into_response()
    });
    complete(&context, &head, &request_id, &mut response);
    let took_micros = context.env.now().saturating_sub(started).as_micros();
    span.in_scope(|| tracing::info!(status = response.status().as_u16(), %took_micros, "answered"));
    response
}

/// What the answer needs to know of the request.
struct Head {
    links: Links,
    accept: Option<String>,
    wants_body: bool,
}

impl Head {
    fn of(context: &Context, request: &Request) -> Self {
        let extensions = request.extensions();
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Self {
            links: Links::of(
                context.service,
                context.public_url.as_deref(),
                request.headers(),
                extensions.get::<Scheme>(),
                extensions.get::<NestedPath>(),
            ),
            accept: accept.map(str::to_owned),
            wants_body: request.method() != Method::HEAD,
        }
    }
}

fn complete(context: &Context, head: &Head, request_id: &RequestId, response: &mut Response) {
    let service = context.service;
    own_words(service, response);
    let error = response.extensions().get::<ServiceError>().cloned();
    if let (Service::Image, true, Some(error)) = (service, head.wants_body, error) {
        let (parts, body) = error.respond(head.accept.as_deref()).into_parts();
        *response.body_mut() = body;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
    }
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        for name in service.request_id_headers() {
            headers.insert(name, value.clone());
        }
    }
    if service == Service::Identity {
        headers.append(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    }
    if unauthorized && !headers.contains_key(header::WWW_AUTHENTICATE) {
        let origin = if context.identity_url.starts_with('/') { head.links.origin() } else { "" };
        let challenge = format!("Keystone uri=\"{origin}{}\"", context.identity_url);
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
    }
}

/// Gives an error that is not of a service's making, such as the router's of a path that is no text, the form of
/// this service. An error without a body, such as a precondition that does not hold, says enough.
fn own_words(service: Service, response: &mut Response) {
    let status = response.status();
    let foreign = response.extensions().get::<ServiceError>().is_none()
        && response.headers().get(header::CONTENT_TYPE).is_some_and(is_plain_text);
    if foreign && status == StatusCode::BAD_REQUEST {
        *response = service.bad_request("Malformed request URL").into_response();
    } else if foreign && (status.is_client_error() || status.is_server_error()) {
        tracing::error!(%status, "an error that no service made");
        *response = service.internal().into_response();
    }
}

fn is_plain_text(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"text/plain")
}

/// Notes which API a request came to, and takes the project id out of its path.
async fn enter(
    State((prefix, service)): State<(&'static str, Service)>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut project_id = None;
    if service.has_project_in_path()
        && let Some((project, rest)) = split_project(request.uri())
    {
        project_id = Some(project);
        *request.uri_mut() = rest;
    }
    if let Some(links) = request.extensions_mut().get_mut::<Links>() {
        links.enter(prefix, project_id);
    }
    next.run(request).await
}

/// The project id that a path begins with, and the path without it. No collection's name is made
/// of hexadecimal digits and dashes alone.
fn split_project(uri: &Uri) -> Option<(String, Uri)> {
    let path = uri.path().strip_prefix('/')?;
    let (project, rest) = path.split_once('/')?;
    let like_an_id = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-');
    if project.is_empty() || !project.bytes().all(like_an_id) {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let rest = format!("/{rest}{query}").parse().ok()?;
    Some((project.to_owned(), rest))
}
