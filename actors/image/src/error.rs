//! How the image service says no: the real service's status codes and words.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use updraft_edge::rest::Service;
use updraft_runtime::{
    policy::Denied,
    rpc::{Fault, FaultKind},
    store::StoreError,
};
use uuid::Uuid;

use crate::{blobs::ByteStoreError, inspect};

/// A no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such image, or it is not for the asker to see.
    #[error("No image found with ID {0}")]
    NotFound(String),
    /// The policy does not allow it; the action is the rule's name.
    #[error("You are not authorized to complete {0} action.")]
    NotAuthorized(String),
    /// Bytes are not what they are said to be, or are dangerous.
    #[error("{0}")]
    Format(#[from] inspect::Refused),
    /// Any other no, with the status that goes with it.
    #[error("{words}")]
    Refused {
        /// Of the answer.
        status: StatusCode,
        /// For the user.
        words: String,
    },
    /// The store failed, or its answer is not known.
    #[error("the image service's database did not answer: {0}")]
    Store(#[from] StoreError),
    /// Bytes could not be kept, read or removed.
    #[error("{}", bytes_words(.0))]
    Bytes(#[from] ByteStoreError),
}

fn bytes_words(error: &ByteStoreError) -> String {
    match error {
        ByteStoreError::Full(_) => format!("Image storage media is full: {error}"),
        ByteStoreError::Denied(_) => {
            format!("Insufficient permissions on image storage media: {error}")
        }
        error => error.to_string(),
    }
}

impl Error {
    pub(crate) fn not_found(image: Uuid) -> Self {
        Self::NotFound(image.to_string())
    }

    /// 400.
    pub(crate) fn invalid(words: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, words)
    }

    /// 403.
    pub(crate) fn forbidden(words: impl Into<String>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, words)
    }

    /// 409.
    pub(crate) fn conflict(words: impl Into<String>) -> Self {
        Self::refused(StatusCode::CONFLICT, words)
    }

    /// 413.
    pub(crate) fn too_large(words: impl Into<String>) -> Self {
        Self::refused(StatusCode::PAYLOAD_TOO_LARGE, words)
    }

    pub(crate) fn refused(status: StatusCode, words: impl Into<String>) -> Self {
        Self::Refused { status, words: words.into() }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::NotAuthorized(_) => StatusCode::FORBIDDEN,
            Self::Format(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Refused { status, .. } => *status,
            Self::Bytes(ByteStoreError::Full(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Store(_) | Self::Bytes(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn fault_kind(&self) -> FaultKind {
        match self.status() {
            StatusCode::NOT_FOUND => FaultKind::NotFound,
            StatusCode::FORBIDDEN => FaultKind::Forbidden,
            StatusCode::UNAUTHORIZED => FaultKind::Unauthenticated,
            StatusCode::CONFLICT => FaultKind::Conflict,
            StatusCode::PAYLOAD_TOO_LARGE => FaultKind::OverLimit,
            StatusCode::SERVICE_UNAVAILABLE => FaultKind::Unavailable,
            _ => FaultKind::Invalid,
        }
    }

    /// The name that other services know it by.
    fn code(&self) -> &'static str {
        match self.fault_kind() {
            FaultKind::NotFound => "ImageNotFound",
            FaultKind::Forbidden => "ImageNotAuthorized",
            FaultKind::Conflict => "ImageNotActive",
            FaultKind::OverLimit => "ImageTooLarge",
            FaultKind::Unavailable => "ImageUnavailable",
            _ => "InvalidImage",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Store(error) = &self {
            return Service::Image.store_error(error).into_response();
        }
        if self.status().is_server_error() {
            tracing::warn!(error = %self, "a request failed");
        }
        Service::Image.error(self.status(), self.to_string()).into_response()
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::NotAuthorized(denied.rule)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::new(error.fault_kind(), error.code(), error.to_string())
    }
}
