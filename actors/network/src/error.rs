//! What the network service says no with: neutron's exceptions, by their names and in their words.
//!
//! One value serves REST and RPC alike: its kind becomes a status or a [`FaultKind`], its name the
//! `type` of a `NeutronError` or the code of a [`Fault`].

use updraft_runtime::{
    rpc::{Fault, FaultKind},
    store::StoreError,
};

pub(crate) mod l2;
pub(crate) mod l3;
pub(crate) mod security;

/// What kind of no it is: the status that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400
    Invalid,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    NotAllowed,
    /// 409
    Conflict,
    /// 412
    Precondition,
    /// 409: a newer want has been heard.
    Stale,
    /// 503
    Unavailable,
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NetworkError {
    /// The service said no.
    #[error("{message}")]
    Refused {
        /// What kind of no.
        kind: Kind,
        /// Neutron's name for it, such as `NetworkNotFound`.
        name: &'static str,
        /// Neutron's words for it.
        message: String,
    },
    /// The store could not serve, or a commit's outcome is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A broken invariant; what it says is for the log alone.
    #[error("internal: {0}")]
    Internal(String),
}

/// The outcome of an operation on the network service's rows.
pub(crate) type Outcome<T> = Result<T, NetworkError>;

impl NetworkError {
    /// A no.
    pub(crate) fn new(kind: Kind, name: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { kind, name, message: message.into() }
    }

    /// Neutron's name for it, if it is a no.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Refused { name, .. } => Some(name),
            Self::Store(_) | Self::Internal(_) => None,
        }
    }

    /// As another service hears it.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::Refused { kind, name, message } => {
                Fault::new(fault_kind(kind, name), name, message)
            }
            Self::Store(error) => error.into(),
            Self::Internal(message) => Fault::internal(message),
        }
    }
}

fn fault_kind(kind: Kind, name: &str) -> FaultKind {
    match kind {
        Kind::Invalid | Kind::NotAllowed => FaultKind::Invalid,
        Kind::Forbidden => FaultKind::Forbidden,
        Kind::NotFound => FaultKind::NotFound,
        Kind::Conflict if name == "OverQuota" => FaultKind::OverLimit,
        Kind::Conflict | Kind::Precondition => FaultKind::Conflict,
        Kind::Stale => FaultKind::Stale,
        Kind::Unavailable => FaultKind::Unavailable,
    }
}

/// A request that the API itself finds wrong: webob's 400.
pub(crate) fn bad_request(message: impl Into<String>) -> NetworkError {
    NetworkError::new(Kind::Invalid, "HTTPBadRequest", message)
}

/// A thing that the caller may not know of, or that is not there.
pub(crate) fn hidden() -> NetworkError {
    NetworkError::new(Kind::NotFound, "HTTPNotFound", "The resource could not be found.")
}

/// A value that cannot be what it should be.
pub(crate) fn invalid_input(message: impl std::fmt::Display) -> NetworkError {
    NetworkError::new(
        Kind::Invalid,
        "InvalidInput",
        format!("Invalid input for operation: {message}."),
    )
}

/// A request that makes no sense for a resource.
pub(crate) fn bad_resource(resource: &str, message: impl std::fmt::Display) -> NetworkError {
    NetworkError::new(Kind::Invalid, "BadRequest", format!("Bad {resource} request: {message}."))
}

/// A policy rule that did not hold.
pub(crate) fn denied(rule: &str) -> NetworkError {
    NetworkError::new(
        Kind::Forbidden,
        "PolicyNotAuthorized",
        format!("{rule} is disallowed by policy"),
    )
}

/// More than a project may have.
pub(crate) fn over_quota(resources: &[&str]) -> NetworkError {
    let listed: Vec<String> = resources.iter().map(|name| format!("'{name}'")).collect();
    NetworkError::new(
        Kind::Conflict,
        "OverQuota",
        format!("Quota exceeded for resources: [{}].", listed.join(", ")),
    )
}

/// An `If-Match` that names another revision.
pub(crate) fn revision_mismatch(expected: u64, found: u64) -> NetworkError {
    NetworkError::new(
        Kind::Precondition,
        "RevisionNumberConstraintFailed",
        format!("Constrained to {expected}, but current revision is {found}"),
    )
}
