//! What can go wrong, in Keystone's words.

use updraft_edge::{
    rest::{Service, ServiceError},
    token::SealError,
};
use updraft_runtime::{
    env::Gone,
    rpc::{Fault, FaultKind},
    store::StoreError,
};

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody can be let in by this. Why is for the log alone.
    #[error("not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// The policy forbids it.
    #[error("{0} is not allowed")]
    Denied(&'static str),
    /// What the request names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Another thing has that name or id, or two requests met.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is not allowed to anybody as things are.
    #[error("{0}")]
    Forbidden(String),
    /// Too much at once.
    #[error("too many requests wait for {0}")]
    Busy(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A token could not be made.
    #[error("a token could not be made")]
    Seal(#[from] SealError),
    /// The node is shutting down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// A broken invariant.
    #[error("{0}")]
    Internal(&'static str),
}

/// What a thing is called in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Domain,
    Project,
    User,
    Group,
    Role,
    Region,
    Service,
    Endpoint,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Project => "project",
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Region => "region",
            Self::Service => "service",
            Self::Endpoint => "endpoint",
        }
    }

    /// It does not exist.
    pub(crate) fn not_found(self, id: &str) -> Error {
        Error::NotFound(format!("Could not find {}: {id}.", self.name()))
    }

    /// It exists already.
    pub(crate) fn conflict(self, details: &str) -> Error {
        let name = self.name();
        Error::Conflict(format!("Conflict occurred attempting to store {name} - {details}."))
    }

    /// Another of this name exists in the domain, or in the cloud.
    pub(crate) fn duplicate_name(self, name: &str, domain_id: Option<&str>) -> Error {
        let details = match domain_id {
            Some(domain) => {
                format!("Duplicate entry found with name {name} at domain ID {domain}")
            }
            None => format!("Duplicate entry found with name {name}"),
        };
        self.conflict(&details)
    }

    /// It is marked as immutable.
    pub(crate) fn immutable(self, verb: &str, id: &str) -> Error {
        let name = self.name();
        Error::Forbidden(format!(
            "Unable to {verb} immutable {name} resource: `{id}. Set resource option \"immutable\" \
             to false first."
        ))
    }
}

/// What Keystone says when something is missing in a request.
pub(crate) fn expecting(attribute: &str, target: &str) -> Error {
    Error::Invalid(format!(
        "Expecting to find {attribute} in {target}. The server could not comply with the request \
         since it is either malformed or otherwise incorrect. The client is assumed to be in error."
    ))
}

/// Gives a duplicate of a unique index, or of a key, the words of what was to be stored.
pub(crate) fn or_duplicate<T>(
    stored: Result<T, StoreError>,
    duplicate: impl FnOnce() -> Error,
) -> Result<T, Error> {
    match stored {
        Err(StoreError::Duplicate { .. } | StoreError::Exists { .. }) => Err(duplicate()),
        other => Ok(other?),
    }
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        let service = Service::Identity;
        match error {
            Error::Unauthenticated(reason) => {
                tracing::info!(reason, "authentication failed");
                service.unauthorized()
            }
            Error::Denied(rule) => service.denied(rule),
            Error::NotFound(message) => service.not_found(message),
            Error::Conflict(message) => service.conflict(message),
            Error::Invalid(message) => service.bad_request(message),
            Error::Forbidden(message) => service.forbidden(message),
            Error::Busy(_) | Error::Gone(_) => {
                service.unavailable(format!("{error}; try again later.")).retry_after_secs(1)
            }
            Error::Store(error) => service.store_error(&error),
            Error::Seal(_) | Error::Internal(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
                service.internal()
            }
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (kind, code) = match &error {
            Error::Unauthenticated(_) => (FaultKind::Unauthenticated, "Unauthorized"),
            Error::Denied(_) | Error::Forbidden(_) => (FaultKind::Forbidden, "Forbidden"),
            Error::NotFound(_) => (FaultKind::NotFound, "NotFound"),
            Error::Conflict(_) => (FaultKind::Conflict, "Conflict"),
            Error::Invalid(_) => (FaultKind::Invalid, "ValidationError"),
            Error::Busy(_) | Error::Gone(_) | Error::Store(_) => {
                (FaultKind::Unavailable, "Unavailable")
            }
            Error::Seal(_) | Error::Internal(_) => (FaultKind::Internal, "UnexpectedError"),
        };
        Self::new(kind, code, error.to_string())
    }
}
