//! How the volume service says no: the real service's status codes, names and words.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use updraft_edge::rest::{Service, ServiceError};
use updraft_runtime::{
    rpc::{Fault, FaultKind},
    store::StoreError,
};

/// A no.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("Volume {0} could not be found.")]
    VolumeNotFound(String),
    #[error("Snapshot {0} could not be found.")]
    SnapshotNotFound(String),
    #[error("Volume attachment could not be found with filter: attachment_id = {0}.")]
    AttachmentNotFound(String),
    #[error("Volume type {0} could not be found.")]
    TypeNotFound(String),
    #[error("Volume type with name {0} could not be found.")]
    TypeNotFoundByName(String),
    #[error("Invalid volume: {0}")]
    InvalidVolume(String),
    #[error("Invalid snapshot: {0}")]
    InvalidSnapshot(String),
    #[error("Invalid input received: {0}")]
    InvalidInput(String),
    #[error("{name}: {words}")]
    OverQuota {
        /// The real service's name of it, which it puts before its words.
        name: &'static str,
        words: String,
    },
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// A newer generation has been seen, or the attachment is over.
    #[error("{0}")]
    Stale(String),
    /// In whatever words.
    #[error("{0}")]
    BadRequest(String),
    /// From the edge.
    #[error(transparent)]
    Edge(#[from] ServiceError),
    #[error("the volume service's database did not answer: {0}")]
    Store(#[from] StoreError),
}

impl Error {
    fn told(self) -> ServiceError {
        let words = self.to_string();
        let service = Service::Volume;
        match self {
            Self::VolumeNotFound(_)
            | Self::SnapshotNotFound(_)
            | Self::AttachmentNotFound(_)
            | Self::TypeNotFound(_)
            | Self::TypeNotFoundByName(_) => service.not_found(words),
            Self::InvalidVolume(_)
            | Self::InvalidSnapshot(_)
            | Self::InvalidInput(_)
            | Self::BadRequest(_) => service.bad_request(words),
            Self::OverQuota { .. } => service.over_quota(words),
            Self::Stale(_) => service.conflict(words),
            Self::Unavailable(_) => service.unavailable(words),
            Self::Edge(error) => error,
            Self::Store(error) => service.store_error(&error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::VolumeNotFound(_) => "VolumeNotFound",
            Self::SnapshotNotFound(_) => "SnapshotNotFound",
            Self::AttachmentNotFound(_) => "VolumeAttachmentNotFound",
            Self::TypeNotFound(_) => "VolumeTypeNotFound",
            Self::TypeNotFoundByName(_) => "VolumeTypeNotFoundByName",
            Self::InvalidVolume(_) => "InvalidVolume",
            Self::InvalidSnapshot(_) => "InvalidSnapshot",
            Self::OverQuota { name, .. } => name,
            Self::Unavailable(_) | Self::Store(_) => "ServiceUnavailable",
            Self::Stale(_) => "StaleAttachment",
            _ => "InvalidInput",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.told().into_response()
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::VolumeNotFound(_)
            | Error::SnapshotNotFound(_)
            | Error::AttachmentNotFound(_)
            | Error::TypeNotFound(_)
            | Error::TypeNotFoundByName(_) => FaultKind::NotFound,
            Error::InvalidVolume(_) | Error::InvalidSnapshot(_) => FaultKind::Conflict,
            Error::InvalidInput(_) | Error::BadRequest(_) => FaultKind::Invalid,
            Error::OverQuota { .. } => FaultKind::OverLimit,
            Error::Unavailable(_) | Error::Store(_) => FaultKind::Unavailable,
            Error::Stale(_) => FaultKind::Stale,
            Error::Edge(refused) => match refused.status() {
                StatusCode::FORBIDDEN => FaultKind::Forbidden,
                StatusCode::NOT_FOUND => FaultKind::NotFound,
                _ => FaultKind::Invalid,
            },
        };
        let message = match &error {
            Error::Edge(refused) => refused.message().to_owned(),
            other => other.to_string(),
        };
        Self::new(kind, error.code(), message)
    }
}
