//! The services, and in what each differs from the others at its edge.

use axum::http::{HeaderName, StatusCode};

use super::error::ServiceError;

/// A service of the cloud, as far as its REST edge is concerned.
///
/// Its methods make errors in the service's own format: `Service::Compute.not_found(...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Identity, v3.
    Identity,
    /// Compute, v2.1 and its older self v2.
    Compute,
    /// Image, v2.
    Image,
    /// Network, v2.0.
    Network,
    /// Block storage, v3.
    Volume,
    /// The cloud itself, v1: what belongs to no service of OpenStack.
    Cloud,
}

/// The header that carries a request's id in every service.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");
/// The same in those that are older than it.
pub(super) const COMPUTE_REQUEST_ID: HeaderName = HeaderName::from_static("x-compute-request-id");
/// The header that asks for, and says, the microversion.
pub(super) const API_VERSION: HeaderName = HeaderName::from_static("openstack-api-version");
/// Compute's older form of it.
pub(super) const NOVA_API_VERSION: HeaderName =
    HeaderName::from_static("x-openstack-nova-api-version");

impl Service {
    /// What the catalog and logs call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Compute => "compute",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Cloud => "updraft",
        }
    }

    /// The paths under which its routes stand, the current one first.
    pub(super) fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Identity | Self::Volume => &["/v3"],
            Self::Compute => &["/v2.1", "/v2"],
            Self::Image => &["/v2"],
            Self::Network => &["/v2.0"],
            Self::Cloud => &["/v1"],
        }
    }

    /// Whether a project id may stand between that path and the route.
    pub(super) fn has_project_in_path(self) -> bool {
        matches!(self, Self::Compute | Self::Volume)
    }

    /// Whether its clients negotiate microversions, in headers.
    pub(super) fn has_microversions(self) -> bool {
        matches!(self, Self::Compute | Self::Volume)
    }

    /// The headers that carry a request's id.
    pub(super) fn request_id_headers(self) -> impl Iterator<Item = HeaderName> {
        let older = matches!(self, Self::Compute | Self::Volume);
        [REQUEST_ID].into_iter().chain(older.then_some(COMPUTE_REQUEST_ID))
    }

    /// An error of this status and message.
    #[must_use]
    pub fn error(self, status: StatusCode, message: impl Into<String>) -> ServiceError {
        ServiceError::new(self, status, message)
    }

    /// 400
    #[must_use]
    pub fn bad_request(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::BAD_REQUEST, message)
    }

    /// 400 of a field of the body, naming it.
    #[must_use]
    pub fn invalid_field(self, path: &str, value: &str, reason: &str) -> ServiceError {
        let path = if path.is_empty() { "body" } else { path };
        let message = match self {
            Self::Identity | Self::Cloud => {
                format!("Invalid input for field '{path}': {reason}")
            }
            Self::Compute | Self::Volume => {
                format!("Invalid input for field/attribute {path}. Value: {value}. {reason}")
            }
            Self::Image => format!("Provided object does not match schema: {path}: {reason}"),
            Self::Network => format!("Invalid input for {path}. Reason: {reason}."),
        };
        self.bad_request(message)
    }

    /// 400 of a parameter of the query, naming it.
    #[must_use]
    pub fn invalid_query(self, name: &str, value: &str, reason: &str) -> ServiceError {
        let value = value.escape_debug();
        let message = match self {
            Self::Identity | Self::Cloud => {
                format!("Invalid input for field '{name}': '{value}' is {reason}")
            }
            Self::Compute | Self::Volume => format!(
                "Invalid input for query parameters {name}. Value: {value}. '{value}' is {reason}"
            ),
            Self::Image => format!("Invalid value for {name}: '{value}' is {reason}"),
            Self::Network => format!("Invalid input for {name}. Reason: '{value}' is {reason}."),
        };
        self.bad_request(message)
    }

    /// 401, which says the same whatever was wrong.
    #[must_use]
    pub fn unauthorized(self) -> ServiceError {
        self.error(StatusCode::UNAUTHORIZED, "The request you have made requires authentication.")
    }

    /// 403
    #[must_use]
    pub fn forbidden(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::FORBIDDEN, message)
    }

    /// 403 of a policy rule, in this service's words.
    #[must_use]
    pub fn denied(self, rule: &str) -> ServiceError {
        let message = match self {
            Self::Identity => {
                format!("You are not authorized to perform the requested action: {rule}.")
            }
            Self::Compute | Self::Volume | Self::Cloud => {
                format!("Policy doesn't allow {rule} to be performed.")
            }
            Self::Image => format!("You are not authorized to complete {rule} action."),
            Self::Network => format!("rule:{rule} is disallowed by policy"),
        };
        self.forbidden(message).kind("PolicyNotAuthorized")
    }

    /// 404
    #[must_use]
    pub fn not_found(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::NOT_FOUND, message)
    }

    /// 404 of a path that leads nowhere.
    #[must_use]
    pub fn no_such_path(self) -> ServiceError {
        self.not_found(match self {
            Self::Identity => "The requested URL was not found on the server.",
            _ => "The resource could not be found.",
        })
    }

    /// 405; the router adds `Allow`.
    #[must_use]
    pub fn method_not_allowed(self, method: &str) -> ServiceError {
        let message = match self {
            Self::Identity => "The method is not allowed for the requested URL.".to_owned(),
            _ => format!("The method {method} is not allowed for this resource."),
        };
        self.error(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// 409
    #[must_use]
    pub fn conflict(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::CONFLICT, message)
    }

    /// 413 of a request's body.
    #[must_use]
    pub fn body_too_large(self, limit_bytes: usize) -> ServiceError {
        self.error(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request is too large. The limit is {limit_bytes} bytes."),
        )
    }

    /// 415
    #[must_use]
    pub fn unsupported_media_type(self) -> ServiceError {
        self.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")
    }

    /// What this service answers when a quota is used up: 403, 409 or 413.
    #[must_use]
    pub fn over_quota(self, message: impl Into<String>) -> ServiceError {
        match self {
            Self::Identity | Self::Compute | Self::Cloud => self.forbidden(message),
            Self::Network => self.conflict(message).kind("OverQuota"),
            Self::Image => self.error(StatusCode::PAYLOAD_TOO_LARGE, message),
            Self::Volume => self.error(StatusCode::PAYLOAD_TOO_LARGE, message).retry_after_secs(0),
        }
    }

    /// 500, which says nothing of what went wrong; that belongs in the log.
    #[must_use]
    pub fn internal(self) -> ServiceError {
        self.error(
            StatusCode::INTERNAL_SERVER_ERROR,
            match self {
                Self::Identity => {
                    "An unexpected error prevented the server from fulfilling your request."
                }
                Self::Network => {
                    "Request Failed: internal server error while processing your request."
                }
                _ => {
                    "The server has either erred or is incapable of performing the requested \
                     operation."
                }
            },
        )
    }

    /// 429: the caller holds all that one caller may.
    #[must_use]
    pub fn too_many_requests(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// 501
    #[must_use]
    pub fn not_implemented(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 503: try again later.
    #[must_use]
    pub fn unavailable(self, message: impl Into<String>) -> ServiceError {
        self.error(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}
