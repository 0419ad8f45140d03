//! An error as its service tells it.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{html, service::Service};

/// An error that is sent to a client: a status, a message, and what its service adds.
///
/// Made by [`Service`]'s methods. The message must not hold what the caller may not know.
#[derive(Clone, Debug)]
pub struct ServiceError(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    service: Service,
    status: StatusCode,
    message: String,
    kind: Option<Cow<'static, str>>,
    detail: String,
    headers: HeaderMap,
}

impl ServiceError {
    pub(super) fn new(service: Service, status: StatusCode, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            service,
            status,
            message: message.into(),
            kind: None,
            detail: String::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// With the name of the error, such as `NetworkNotFound`; network alone shows it.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = Some(kind.into());
        self
    }

    /// With details; network alone shows them.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after_secs(self, secs: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(secs))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The response for a client that accepts these types; only image asks what they are.
    pub(super) fn respond(&self, accept: Option<&str>) -> Response {
        let parts = &self.0;
        let (media_type, body) = match parts.service {
            Service::Image if parts.status != StatusCode::UNAUTHORIZED => {
                html::render(parts.status, &parts.message, accept)
            }
            _ => ("application/json", self.body().to_string()),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = parts.status;
        response.headers_mut().extend(parts.headers.clone());
        let media_type = HeaderValue::from_static(media_type);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response.extensions_mut().insert(self.clone());
        response
    }

    fn body(&self) -> Value {
        let parts = &self.0;
        let (code, message) = (parts.status.as_u16(), &parts.message);
        let title = parts.status.canonical_reason().unwrap_or_default();
        // Every service leaves its 401 to the same middleware.
        let plain = matches!(parts.service, Service::Identity | Service::Cloud);
        if plain || parts.status == StatusCode::UNAUTHORIZED {
            return json!({"error": {"code": code, "title": title, "message": message}});
        }
        if parts.service == Service::Network {
            let kind = parts.kind.clone().unwrap_or_else(|| network_kind(title));
            return json!({
                "NeutronError": {"type": kind, "message": message, "detail": parts.detail},
            });
        }
        let mut fault = json!({"code": code, "message": message});
        if let Some(secs) = parts.headers.get(header::RETRY_AFTER) {
            fault["retryAfter"] = json!(secs.to_str().unwrap_or_default());
        }
        json!({ fault_name(parts.status): fault })
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.status, self.0.message)
    }
}

impl std::error::Error for ServiceError {}

/// The key around a fault of compute and volume.
fn fault_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    }
}

/// The type of a network error that was given none: `HTTPNotFound` and its like.
fn network_kind(title: &str) -> Cow<'static, str> {
    let words: String = title.split_whitespace().collect();
    Cow::Owned(format!("HTTP{words}"))
}
