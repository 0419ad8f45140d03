//! The rules themselves: name, text, and the scopes they are for.

use super::ScopeKind::{self, Domain, Project, System};

pub(super) type Rule = (&'static str, &'static str, &'static [ScopeKind]);

const ANY: &[ScopeKind] = &[System, Domain, Project];
const CLOUD: &[ScopeKind] = &[System, Project];
/// Referred to by other rules, never asked by itself.
const PART: &[ScopeKind] = &[];

const ADMIN: &str = "rule:admin_required";
const ADMIN_OR_READER: &str = "rule:admin_required or rule:system_reader";
const PROJECT_READER: &str = "rule:admin_required or rule:system_reader or \
    (role:reader and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s) or \
    project_id:%(target.project.id)s";
const PROJECT_MANAGER: &str = "rule:admin_required or (role:manager and \
    domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)";
const USER_MANAGER: &str =
    "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)";
const DOMAIN_READER: &str =
    "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)";
const GROUP_READER: &str = "rule:admin_required or rule:system_reader or \
    (role:reader and domain_id:%(target.group.domain_id)s)";
const GROUP_MANAGER: &str =
    "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)";
const MEMBERSHIP_MANAGER: &str = "rule:admin_required or (role:manager and \
    domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)";
const GRANT_MANAGER: &str = "rule:admin_required or \
    (role:admin and rule:grant_in_own_domain and rule:role_of_own_domain) or \
    (role:manager and rule:grant_in_own_domain and rule:domain_managed_target_role)";

pub(super) const RULES: &[Rule] = &[
    ("admin_required", "role:admin or is_admin:1", PART),
    ("service_role", "role:service", PART),
    ("service_or_admin", "rule:admin_required or rule:service_role", PART),
    ("owner", "user_id:%(user_id)s", PART),
    ("admin_or_owner", "rule:admin_required or rule:owner", PART),
    ("token_subject", "user_id:%(target.token.user_id)s", PART),
    ("admin_or_token_subject", "rule:admin_required or rule:token_subject", PART),
    ("service_admin_or_token_subject", "rule:service_or_admin or rule:token_subject", PART),
    (
        "domain_managed_target_role",
        "'manager':%(target.role.name)s or 'member':%(target.role.name)s or \
         'reader':%(target.role.name)s",
        PART,
    ),
    ("system_reader", "role:reader and system_scope:all", PART),
    (
        "role_of_own_domain",
        "domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s",
        PART,
    ),
    (
        "grant_in_own_domain",
        "(domain_id:%(target.user.domain_id)s or domain_id:%(target.group.domain_id)s) and \
         (domain_id:%(target.project.domain_id)s or domain_id:%(target.domain.id)s)",
        PART,
    ),
    ("identity:get_auth_catalog", "", ANY),
    ("identity:get_auth_projects", "", ANY),
    ("identity:get_auth_domains", "", ANY),
    ("identity:get_auth_system", "", ANY),
    (
        "identity:get_domain",
        "rule:admin_required or rule:system_reader or token.domain.id:%(target.domain.id)s or \
         token.project.domain.id:%(target.domain.id)s",
        ANY,
    ),
    (
        "identity:list_domains",
        "rule:admin_required or rule:system_reader or \
         (role:reader and domain_id:%(target.domain.id)s)",
        ANY,
    ),
    ("identity:create_domain", ADMIN, CLOUD),
    ("identity:update_domain", ADMIN, CLOUD),
    ("identity:delete_domain", ADMIN, CLOUD),
    ("identity:get_project", PROJECT_READER, ANY),
    ("identity:list_projects", DOMAIN_READER, ANY),
    (
        "identity:list_user_projects",
        "rule:admin_required or rule:system_reader or \
         (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
        ANY,
    ),
    ("identity:create_project", PROJECT_MANAGER, ANY),
    ("identity:update_project", PROJECT_MANAGER, ANY),
    ("identity:delete_project", PROJECT_MANAGER, ANY),
    ("identity:list_project_tags", PROJECT_READER, ANY),
    ("identity:get_project_tag", PROJECT_READER, ANY),
    ("identity:update_project_tags", PROJECT_MANAGER, ANY),
    ("identity:create_project_tag", PROJECT_MANAGER, ANY),
    ("identity:delete_project_tags", PROJECT_MANAGER, ANY),
    ("identity:delete_project_tag", PROJECT_MANAGER, ANY),
    (
        "identity:get_user",
        "rule:admin_required or rule:system_reader or \
         (role:reader and token.domain.id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
        ANY,
    ),
    ("identity:list_users", DOMAIN_READER, ANY),
    ("identity:create_user", USER_MANAGER, ANY),
    ("identity:update_user", USER_MANAGER, ANY),
    ("identity:delete_user", USER_MANAGER, ANY),
    (
        "identity:get_role",
        "rule:admin_required or rule:system_reader or \
         (role:manager and rule:domain_managed_target_role)",
        ANY,
    ),
    (
        "identity:list_roles",
        "rule:admin_required or rule:system_reader or (role:manager and not domain_id:None)",
        ANY,
    ),
    ("identity:create_role", ADMIN, CLOUD),
    ("identity:update_role", ADMIN, CLOUD),
    ("identity:delete_role", ADMIN, CLOUD),
    ("identity:get_domain_role", ADMIN_OR_READER, CLOUD),
    ("identity:list_domain_roles", ADMIN_OR_READER, CLOUD),
    ("identity:create_domain_role", ADMIN, CLOUD),
    ("identity:update_domain_role", ADMIN, CLOUD),
    ("identity:delete_domain_role", ADMIN, CLOUD),
    ("identity:get_implied_role", ADMIN_OR_READER, CLOUD),
    ("identity:list_implied_roles", ADMIN_OR_READER, CLOUD),
    ("identity:create_implied_role", ADMIN, CLOUD),
    ("identity:delete_implied_role", ADMIN, CLOUD),
    ("identity:list_role_inference_rules", ADMIN_OR_READER, CLOUD),
    ("identity:check_implied_role", ADMIN_OR_READER, CLOUD),
    (
        "identity:check_grant",
        "rule:admin_required or (rule:system_reader or \
         (role:reader and rule:grant_in_own_domain)) and rule:role_of_own_domain",
        ANY,
    ),
    (
        "identity:list_grants",
        "rule:admin_required or rule:system_reader or (role:reader and rule:grant_in_own_domain)",
        ANY,
    ),
    ("identity:create_grant", GRANT_MANAGER, ANY),
    ("identity:revoke_grant", GRANT_MANAGER, ANY),
    ("identity:list_system_grants_for_user", ADMIN_OR_READER, CLOUD),
    ("identity:check_system_grant_for_user", ADMIN_OR_READER, CLOUD),
    ("identity:create_system_grant_for_user", ADMIN, CLOUD),
    ("identity:revoke_system_grant_for_user", ADMIN, CLOUD),
    ("identity:list_system_grants_for_group", ADMIN_OR_READER, CLOUD),
    ("identity:check_system_grant_for_group", ADMIN_OR_READER, CLOUD),
    ("identity:create_system_grant_for_group", ADMIN, CLOUD),
    ("identity:revoke_system_grant_for_group", ADMIN, CLOUD),
    ("identity:get_group", GROUP_READER, ANY),
    ("identity:list_groups", GROUP_READER, ANY),
    (
        "identity:list_groups_for_user",
        "rule:admin_required or rule:system_reader or \
         (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(user_id)s",
        ANY,
    ),
    ("identity:create_group", GROUP_MANAGER, ANY),
    ("identity:update_group", GROUP_MANAGER, ANY),
    ("identity:delete_group", GROUP_MANAGER, ANY),
    ("identity:list_users_in_group", GROUP_READER, ANY),
    ("identity:remove_user_from_group", MEMBERSHIP_MANAGER, ANY),
    (
        "identity:check_user_in_group",
        "rule:admin_required or rule:system_reader or (role:reader and \
         domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        ANY,
    ),
    ("identity:add_user_to_group", MEMBERSHIP_MANAGER, ANY),
    ("identity:list_role_assignments", DOMAIN_READER, ANY),
    ("identity:list_role_assignments_for_tree", DOMAIN_READER, ANY),
    ("identity:get_service", ADMIN_OR_READER, CLOUD),
    ("identity:list_services", ADMIN_OR_READER, CLOUD),
    ("identity:create_service", ADMIN, CLOUD),
    ("identity:update_service", ADMIN, CLOUD),
    ("identity:delete_service", ADMIN, CLOUD),
    ("identity:get_endpoint", ADMIN_OR_READER, CLOUD),
    ("identity:list_endpoints", ADMIN_OR_READER, CLOUD),
    ("identity:create_endpoint", ADMIN, CLOUD),
    ("identity:update_endpoint", ADMIN, CLOUD),
    ("identity:delete_endpoint", ADMIN, CLOUD),
    ("identity:get_region", "", ANY),
    ("identity:list_regions", "", ANY),
    ("identity:create_region", ADMIN, CLOUD),
    ("identity:update_region", ADMIN, CLOUD),
    ("identity:delete_region", ADMIN, CLOUD),
    (
        "identity:check_token",
        "rule:admin_required or rule:system_reader or rule:token_subject",
        ANY,
    ),
    (
        "identity:validate_token",
        "rule:admin_required or rule:system_reader or rule:service_role or rule:token_subject",
        ANY,
    ),
    ("identity:revoke_token", "rule:admin_required or rule:token_subject", ANY),
];
