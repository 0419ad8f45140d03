//! A service's rules, asked about whoever holds an accepted token.
//!
//! The rules themselves belong to each service; the language is [`updraft_runtime::policy`].
//! Names of attributes are those that OpenStack's policy files use.

use std::sync::Arc;

use updraft_protocol::identity::{Principal, Scope};
use updraft_runtime::policy::{Credentials, Policy, Target};

use crate::rest::{Auth, Service, ServiceError};

/// The rule that decides whether `is_admin:True` holds, where a service has one.
pub const ADMIN_RULE: &str = "context_is_admin";

/// The rules of one service, which refuse in its words.
#[derive(Clone, Debug)]
pub struct Enforcer {
    service: Service,
    policy: Arc<Policy>,
}

impl Enforcer {
    /// These rules for this service.
    #[must_use]
    pub fn new(service: Service, policy: Arc<Policy>) -> Self {
        Self { service, policy }
    }

    /// Refuses with 403, naming the rule, unless it lets the caller act on the target.
    pub fn enforce(&self, auth: &Auth, rule: &str, target: &Target) -> Result<(), ServiceError> {
        self.caller(auth).must(rule, target)
    }

    /// Whether a rule lets the caller act on the target.
    #[must_use]
    pub fn allows(&self, auth: &Auth, rule: &str, target: &Target) -> bool {
        self.caller(auth).may(rule, target)
    }

    /// The caller of a request, to be asked about more than once.
    #[must_use]
    pub fn caller(&self, auth: &Auth) -> Caller<'_> {
        self.principal(&auth.principal, auth.service.as_deref())
    }

    /// The same outside of a request: a user, and the service that acts for the user.
    #[must_use]
    pub fn principal(&self, user: &Principal, service: Option<&Principal>) -> Caller<'_> {
        let credentials = credentials(user, service);
        let is_admin = self.policy.check(ADMIN_RULE, &credentials, &own(user)).is_ok();
        Caller { enforcer: self, credentials: credentials.with("is_admin", is_admin) }
    }
}

/// Somebody before the rules of a service.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    enforcer: &'a Enforcer,
    credentials: Credentials,
}

impl Caller<'_> {
    /// Refuses with 403, naming the rule, unless it lets the caller act on the target.
    pub fn must(&self, rule: &str, target: &Target) -> Result<(), ServiceError> {
        self.enforcer
            .policy
            .check(rule, &self.credentials, target)
            .map_err(|denied| self.enforcer.service.denied(&denied.rule))
    }

    /// Whether a rule lets the caller act on the target.
    #[must_use]
    pub fn may(&self, rule: &str, target: &Target) -> bool {
        self.must(rule, target).is_ok()
    }
}

/// The target of what somebody does in the own project: `project_id`, `tenant_id` and `user_id`.
#[must_use]
pub fn own(principal: &Principal) -> Target {
    let target = Target::new().with("user_id", principal.user.id.as_str());
    match principal.project_id() {
        Some(project_id) => target.with("project_id", project_id).with("tenant_id", project_id),
        None => target,
    }
}

/// What rules may ask about a user and the service that acts for the user.
#[must_use]
pub fn credentials(user: &Principal, service: Option<&Principal>) -> Credentials {
    let roles = user.roles.iter().map(|role| &role.name);
    let mut all = Credentials::with_roles(roles)
        .with("user_id", user.user.id.as_str())
        .with("user_name", user.user.name.as_str())
        .with("user_domain_id", user.user.domain.id.as_str())
        .with("token.user.domain.id", user.user.domain.id.as_str())
        .with("is_admin_project", true);
    all = match &user.scope {
        Scope::Unscoped => all,
        Scope::Project(project) => all
            .with("project_id", project.id.as_str())
            .with("tenant_id", project.id.as_str())
            .with("project_name", project.name.as_str())
            .with("project_domain_id", project.domain.id.as_str())
            .with("token.project.id", project.id.as_str())
            .with("token.project.domain.id", project.domain.id.as_str()),
        Scope::Domain(domain) => {
            all.with("domain_id", domain.id.as_str()).with("token.domain.id", domain.id.as_str())
        }
        Scope::System => all.with("system_scope", "all"),
    };
    if let Some(service) = service {
        let roles: Vec<String> = service.roles.iter().map(|role| role.name.clone()).collect();
        all = all.with("service_roles", roles).with("service_user_id", service.user.id.as_str());
    }
    all
}
