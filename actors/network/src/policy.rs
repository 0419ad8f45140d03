//! Who may do what unless an operator says otherwise: neutron's rules, by their names.
//!
//! Where neutron looks a field up (`field:networks:shared=True`, `project_id:%(network:project_id)s`), the
//! target carries it under the name in the rule.

use std::sync::{Arc, LazyLock};

use updraft_runtime::policy::Policy;

/// An administrator, or a member of the owning project.
const MEMBER: &str = "rule:admin_only or (role:member and project_id:%(project_id)s)";
/// An administrator, or whoever may read in the owning project.
const READER: &str = "rule:admin_only or (role:reader and project_id:%(project_id)s)";
/// An administrator, or a manager of the owning project.
const MANAGER: &str = "rule:admin_only or (role:manager and project_id:%(project_id)s)";
/// An administrator.
const ADMIN: &str = "rule:admin_only";
/// An administrator or one of the cloud's services.
const SERVICE: &str = "rule:admin_only or rule:service_api";
/// An administrator, a service, or a member of the network's project.
const NET_MEMBER: &str =
    "rule:admin_only or rule:service_api or (role:member and rule:network_owner)";
/// The same, or anybody if the network is shared.
const NET_MEMBER_OR_SHARED: &str =
    "rule:admin_only or rule:service_api or (role:member and rule:network_owner) or rule:shared";
/// A member of the owning project, an administrator or a service.
const MEMBER_OR_SERVICE: &str =
    "rule:admin_only or (role:member and project_id:%(project_id)s) or rule:service_api";
/// An administrator, or a member of the project of the network or of the subnet itself.
const SUBNET_MEMBER: &str = "(role:member and project_id:%(project_id)s) or rule:admin_only or \
                             (role:member and rule:network_owner)";
/// What decides over the owner of a device.
const DEVICE_OWNER: &str = "not rule:network_device or rule:admin_only or rule:service_api or \
                            (role:member and rule:network_owner)";
/// What decides over address pairs.
const ADDRESS_PAIRS: &str =
    "rule:admin_only or (role:member and rule:network_owner) or rule:service_api";

const BASE: &[(&str, &str)] = &[
    ("context_is_admin", "role:admin"),
    ("service_api", "role:service"),
    ("owner", "project_id:%(project_id)s"),
    ("admin_or_owner", "rule:context_is_admin or rule:owner"),
    ("context_is_advsvc", "role:advsvc"),
    ("admin_or_network_owner", "rule:context_is_admin or project_id:%(network:project_id)s"),
    ("admin_owner_or_network_owner", "rule:owner or rule:admin_or_network_owner"),
    ("network_owner", "project_id:%(network:project_id)s"),
    ("admin_only", "rule:context_is_admin"),
    ("regular_user", ""),
    ("shared", "True:%(network:shared)s"),
    ("external", "True:%(router:external)s"),
    ("default", "rule:admin_or_owner"),
    ("sg_owner", "project_id:%(security_group:project_id)s"),
    ("network_device", "True:%(network_device)s"),
];

const NETWORK: &[(&str, &str)] = &[
    ("create_network", MEMBER),
    ("create_network:shared", ADMIN),
    ("create_network:router:external", ADMIN),
    ("create_network:port_security_enabled", MEMBER),
    ("create_network:provider:network_type", ADMIN),
    ("create_network:provider:physical_network", ADMIN),
    ("create_network:provider:segmentation_id", ADMIN),
    (
        "get_network",
        "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:service_api or \
         rule:shared or rule:external or rule:context_is_advsvc",
    ),
    ("get_network:provider:network_type", ADMIN),
    ("get_network:provider:physical_network", ADMIN),
    ("get_network:provider:segmentation_id", ADMIN),
    ("update_network", MEMBER),
    ("update_network:shared", ADMIN),
    ("update_network:provider:network_type", ADMIN),
    ("update_network:provider:physical_network", ADMIN),
    ("update_network:provider:segmentation_id", ADMIN),
    ("update_network:router:external", ADMIN),
    ("update_network:port_security_enabled", MEMBER),
    ("delete_network", MEMBER),
    ("create_subnet", "rule:admin_only or (role:member and rule:network_owner)"),
    (
        "get_subnet",
        "(role:reader and project_id:%(project_id)s) or rule:shared or rule:admin_only or \
         (role:reader and rule:network_owner) or rule:service_api",
    ),
    ("update_subnet", SUBNET_MEMBER),
    ("delete_subnet", SUBNET_MEMBER),
];

