//! Who may do what with volumes: the real service's rules, names and defaults.

use std::sync::{Arc, LazyLock};

use updraft_runtime::policy::Policy;

const ADMIN: &str = "rule:admin_api";
const MEMBER: &str = "rule:project_member";
const READER: &str = "rule:project_reader";

/// The default rules, in oslo.policy's language.
const RULES: &[(&str, &str)] = &[
    ("context_is_admin", "role:admin"),
    ("admin_api", "rule:context_is_admin"),
    ("project_member", "rule:admin_api or (role:member and project_id:%(project_id)s)"),
    ("project_reader", "rule:admin_api or (role:reader and project_id:%(project_id)s)"),
    ("volume:create", MEMBER),
    ("volume:create_from_image", MEMBER),
    ("volume:get", READER),
    ("volume:get_all", READER),
    ("volume:update", MEMBER),
    ("volume:delete", MEMBER),
    ("volume:force_delete", ADMIN),
    ("volume:extend", MEMBER),
    ("volume:create_volume_metadata", MEMBER),
    ("volume:get_volume_metadata", READER),
    ("volume:update_volume_metadata", MEMBER),
    ("volume:delete_volume_metadata", MEMBER),
    ("volume:create_snapshot", MEMBER),
    ("volume:get_snapshot", READER),
    ("volume:get_all_snapshots", READER),
    ("volume:update_snapshot", MEMBER),
    ("volume:delete_snapshot", MEMBER),
    ("volume:attachment_create", MEMBER),
    ("volume_extension:volume_host_attribute", ADMIN),
    ("volume_extension:volume_tenant_attribute", READER),
    ("volume_extension:volume_mig_status_attribute", ADMIN),
    ("volume_extension:extended_snapshot_attributes", READER),
    ("volume_extension:volume_admin_actions:reset_status", ADMIN),
    ("volume_extension:volume_admin_actions:force_delete", ADMIN),
    ("volume_extension:snapshot_admin_actions:reset_status", ADMIN),
    ("volume_extension:snapshot_admin_actions:force_delete", ADMIN),
    ("volume_extension:quotas:show", READER),
    ("volume_extension:quotas:update", ADMIN),
    ("volume_extension:quotas:delete", ADMIN),
    ("volume_extension:services:index", ADMIN),
    ("volume_extension:type_get", "@"),
    ("volume_extension:type_get_all", "@"),
    ("volume_extension:access_types_extra_specs", "@"),
    ("volume_extension:access_types_qos_specs_id", ADMIN),
    ("limits_extension:used_limits", READER),
];

#[allow(clippy::expect_used, reason = "the table is constant, and a test loads it")]
static DEFAULT: LazyLock<Arc<Policy>> =
    LazyLock::new(|| Arc::new(Policy::new(RULES).expect("the default rules are well formed")));

/// The default policy, read once in a process.
pub(crate) fn default_policy() -> Arc<Policy> {
    DEFAULT.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_can_be_loaded() {
        assert!(default_policy().defines("volume:create"));
    }
}
