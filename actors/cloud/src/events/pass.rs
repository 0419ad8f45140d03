//! Who listens, and what of all that happens they may see now.
//!
//! A stream outlives the moment in which its token was judged. The pass judges token and rules again before anything
//! is told, so that a token that has ended or was revoked, or a role that was taken away, ends the stream.

use std::{sync::Arc, time::Duration};

use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, ServiceError},
    verify::Verifier,
};
use updraft_runtime::Env;

use crate::rest::{EVENTS_LIST, EVENTS_LIST_ALL};

/// Whose things a listener may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everybody's.
    Everything,
    /// Those of a project; whoever has none sees nothing.
    Project(Option<String>),
}

/// What judges listeners.
#[derive(Clone)]
pub(super) struct Judge {
    pub(super) env: Env,
    pub(super) enforcer: Enforcer,
    pub(super) verifier: Arc<Verifier>,
}

impl Judge {
    /// What the caller may see, or why nothing.
    pub(super) fn sight(&self, auth: &Auth) -> Result<Sight, ServiceError> {
        let target = own(&auth.principal);
        self.enforcer.enforce(auth, EVENTS_LIST, &target)?;
        if self.enforcer.allows(auth, EVENTS_LIST_ALL, &target) {
            return Ok(Sight::Everything);
        }
        Ok(Sight::Project(auth.principal.project().map(|project| project.id.clone())))
    }
}

/// A listener's token and what judges it.
pub(super) struct Pass {
    judge: Judge,
    auth: Auth,
}

impl Pass {
    pub(super) fn new(judge: &Judge, auth: Auth) -> Self {
        Self { judge: judge.clone(), auth }
    }

    /// What the listener may see now; `None` when the token passes no more, or a rule forbids to listen.
    pub(super) fn sight(&mut self) -> Option<Sight> {
        let Judge { env, verifier, .. } = &self.judge;
        let principal = verifier.verify(self.auth.token.reveal(), env.wall(), Duration::ZERO);
        self.auth.principal = Arc::new(principal.ok()?);
        self.judge.sight(&self.auth).ok()
    }
}