const PORT: &[(&str, &str)] = &[
    ("create_port", NET_MEMBER_OR_SHARED),
    ("create_port:device_id", MEMBER_OR_SERVICE),
    ("create_port:device_owner", DEVICE_OWNER),
    ("create_port:mac_address", NET_MEMBER),
    ("create_port:fixed_ips", NET_MEMBER_OR_SHARED),
    ("create_port:fixed_ips:ip_address", NET_MEMBER),
    ("create_port:fixed_ips:subnet_id", NET_MEMBER_OR_SHARED),
    ("create_port:port_security_enabled", NET_MEMBER),
    ("create_port:binding:host_id", SERVICE),
    ("create_port:binding:profile", "rule:service_api"),
    ("create_port:binding:vnic_type", MEMBER_OR_SERVICE),
    ("create_port:allowed_address_pairs", ADDRESS_PAIRS),
    ("create_port:allowed_address_pairs:mac_address", ADDRESS_PAIRS),
    ("create_port:allowed_address_pairs:ip_address", ADDRESS_PAIRS),
    (
        "get_port",
        "rule:admin_only or rule:service_api or (role:reader and rule:network_owner) or \
         (role:reader and project_id:%(project_id)s)",
    ),
    ("get_port:binding:vif_type", SERVICE),
    ("get_port:binding:vif_details", SERVICE),
    ("get_port:binding:host_id", SERVICE),
    ("get_port:binding:profile", SERVICE),
    ("update_port", MEMBER_OR_SERVICE),
    ("update_port:device_id", MEMBER_OR_SERVICE),
    ("update_port:device_owner", DEVICE_OWNER),
    (
        "update_port:mac_address",
        "rule:admin_only or rule:service_api or (role:manager and rule:network_owner)",
    ),
    ("update_port:fixed_ips", NET_MEMBER),
    ("update_port:fixed_ips:ip_address", NET_MEMBER),
    ("update_port:fixed_ips:subnet_id", NET_MEMBER_OR_SHARED),
    ("update_port:port_security_enabled", NET_MEMBER),
    ("update_port:binding:host_id", SERVICE),
    ("update_port:binding:profile", "rule:service_api"),
    ("update_port:binding:vnic_type", MEMBER_OR_SERVICE),
    ("update_port:allowed_address_pairs", ADDRESS_PAIRS),
    ("update_port:allowed_address_pairs:mac_address", ADDRESS_PAIRS),
    ("update_port:allowed_address_pairs:ip_address", ADDRESS_PAIRS),
    (
        "delete_port",
        "rule:admin_only or rule:service_api or (role:member and rule:network_owner) or \
         (role:member and project_id:%(project_id)s)",
    ),
];

const L3: &[(&str, &str)] = &[
    ("create_router", MEMBER),
    ("create_router:external_gateway_info", MEMBER),
    ("create_router:external_gateway_info:network_id", MEMBER),
    ("create_router:external_gateway_info:enable_snat", ADMIN),
    ("create_router:external_gateway_info:external_fixed_ips", ADMIN),
    ("get_router", READER),
    ("update_router", MEMBER),
    ("update_router:external_gateway_info", MEMBER),
    ("update_router:external_gateway_info:network_id", MEMBER),
    ("update_router:external_gateway_info:enable_snat", ADMIN),
    ("update_router:external_gateway_info:external_fixed_ips", ADMIN),
    ("delete_router", MEMBER),
    ("add_router_interface", MEMBER),
    ("remove_router_interface", MEMBER),
    ("create_floatingip", MEMBER),
    ("create_floatingip:floating_ip_address", MANAGER),
    ("get_floatingip", READER),
    ("update_floatingip", MEMBER),
    ("delete_floatingip", MEMBER),
];

const REST: &[(&str, &str)] = &[
    ("admin_or_sg_owner", "rule:context_is_admin or project_id:%(security_group:project_id)s"),
    ("admin_owner_or_sg_owner", "rule:owner or rule:admin_or_sg_owner"),
    ("shared_security_group", "True:%(security_group:shared)s"),
    ("create_security_group", MEMBER),
    (
        "get_security_group",
        "rule:admin_only or (role:reader and project_id:%(project_id)s) or \
         rule:shared_security_group",
    ),
    ("update_security_group", MEMBER),
    ("delete_security_group", MEMBER),
    ("create_security_group_rule", "rule:admin_only or (role:member and rule:sg_owner)"),
    ("get_security_group_rule", "rule:admin_only or (role:reader and rule:sg_owner)"),
    ("delete_security_group_rule", "rule:admin_only or (role:member and rule:sg_owner)"),
    ("get_quota", MANAGER),
    ("update_quota", ADMIN),
    ("delete_quota", ADMIN),
    ("get_agent", ADMIN),
    ("update_agent", ADMIN),
    ("delete_agent", ADMIN),
    ("get_availability_zone", "role:reader"),
];

#[allow(clippy::expect_used, reason = "the tables are constant, and a test loads them")]
static DEFAULT: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let rules = [BASE, NETWORK, PORT, L3, REST].concat();
    Arc::new(Policy::new(&rules).expect("the default rules are well formed"))
});

/// The default policy, read once in a process.
#[must_use]
pub fn default_policy() -> Arc<Policy> {
    DEFAULT.clone()
}

#[cfg(test)]
mod tests {
    use updraft_runtime::policy::{Credentials, Target};

    use super::*;

    fn who(role: &str, project_id: &str) -> Credentials {
        let implied: &[&str] = match role {
            "admin" => &["admin", "manager", "member", "reader"],
            "member" => &["member", "reader"],
            _ => &["reader"],
        };
        Credentials::with_roles(implied).with("project_id", project_id)
    }

    #[test]
    fn members_change_and_readers_read_what_is_their_projects() {
        let policy = default_policy();
        let own = Target::new().with("project_id", "p").with("network:project_id", "p");
        let foreign = Target::new().with("project_id", "q").with("network:project_id", "q");
        let cases = [
            ("create_network", "member", true, false),
            ("create_network", "reader", false, false),
            ("get_network", "reader", true, false),
            ("create_port", "member", true, false),
            ("create_port:binding:host_id", "member", false, false),
            ("create_network:shared", "member", false, false),
            ("create_network:shared", "admin", true, true),
            ("delete_router", "member", true, false),
        ];
        for (rule, role, on_own, on_foreign) in cases {
            let who = who(role, "p");
            assert_eq!(policy.check(rule, &who, &own).is_ok(), on_own, "{rule} {role}");
            assert_eq!(policy.check(rule, &who, &foreign).is_ok(), on_foreign, "{rule} {role}");
        }
    }

    #[test]
    fn anybody_may_put_ports_on_a_shared_network() {
        let policy = default_policy();
        let shared = Target::new().with("project_id", "p").with("network:shared", true);
        assert!(policy.check("create_port", &who("member", "p"), &shared).is_ok());
    }
}
