//! Who may do what: Keystone's rules, by its names and with its defaults.
//!
//! Beside its text each rule has the scopes in which it may be asked at all: a token of another
//! scope is refused whatever its roles.

mod rules;

use std::sync::{Arc, LazyLock};

use updraft_edge::policy::credentials;
use updraft_protocol::identity::{Principal, Scope};
use updraft_runtime::policy::{Attribute, Policy, Target};

use crate::error::Error;
use rules::RULES;

#[allow(clippy::expect_used, reason = "the rules are constants, and every test loads them")]
static DEFAULT: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let texts: Vec<(&str, &str)> = RULES.iter().map(|(name, text, _)| (*name, *text)).collect();
    Arc::new(Policy::new(&texts).expect("the default rules are well-formed"))
});

/// Keystone's default rules, read once in a process.
#[must_use]
pub fn default_policy() -> Arc<Policy> {
    DEFAULT.clone()
}

/// A kind of scope. An unscoped token counts as one for a project without any role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScopeKind {
    System,
    Domain,
    Project,
}

impl ScopeKind {
    fn of(scope: &Scope) -> Self {
        match scope {
            Scope::System => Self::System,
            Scope::Domain(_) => Self::Domain,
            Scope::Project(_) | Scope::Unscoped => Self::Project,
        }
    }
}

/// Refuses unless the rule lets the caller act on the target.
pub(crate) fn enforce(
    policy: &Policy,
    caller: &Principal,
    rule: &'static str,
    target: &Target,
) -> Result<(), Error> {
    let scope = ScopeKind::of(&caller.scope);
    let scopes =
        RULES.iter().find(|(name, ..)| *name == rule).map_or(&[][..], |(.., scopes)| scopes);
    if !scopes.contains(&scope) {
        return Err(Error::Denied(rule));
    }
    let mut credentials = credentials(caller, None);
    if scope != ScopeKind::Domain {
        // Rules of this service ask for the absence of a domain too.
        credentials = credentials.with("domain_id", Attribute::Null);
    }
    policy.check(rule, &credentials, target).map_err(|_| Error::Denied(rule))
}

#[cfg(test)]
mod tests {
    use updraft_protocol::identity::{DomainRef, ProjectRef, RoleRef, UserRef};
    use updraft_runtime::env::UnixMicros;

    use super::*;

    fn caller(role: &str, scope: Scope) -> Principal {
        let domain = DomainRef { id: "d".to_owned(), name: "D".to_owned() };
        Principal {
            user: UserRef { id: "u".to_owned(), name: "U".to_owned(), domain },
            scope,
            roles: vec![RoleRef { id: role.to_owned(), name: role.to_owned() }],
            methods: vec!["password".to_owned()],
            audit_ids: Vec::new(),
            issued_at: UnixMicros(0),
            expires_at: UnixMicros(0),
            application_credential_id: None,
        }
    }

    fn in_domain(id: &str) -> Scope {
        Scope::Domain(DomainRef { id: id.to_owned(), name: id.to_owned() })
    }

    fn in_project() -> Scope {
        let domain = DomainRef { id: "d".to_owned(), name: "D".to_owned() };
        Scope::Project(ProjectRef { id: "p".to_owned(), name: "P".to_owned(), domain })
    }

    fn allows(role: &str, scope: Scope, rule: &'static str, target: &Target) -> bool {
        enforce(&default_policy(), &caller(role, scope), rule, target).is_ok()
    }

    #[test]
    fn an_admin_may_do_what_is_for_the_scope_of_the_token() {
        assert!(allows("admin", in_project(), "identity:create_domain", &Target::new()));
        assert!(allows("admin", Scope::System, "identity:create_domain", &Target::new()));
        assert!(!allows("admin", in_domain("d"), "identity:create_domain", &Target::new()));
    }

    #[test]
    fn a_member_may_look_at_the_own_user_and_at_no_other() {
        let target = |id: &str| Target::new().with("target.user.id", id);
        assert!(allows("member", in_project(), "identity:get_user", &target("u")));
        assert!(!allows("member", in_project(), "identity:get_user", &target("v")));
        assert!(!allows("member", in_project(), "identity:list_users", &Target::new()));
    }

    #[test]
    fn a_domains_manager_manages_that_domain_alone() {
        let target = |id: &str| Target::new().with("target.project.domain_id", id);
        let rule = "identity:create_project";
        assert!(allows("manager", in_domain("d"), rule, &target("d")));
        assert!(!allows("manager", in_domain("d"), rule, &target("e")));
        assert!(!allows("manager", in_project(), rule, &target("d")));
        assert!(!allows("member", in_domain("d"), rule, &target("d")));
    }

    #[test]
    fn only_a_manager_of_a_domain_may_list_roles() {
        assert!(allows("manager", in_domain("d"), "identity:list_roles", &Target::new()));
        assert!(!allows("manager", in_project(), "identity:list_roles", &Target::new()));
    }

    #[test]
    fn a_systems_reader_reads_and_writes_nothing() {
        assert!(allows("reader", Scope::System, "identity:list_users", &Target::new()));
        assert!(!allows("reader", Scope::System, "identity:create_user", &Target::new()));
    }

    #[test]
    fn a_rule_that_does_not_exist_allows_nothing() {
        assert!(!allows("admin", in_project(), "identity:conquer_world", &Target::new()));
    }
}
