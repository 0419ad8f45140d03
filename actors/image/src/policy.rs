//! Who may do what with an image: the real service's rules, names and defaults.

use std::sync::{Arc, LazyLock};

use updraft_runtime::policy::Policy;

const ADMIN: &str = "rule:context_is_admin";

/// The default rules, in oslo.policy's language.
const RULES: [(&str, &str); 26] = [
    ("context_is_admin", "role:admin"),
    ("service_api", "role:service or role:admin"),
    (
        "sees",
        "project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s",
    ),
    ("project_member", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    ("project_reader", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    (
        "project_reader_or_member",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
    ),
    (
        "add_image",
        "rule:context_is_admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    ),
    ("delete_image", "rule:project_member"),
    ("get_image", "rule:context_is_admin or (role:reader and rule:sees)"),
    ("get_images", "rule:project_reader"),
    ("modify_image", "rule:project_member"),
    ("publicize_image", ADMIN),
    ("communitize_image", "rule:project_member"),
    ("download_image", "rule:context_is_admin or (role:member and rule:sees)"),
    ("upload_image", "rule:project_member"),
    ("delete_image_location", ADMIN),
    ("get_image_location", "rule:project_reader"),
    ("set_image_location", "rule:project_member"),
    ("add_member", "rule:project_member"),
    ("delete_member", "rule:project_member"),
    ("get_member", "rule:project_reader_or_member"),
    ("get_members", "rule:project_reader_or_member"),
    ("modify_member", "rule:context_is_admin or (role:member and project_id:%(member_id)s)"),
    ("deactivate", "rule:project_member"),
    ("reactivate", "rule:project_member"),
    ("default", "!"),
];

#[allow(clippy::expect_used, reason = "the table is constant, and a test loads it")]
static DEFAULT: LazyLock<Arc<Policy>> =
    LazyLock::new(|| Arc::new(Policy::new(&RULES).expect("the default rules are well formed")));

/// The default policy, read once in a process.
pub(crate) fn default_policy() -> Arc<Policy> {
    DEFAULT.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_can_be_loaded() {
        assert!(default_policy().defines("download_image"));
    }
}
