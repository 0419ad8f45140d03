//! How compute says no over REST: nova's status codes and words.

use axum::response::{IntoResponse, Response};
use updraft_edge::rest::{Service, ServiceError};
use updraft_runtime::store::StoreError;

/// Why a request is not answered as it was hoped. It fits a transaction's closure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A no, in words for the caller.
    #[error(transparent)]
    Said(#[from] ServiceError),
    /// The store failed, or a commit's outcome is not known.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

/// The outcome of a request.
pub(crate) type Outcome<T> = Result<T, Error>;

impl Error {
    /// Whether a commit may have taken effect all the same.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unknown))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Said(error) => error,
            Self::Store(error) => Service::Compute.store_error(&error),
        }
        .into_response()
    }
}

/// 400 in these words.
pub(crate) fn bad_request(message: impl Into<String>) -> Error {
    Service::Compute.bad_request(message).into()
}

/// 400 of a field of the body, naming it.
pub(crate) fn bad_field(path: &str, value: impl std::fmt::Display, reason: &str) -> Error {
    Service::Compute.invalid_field(path, &value.to_string(), reason).into()
}

/// 403 in these words.
pub(crate) fn forbidden(message: impl Into<String>) -> Error {
    Service::Compute.forbidden(message).into()
}

/// 404 in these words.
pub(crate) fn not_found(message: impl Into<String>) -> Error {
    Service::Compute.not_found(message).into()
}

/// 409 in these words.
pub(crate) fn conflict(message: impl Into<String>) -> Error {
    Service::Compute.conflict(message).into()
}

/// 404 of a server.
pub(crate) fn no_server(id: impl std::fmt::Display) -> Error {
    not_found(format!("Instance {id} could not be found."))
}

/// 404 of a flavor.
pub(crate) fn no_flavor(id: &str) -> Error {
    not_found(format!("Flavor {id} could not be found."))
}
