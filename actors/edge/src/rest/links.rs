//! The addresses that an answer names: where the client reached this service.

use axum::{
    extract::{FromRequestParts, NestedPath},
    http::{HeaderMap, header, request::Parts},
};
use serde_json::{Value, json};

use super::{edge::Context, error::ServiceError, service::Service};

/// The listener puts this into a request's extensions when it is not plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme(pub &'static str);

/// Addresses of this service as the client reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    service: Service,
    /// Scheme and host: `http://controller:8774`.
    origin: String,
    /// The service's own root, with the origin in front: `http://controller/compute`.
    root: String,
    /// The path of the API version below the root: `/v2.1`.
    version: &'static str,
    /// The project that the path names.
    project_id: Option<String>,
}

impl Links {
    /// Where this request came in, by the setting or by what the request says.
    pub(super) fn of(
        service: Service,
        public_url: Option<&str>,
        headers: &HeaderMap,
        scheme: Option<&Scheme>,
        mounted_at: Option<&NestedPath>,
    ) -> Self {
        let scheme = scheme.map_or("http", |scheme| scheme.0);
        let origin = format!("{scheme}://{}", host(headers));
        let root = public_url.map_or_else(
            || format!("{origin}{}", mounted_at.map_or("", NestedPath::as_str)),
            str::to_owned,
        );
        let root = root.trim_end_matches('/').to_owned();
        Self { service, origin, root, version: "", project_id: None }
    }

    pub(super) fn enter(&mut self, version: &'static str, project_id: Option<String>) {
        self.version = version;
        self.project_id = project_id;
    }

    /// Scheme and host as the client reached them: `http://controller:8774`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn project_id(&self) -> Option<&str> {
        self.project_id.as_deref()
    }

    /// Whether the request came to an API that knows no microversions: compute's v2.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.service == Service::Compute && self.version == "/v2"
    }

    /// The service's root: `http://controller/compute`.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// An address below the API: `http://controller/compute/v2.1/servers/ID`, with the project id
    /// in it if the request had it there.
    #[must_use]
    pub fn api(&self, path: &str) -> String {
        format!("{}{}{}", self.root, self.version, self.below(path))
    }

    /// The same without the version, which compute and volume call a bookmark.
    #[must_use]
    pub fn bookmark(&self, path: &str) -> String {
        format!("{}{}", self.root, self.below(path))
    }

    /// The `links` of a resource of compute and volume: itself and its bookmark.
    #[must_use]
    pub fn resource(&self, path: &str) -> Value {
        json!([
            {"rel": "self", "href": self.api(path)},
            {"rel": "bookmark", "href": self.bookmark(path)},
        ])
    }

    fn below(&self, path: &str) -> String {
        let project = self.project_id.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
        let path = path.trim_start_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{project}{slash}{path}")
    }
}

impl<S: Sync> FromRequestParts<S> for Links {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(&parts.extensions)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| context.service.internal())
    }
}

/// The host that the client named, if it is one; it is put into addresses as it stands.
fn host(headers: &HeaderMap) -> &str {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.is_empty() && host.bytes().all(legal))
        .unwrap_or("localhost")
}
