//! Security groups and their rules.

use serde_json::{Value, json};

use crate::support::{Cloud, Who, text};

#[tokio::test(start_paused = true)]
async fn every_project_has_a_default_group_as_soon_as_it_looks() {
    let cloud = Cloud::new().await;
    let groups = cloud.get(Who::Member, "/security-groups").await.list("security_groups");
    assert_eq!(groups.len(), 1);
    let group = &groups[0];
    assert_eq!(
        (text(group, "name"), text(group, "description")),
        ("default", "Default security group")
    );
    let rules = group["security_group_rules"].as_array().unwrap();
    let from_itself =
        rules.iter().filter(|rule| rule["remote_group_id"] == group["id"]).collect::<Vec<_>>();
    assert_eq!((rules.len(), from_itself.len()), (4, 2));
    assert!(from_itself.iter().all(|rule| rule["direction"] == "ingress"));
    assert!(rules.iter().all(|rule| rule["belongs_to_default_sg"] == true));
    let again = cloud.get(Who::Member, "/security-groups").await.list("security_groups");
    assert_eq!(again[0]["id"], group["id"]);
}

#[tokio::test(start_paused = true)]
async fn the_default_group_is_its_projects_for_good() {
    let cloud = Cloud::new().await;
    let refused = cloud
        .post(Who::Member, "/security-groups", json!({"security_group": {"name": "default"}}))
        .await;
    refused.refuses(
        409,
        "SecurityGroupDefaultAlreadyExists",
        "Default security group already exists.",
    );
    let group = cloud.get(Who::Member, "/security-groups").await.list("security_groups").remove(0);
    let path = format!("/security-groups/{}", text(&group, "id"));
    let words = "Insufficient rights for removing default security group.";
    cloud.delete(Who::Member, &path).await.refuses(409, "SecurityGroupCannotRemoveDefault", words);
    let body = json!({"security_group": {"name": "mine"}});
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(
        409,
        "SecurityGroupCannotUpdateDefault",
        "Updating default security group not allowed.",
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_a_port_has_stays() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let body = json!({"network_id": net.network, "security_groups": [group["id"]]});
    let port = cloud.make(Who::Member, "port", body).await;
    let path = format!("/security-groups/{}", text(&group, "id"));
    let words = format!("Security Group {} in use.", text(&group, "id"));
    cloud.delete(Who::Member, &path).await.refuses(409, "SecurityGroupInUse", &words);
    cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await.is(204);
    cloud.delete(Who::Member, &path).await.is(204);
    let left = cloud.get(Who::Member, "/security-group-rules").await.list("security_group_rules");
    assert!(left.iter().all(|rule| rule["security_group_id"] != group["id"]));
}

async fn refused_rule(
    cloud: &Cloud,
    group: &Value,
    fields: Value,
    status: u16,
    kind: &str,
    words: &str,
) {
    let mut rule = json!({"security_group_id": group["id"], "direction": "ingress"});
    rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let body = json!({ "security_group_rule": rule });
    cloud.post(Who::Member, "/security-group-rules", body).await.refuses(status, kind, words);
}

#[tokio::test(start_paused = true)]
async fn mistakes_about_packets_are_named() {
    let cloud = Cloud::new().await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let cases = [
        (json!({"direction": "up"}), 400, "HTTPBadRequest", "up is not in valid_values"),
        (
            json!({"ethertype": "IPv5"}),
            400,
            "SecurityGroupRuleInvalidEtherType",
            "ethertype 'IPv5' not supported",
        ),
        (
            json!({"protocol": "nonsense"}),
            400,
            "SecurityGroupRuleInvalidProtocol",
            "protocol nonsense not supported",
        ),
        (
            json!({"protocol": "256"}),
            400,
            "SecurityGroupRuleInvalidProtocol",
            "protocol 256 not supported",
        ),
        (
            json!({"protocol": "tcp", "port_range_min": -16, "port_range_max": 80}),
            400,
            "SecurityGroupInvalidPortValue",
            "Invalid value for port -16",
        ),
        (
            json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 79}),
            400,
            "SecurityGroupInvalidPortRange",
            "port_range_min must be <= port_range_max",
        ),
        (
            json!({"port_range_min": 80, "port_range_max": 80}),
            400,
            "SecurityGroupProtocolRequiredWithPorts",
            "Must also specify protocol",
        ),
        (
            json!({"protocol": "icmp", "port_range_max": 6}),
            400,
            "SecurityGroupMissingIcmpType",
            "ICMP type (port-range-min) is missing",
        ),
    ];
    for (fields, status, kind, words) in cases {
        refused_rule(&cloud, &group, fields, status, kind, words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_about_peers_are_named() {
    let cloud = Cloud::new().await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let nobody = "11111111-1111-4111-8111-111111111111";
    let cases = [
        (
            json!({"remote_ip_prefix": "192.168.1.1/33"}),
            400,
            "InvalidCIDR",
            "Invalid CIDR 192.168.1.1/33 given as IP prefix.",
        ),
        (
            json!({"remote_ip_prefix": "fd00::/64"}),
            400,
            "SecurityGroupRuleParameterConflict",
            "Conflicting value ethertype IPv4 for CIDR fd00::/64",
        ),
        (
            json!({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group["id"]}),
            400,
            "SecurityGroupMultipleRemoteEntites",
            "Only one of",
        ),
        (
            json!({"remote_group_id": "nonsense"}),
            404,
            "SecurityGroupNotFound",
            "Security group nonsense does not exist",
        ),
        (
            json!({"protocol": "ipv6-icmp"}),
            400,
            "SecurityGroupEthertypeConflictWithProtocol",
            "Invalid ethertype IPv4 for protocol ipv6-icmp.",
        ),
        (json!({"security_group_id": nobody}), 404, "SecurityGroupNotFound", nobody),
    ];
    for (fields, status, kind, words) in cases {
        refused_rule(&cloud, &group, fields, status, kind, words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_rule_twice_is_refused_however_it_is_written() {
    let cloud = Cloud::new().await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let rule = json!({
        "security_group_id": group["id"], "direction": "ingress", "protocol": "tcp",
        "port_range_min": 66, "port_range_max": 67,
    });
    let made = cloud.make(Who::Member, "security_group_rule", rule).await;
    let words = format!("Security group rule already exists. Rule id is {}.", text(&made, "id"));
    for same in [
        json!({"protocol": "tcp", "port_range_min": 66, "port_range_max": 67}),
        json!({"protocol": "6", "port_range_min": "66", "port_range_max": 67}),
        json!({"protocol": "tcp", "port_range_min": 66, "port_range_max": 67, "remote_ip_prefix": "0.0.0.0/0"}),
    ] {
        refused_rule(&cloud, &group, same, 409, "SecurityGroupRuleExists", &words).await;
    }
    let twice =
        json!({"security_group_id": group["id"], "direction": "ingress", "protocol": "udp"});
    let body = json!({"security_group_rules": [twice, twice]});
    let refused = cloud.post(Who::Member, "/security-group-rules", body).await;
    refused.refuses(
        409,
        "DuplicateSecurityGroupRuleInPost",
        "Duplicate Security Group Rule in POST.",
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_shown_and_deleted_and_never_changed() {
    let cloud = Cloud::new().await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let rule = json!({
        "security_group_id": group["id"], "direction": "ingress", "protocol": "any",
        "remote_ip_prefix": "192.168.1.7/24",
    });
    let rule = cloud.make(Who::Member, "security_group_rule", rule).await;
    assert_eq!(rule["protocol"], Value::Null);
    assert_eq!(text(&rule, "remote_ip_prefix"), "192.168.1.7/24");
    assert_eq!(text(&rule, "normalized_cidr"), "192.168.1.0/24");
    let path = format!("/security-group-rules/{}", text(&rule, "id"));
    assert_eq!(cloud.get(Who::Member, &path).await.json()["security_group_rule"], rule);
    cloud.put(Who::Member, &path, json!({"security_group_rule": {}})).await.is(405);
    cloud.delete(Who::Member, &path).await.is(204);
    cloud.get(Who::Member, &path).await.refuses(404, "SecurityGroupRuleNotFound", "does not exist");
}
