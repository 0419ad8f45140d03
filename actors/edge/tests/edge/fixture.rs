//! A small cloud's identity, a clock that stands still, and a service to send requests to.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, request::Builder},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use updraft_edge::{
    rest::{Edge, EdgeConfig, Microversion, Service, VersionRange},
    token::{KeyRing, Methods, TokenContents, TokenScope},
    verify::Verifier,
};
use updraft_protocol::identity::*;
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    policy::Policy,
};

/// 2025-01-01, when all of this happens.
pub(crate) const NOW: UnixMicros = UnixMicros(1_735_689_600_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const USER: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const NOVA: &str = "1123456789abcdef0123456789abcdef";
pub(crate) const PROJECT: &str = "fedcba9876543210fedcba9876543210";
pub(crate) const OTHER_PROJECT: &str = "aedcba9876543210fedcba9876543210";
pub(crate) const CREDENTIAL: &str = "2222222222222222222222222222222a";

/// A world whose clock stands still and whose randomness counts.
struct Still {
    draws: AtomicU64,
}

impl World for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn wall(&self) -> UnixMicros {
        NOW
    }
    fn seed(&self, _: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.draws.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        seed
    }
    fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}
    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

pub(crate) fn env() -> Env {
    Env::new(Still { draws: AtomicU64::new(0) })
}

pub(crate) fn key(byte: u8) -> FernetKey {
    FernetKey::from_bytes([byte; 32])
}

pub(crate) fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn map<T>(entries: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    entries.into_iter().map(|(id, value)| (id.to_owned(), value)).collect()
}

pub(crate) fn snapshot() -> IdentitySnapshot {
    let user = |name: &str| User {
        name: name.to_owned(),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let project = |name: &str| Project {
        name: name.to_owned(),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let domain = Domain { name: "Default".to_owned(), enabled: true, revoked_before: None };
    let role = |name: &str, implies: &[&str]| Role { name: name.to_owned(), implies: ids(implies) };
    IdentitySnapshot {
        version: 1,
        fernet_keys: updraft_edge::token::first_keys(key(0), key(1)),
        users: map([(USER, user("demo")), (NOVA, user("nova"))]),
        projects: map([(PROJECT, project("demo")), (OTHER_PROJECT, project("other"))]),
        domains: map([("default", domain)]),
        roles: map([
            ("r-admin", role("admin", &["r-member"])),
            ("r-member", role("member", &["r-reader"])),
            // Round in a circle, which must not matter.
            ("r-reader", role("reader", &["r-reader"])),
            ("r-service", role("service", &[])),
        ]),
        assignments: map([
            (
                USER,
                Assignments {
                    projects: map([(PROJECT, ids(&["r-member"]))]),
                    domains: map([("default", ids(&["r-admin"]))]),
                    system: ids(&["r-reader"]),
                },
            ),
            (
                NOVA,
                Assignments {
                    projects: map([(PROJECT, ids(&["r-service"]))]),
                    ..Assignments::default()
                },
            ),
        ]),
        application_credentials: map([(
            CREDENTIAL,
            ApplicationCredential {
                user_id: USER.to_owned(),
                project_id: PROJECT.to_owned(),
                role_ids: ids(&["r-reader", "r-admin"]),
                expires_at: None,
            },
        )]),
        catalog: Vec::new(),
        revocations: Revocations::default(),
    }
}

/// A token of the demo user for the demo project, issued now for an hour.
pub(crate) fn contents() -> TokenContents {
    TokenContents {
        user_id: USER.to_owned(),
        methods: Methods::of(["password"]),
        scope: TokenScope::Project { project_id: PROJECT.to_owned() },
        expires_at: NOW.plus(HOUR),
        audit_ids: vec![AuditId([1; 16])],
    }
}

pub(crate) fn seal(contents: &TokenContents) -> String {
    let keys = KeyRing::new(&snapshot().fernet_keys).expect("two keys");
    keys.seal(contents, NOW).expect("short").reveal().to_owned()
}

pub(crate) fn token() -> String {
    seal(&contents())
}

/// A token of a service user.
pub(crate) fn service_token() -> String {
    seal(&TokenContents { user_id: NOVA.to_owned(), ..contents() })
}

/// A token that ended an hour ago.
pub(crate) fn expired_token() -> String {
    let hour_ago = UnixMicros(NOW.0 - 3_600_000_000);
    seal(&TokenContents { expires_at: hour_ago, ..contents() })
}

pub(crate) fn verifier() -> Arc<Verifier> {
    let verifier = Verifier::new();
    verifier.publish(Arc::new(snapshot()));
    Arc::new(verifier)
}

pub(crate) fn policy() -> Arc<Policy> {
    let rules = [
        ("context_is_admin", "role:admin"),
        ("thing:list", "role:reader and project_id:%(project_id)s"),
        ("thing:create", "is_admin:True"),
        ("thing:relay", "service_roles:service"),
    ];
    Arc::new(Policy::new(&rules).expect("valid"))
}

pub(crate) fn range(service: Service) -> VersionRange {
    let (major, min, max) = match service {
        Service::Compute => (2, 1, 100),
        Service::Volume => (3, 0, 71),
        _ => (2, 0, 2),
    };
    VersionRange::new(Microversion::new(major, min), Microversion::new(major, max))
}

pub(crate) fn config(service: Service) -> EdgeConfig {
    EdgeConfig::new(service, env(), verifier(), policy(), range(service))
}

pub(crate) const SERVICES: [Service; 6] = [
    Service::Identity,
    Service::Compute,
    Service::Image,
    Service::Network,
    Service::Volume,
    Service::Cloud,
];

/// The path of a service's current API.
pub(crate) fn api(service: Service) -> &'static str {
    match service {
        Service::Identity | Service::Volume => "/v3",
        Service::Compute => "/v2.1",
        Service::Image => "/v2",
        Service::Network => "/v2.0",
        Service::Cloud => "/v1",
    }
}

/// A service with these routes, all of which need a token.
pub(crate) fn app(service: Service, routes: Router) -> Router {
    Edge::new(config(service)).mount(Router::new(), routes)
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }
}

pub(crate) fn request(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(path).header("host", "cloud:8080")
}

/// The same with a good token.
pub(crate) fn with_token(method: &str, path: &str) -> Builder {
    request(method, path).header("x-auth-token", token())
}

pub(crate) async fn send(app: &Router, request: Builder, body: impl Into<Body>) -> Answer {
    let request = request.body(body.into()).expect("a request");
    let Ok(response) = app.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let text = String::from_utf8(body.to_vec()).expect("text");
    Answer { status: parts.status, headers: parts.headers, text }
}

pub(crate) async fn get(app: &Router, path: &str) -> Answer {
    send(app, with_token("GET", path), Body::empty()).await
}
