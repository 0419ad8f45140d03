//! Who may do what in compute: nova's rules, names and defaults.

use std::sync::{Arc, LazyLock};

use updraft_runtime::policy::Policy;

/// Whoever owns a thing and may change things, and administrators.
const MEMBER: &str = "rule:project_member_or_admin";
/// Whoever owns a thing, if only to look at it, and administrators.
const READER: &str = "rule:project_reader_or_admin";
/// Administrators.
const ADMIN: &str = "rule:context_is_admin";
/// The user whose thing it is, and administrators.
const USER: &str = "rule:context_is_admin or user_id:%(user_id)s";
/// Whoever has a token.
const ANYBODY: &str = "@";

/// The default rules, in oslo.policy's language.
const RULES: &[(&str, &str)] = &[
    ("context_is_admin", "role:admin"),
    ("project_member_api", "role:member and project_id:%(project_id)s"),
    ("project_reader_api", "role:reader and project_id:%(project_id)s"),
    ("project_member_or_admin", "rule:project_member_api or rule:context_is_admin"),
    ("project_reader_or_admin", "rule:project_reader_api or rule:context_is_admin"),
    ("os_compute_api:servers:index", READER),
    ("os_compute_api:servers:index:get_all_tenants", ADMIN),
    ("os_compute_api:servers:detail", READER),
    ("os_compute_api:servers:detail:get_all_tenants", ADMIN),
    ("os_compute_api:servers:allow_all_filters", ADMIN),
    ("os_compute_api:servers:show", READER),
    ("os_compute_api:servers:show:host_status", ADMIN),
    ("os_compute_api:servers:create", MEMBER),
    ("os_compute_api:servers:create:forced_host", ADMIN),
    ("os_compute_api:servers:create:zero_disk_flavor", ADMIN),
    ("os_compute_api:servers:create:attach_network", MEMBER),
    ("os_compute_api:servers:create:attach_volume", MEMBER),
    ("os_compute_api:servers:update", MEMBER),
    ("os_compute_api:servers:delete", MEMBER),
    ("os_compute_api:servers:start", MEMBER),
    ("os_compute_api:servers:stop", MEMBER),
    ("os_compute_api:servers:reboot", MEMBER),
    ("os_compute_api:servers:resize", MEMBER),
    ("os_compute_api:servers:confirm_resize", MEMBER),
    ("os_compute_api:servers:revert_resize", MEMBER),
    ("os_compute_api:os-extended-server-attributes", ADMIN),
    ("os_compute_api:os-admin-actions:reset_state", ADMIN),
    ("os_compute_api:os-evacuate", ADMIN),
    ("os_compute_api:os-migrate-server:migrate", ADMIN),
    ("os_compute_api:os-migrate-server:migrate:host", ADMIN),
    ("os_compute_api:os-lock-server:lock", MEMBER),
    ("os_compute_api:os-lock-server:unlock", MEMBER),
    ("os_compute_api:os-lock-server:unlock:unlock_override", ADMIN),
    ("os_compute_api:os-console-output", MEMBER),
    ("os_compute_api:os-remote-consoles", MEMBER),
    ("os_compute_api:os-volumes-attachments:index", READER),
    ("os_compute_api:os-volumes-attachments:show", READER),
    ("os_compute_api:os-volumes-attachments:create", MEMBER),
    ("os_compute_api:os-volumes-attachments:delete", MEMBER),
    ("os_compute_api:os-attach-interfaces:list", READER),
    ("os_compute_api:os-attach-interfaces:show", READER),
    ("os_compute_api:os-attach-interfaces:create", MEMBER),
    ("os_compute_api:os-attach-interfaces:delete", MEMBER),
    ("os_compute_api:ips:index", READER),
    ("os_compute_api:ips:show", READER),
    ("os_compute_api:server-metadata:index", READER),
    ("os_compute_api:server-metadata:show", READER),
    ("os_compute_api:server-metadata:create", MEMBER),
    ("os_compute_api:server-metadata:update", MEMBER),
    ("os_compute_api:server-metadata:update_all", MEMBER),
    ("os_compute_api:server-metadata:delete", MEMBER),
    ("os_compute_api:os-server-tags:index", READER),
    ("os_compute_api:os-server-tags:show", READER),
    ("os_compute_api:os-server-tags:update", MEMBER),
    ("os_compute_api:os-server-tags:update_all", MEMBER),
    ("os_compute_api:os-server-tags:delete", MEMBER),
    ("os_compute_api:os-server-tags:delete_all", MEMBER),
    ("os_compute_api:os-instance-actions:list", READER),
    ("os_compute_api:os-instance-actions:show", READER),
    ("os_compute_api:os-instance-actions:events", ADMIN),
    ("os_compute_api:os-instance-actions:events:details", ADMIN),
    ("os_compute_api:os-server-groups:index", READER),
    ("os_compute_api:os-server-groups:index:all_projects", ADMIN),
    ("os_compute_api:os-server-groups:show", READER),
    ("os_compute_api:os-server-groups:create", MEMBER),
    ("os_compute_api:os-server-groups:delete", MEMBER),
    ("os_compute_api:os-flavor-manage:create", ADMIN),
    ("os_compute_api:os-flavor-manage:update", ADMIN),
    ("os_compute_api:os-flavor-manage:delete", ADMIN),
    ("os_compute_api:os-flavor-extra-specs:index", ANYBODY),
    ("os_compute_api:os-flavor-extra-specs:show", ANYBODY),
    ("os_compute_api:os-flavor-extra-specs:create", ADMIN),
    ("os_compute_api:os-flavor-extra-specs:update", ADMIN),
    ("os_compute_api:os-flavor-extra-specs:delete", ADMIN),
    ("os_compute_api:os-flavor-access", ADMIN),
    ("os_compute_api:os-flavor-access:add_tenant_access", ADMIN),
    ("os_compute_api:os-flavor-access:remove_tenant_access", ADMIN),
    ("os_compute_api:os-keypairs:index", USER),
    ("os_compute_api:os-keypairs:show", USER),
    ("os_compute_api:os-keypairs:create", USER),
    ("os_compute_api:os-keypairs:delete", USER),
    ("os_compute_api:os-hypervisors:list", ADMIN),
    ("os_compute_api:os-hypervisors:list-detail", ADMIN),
    ("os_compute_api:os-hypervisors:show", ADMIN),
    ("os_compute_api:os-hypervisors:statistics", ADMIN),
    ("os_compute_api:os-hypervisors:uptime", ADMIN),
    ("os_compute_api:os-services:list", ADMIN),
    ("os_compute_api:os-services:update", ADMIN),
    ("os_compute_api:os-services:delete", ADMIN),
    ("os_compute_api:os-availability-zone:list", ANYBODY),
    ("os_compute_api:os-availability-zone:detail", ADMIN),
    ("os_compute_api:os-aggregates:index", ADMIN),
    ("os_compute_api:limits", ANYBODY),
    ("os_compute_api:limits:other_project", ADMIN),
    ("os_compute_api:os-quota-sets:show", READER),
    ("os_compute_api:os-quota-sets:detail", READER),
    ("os_compute_api:os-quota-sets:defaults", ANYBODY),
    ("os_compute_api:os-quota-sets:update", ADMIN),
    ("os_compute_api:os-quota-sets:delete", ADMIN),
    ("os_compute_api:os-quota-class-sets:show", ADMIN),
    ("os_compute_api:extensions", ANYBODY),
];

#[allow(clippy::expect_used, reason = "the table is constant, and a test loads it")]
static DEFAULT: LazyLock<Arc<Policy>> =
    LazyLock::new(|| Arc::new(Policy::new(RULES).expect("the default rules are well formed")));

/// The default policy, read once in a process.
#[must_use]
pub fn default_policy() -> Arc<Policy> {
    DEFAULT.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_can_be_loaded() {
        assert!(default_policy().defines("os_compute_api:servers:create"));
    }
}
