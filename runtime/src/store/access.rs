//! What one handle may touch, and what goes wrong for it.

use std::sync::Arc;

use super::{
    error::StoreError,
    faults::{BeginFate, CommitFate, StoreFaults},
};

/// The scope and the faults of a handle.
#[derive(Clone, Default)]
pub(super) struct Access {
    /// Each is a prefix that every key must have.
    scopes: Vec<Arc<str>>,
    faults: Option<Arc<dyn StoreFaults>>,
}

impl Access {
    pub(super) fn scoped(mut self, prefix: &str) -> Self {
        self.scopes.push(prefix.into());
        self
    }

    pub(super) fn with_faults(mut self, faults: Arc<dyn StoreFaults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Refuses a key, prefix or log outside the scope.
    pub(super) fn check_key(&self, key: &str) -> Result<(), StoreError> {
        match self.scopes.iter().find(|scope| !key.starts_with(&***scope)) {
            None => Ok(()),
            Some(scope) => {
                Err(StoreError::OutOfScope { key: key.to_owned(), scope: scope.to_string() })
            }
        }
    }

    /// The part of `prefix` that lies in the scope, or `None` if they have nothing in common.
    pub(super) fn narrow<'a>(&'a self, prefix: &'a str) -> Option<&'a str> {
        self.scopes.iter().try_fold(prefix, |narrowest, scope| {
            if narrowest.starts_with(&**scope) {
                Some(narrowest)
            } else {
                scope.starts_with(narrowest).then_some(&**scope)
            }
        })
    }

    pub(super) fn check_begin(&self) -> Result<(), StoreError> {
        match self.faults.as_ref().map(|faults| faults.on_begin()) {
            None | Some(BeginFate::Proceed) => Ok(()),
            Some(BeginFate::Unavailable) => Err(Self::injected()),
        }
    }

    pub(super) fn commit_fate(&self, keys: impl FnOnce() -> Vec<Arc<str>>) -> CommitFate {
        self.faults.as_ref().map_or(CommitFate::Proceed, |faults| faults.on_commit(&keys()))
    }

    /// The refusal of a simulated outage.
    pub(super) fn injected() -> StoreError {
        StoreError::Unavailable("it is cut off by the simulation".to_owned())
    }
}
