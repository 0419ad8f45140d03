//! `/ports` and what may be wrong with a request for it.

use serde_json::{Value, json};

use crate::support::{A_WHILE, Cloud, Who, text};

#[tokio::test(start_paused = true)]
async fn a_port_has_neutrons_keys() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.make(Who::Admin, "port", json!({"network_id": net.network})).await;
    let keys: Vec<&str> = port.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "admin_state_up",
        "allowed_address_pairs",
        "binding:host_id",
        "binding:profile",
        "binding:vif_details",
        "binding:vif_type",
        "binding:vnic_type",
        "created_at",
        "description",
        "device_id",
        "device_owner",
        "fixed_ips",
        "id",
        "mac_address",
        "name",
        "network_id",
        "port_security_enabled",
        "project_id",
        "revision_number",
        "security_groups",
        "status",
        "tags",
        "tenant_id",
        "updated_at",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (text(&port, "binding:vif_type"), text(&port, "binding:vnic_type")),
        ("unbound", "normal")
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_is_given_as_asked_and_only_once() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let fixed = json!([{"subnet_id": net.subnet, "ip_address": "10.0.0.77"}]);
    let body = json!({"network_id": net.network, "fixed_ips": fixed});
    let port = cloud.make(Who::Member, "port", body.clone()).await;
    assert_eq!(port["fixed_ips"], fixed);
    let refused = cloud.post(Who::Member, "/ports", json!({ "port": body })).await;
    let words = format!("IP address 10.0.0.77 already allocated in subnet {}", net.subnet);
    refused.refuses(409, "IpAddressAlreadyAllocated", &words);
    cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await.is(204);
    cloud.make(Who::Member, "port", body).await;
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_has_no_address_left_says_so() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/29").await;
    // Six addresses: the gateway, the agents', and four for ports.
    for _ in 0..4 {
        cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    }
    let refused =
        cloud.post(Who::Member, "/ports", json!({"port": {"network_id": net.network}})).await;
    let words = format!("No more IP addresses available on network {}.", net.network);
    refused.refuses(409, "IpAddressGenerationFailure", &words);
    assert_eq!(cloud.get(Who::Member, "/ports").await.list("ports").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let other = cloud.net("10.1.0.0/24").await;
    let mac = json!({"network_id": net.network, "mac_address": "fa:16:3e:00:00:09"});
    cloud.make(Who::Member, "port", mac).await;
    let cases = [
        (
            json!({"fixed_ips": [{"ip_address": "10.7.0.1"}]}),
            400,
            "InvalidIpForNetwork",
            "IP address 10.7.0.1 is not a valid IP for any of the subnets",
        ),
        (
            json!({"fixed_ips": [{"subnet_id": net.subnet, "ip_address": "10.0.0.255"}]}),
            400,
            "InvalidIpForSubnet",
            "10.0.0.255 is not a valid IP for the specified subnet",
        ),
        (
            json!({"fixed_ips": [{"subnet_id": other.subnet}]}),
            400,
            "InvalidInput",
            "because fixed_ips included invalid subnet",
        ),
        (
            json!({"fixed_ips": [{}]}),
            400,
            "InvalidInput",
            "IP allocation requires subnet_id or ip_address",
        ),
        (json!({"fixed_ips": "x"}), 400, "HTTPBadRequest", "Invalid data format for fixed IP: 'x'"),
        (
            json!({"mac_address": "nonsense"}),
            400,
            "HTTPBadRequest",
            "'nonsense' is not a valid MAC address",
        ),
        (
            json!({"mac_address": "fa:16:3e:00:00:09"}),
            409,
            "MacAddressInUse",
            "The mac address fa:16:3e:00:00:09 is in use.",
        ),
        (
            json!({"security_groups": ["11111111-1111-4111-8111-111111111111"]}),
            404,
            "SecurityGroupNotFound",
            "Security group 11111111-1111-4111-8111-111111111111 does not exist",
        ),
        (json!({"security_groups": "x"}), 400, "HTTPBadRequest", "'x' is not a list"),
        (json!({"binding:vnic_type": "odd"}), 400, "HTTPBadRequest", "odd is not in valid_values"),
        (
            json!({"binding:host_id": "host1"}),
            403,
            "PolicyNotAuthorized",
            "(rule:create_port and rule:create_port:binding:host_id) is disallowed by policy",
        ),
        (json!({"network_id": null}), 400, "HTTPBadRequest", "'None' is not a valid UUID"),
    ];
    for (fields, status, kind, words) in cases {
        let mut port = json!({"network_id": net.network});
        port.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let refused = cloud.post(Who::Member, "/ports", json!({ "port": port })).await;
        refused.refuses(status, kind, words);
    }
    let refused = cloud.post(Who::Member, "/ports", json!({"port": {}})).await;
    refused.refuses(400, "HTTPBadRequest", "Required attribute 'network_id' not specified");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_stay_are_not_given_anew() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let second = json!({"network_id": net.network, "ip_version": 4, "cidr": "10.1.0.0/24"});
    let second = cloud.make(Who::Member, "subnet", second).await;
    let body = json!({"network_id": net.network, "fixed_ips": [{"subnet_id": net.subnet}]});
    let port = cloud.make(Who::Member, "port", body).await;
    let path = format!("/ports/{}", text(&port, "id"));
    let both = json!([{"subnet_id": net.subnet}, {"subnet_id": second["id"]}]);
    let body = json!({"port": {"fixed_ips": both}});
    let changed = cloud.put(Who::Member, &path, body).await.is(200).json()["port"].clone();
    assert_eq!(changed["fixed_ips"].as_array().unwrap().len(), 2);
    assert!(changed["fixed_ips"].as_array().unwrap().contains(&port["fixed_ips"][0]));
    let body = json!({"port": {"fixed_ips": [{"subnet_id": second["id"]}]}});
    let changed = cloud.put(Who::Member, &path, body).await.is(200).json()["port"].clone();
    assert_eq!(changed["fixed_ips"].as_array().unwrap().len(), 1);
    let freed =
        format!("network/allocation/{}/{}", net.subnet, text(&port["fixed_ips"][0], "ip_address"));
    assert_eq!(cloud.keys(&freed).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn changed_addresses_of_a_plugged_port_reach_its_host() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    let path = format!("/ports/{}", info.ports[0].port);
    let body = json!({"port": {"fixed_ips": [{"ip_address": "10.0.0.99"}]}});
    cloud.put(Who::Member, &path, body).await.is(200);
    cloud.pass(A_WHILE).await;
    let state = cloud.host1.state.lock();
    let address: std::net::IpAddr = "10.0.0.99".parse().unwrap();
    assert_eq!(state.ports[&info.ports[0].port].addresses, [address]);
    assert_eq!(state.dhcp[&info.ports[0].network].leases[0].address, address);
}

#[tokio::test(start_paused = true)]
async fn groups_need_port_security() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let body = json!({"network_id": net.network, "port_security_enabled": false});
    let open = cloud.make(Who::Member, "port", body).await;
    assert_eq!(open["security_groups"], json!([]));
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let path = format!("/ports/{}", text(&open, "id"));
    let body = json!({"port": {"security_groups": [group["id"]]}});
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(
        400,
        "PortSecurityAndIPRequiredForSecurityGroups",
        "Port security must be enabled",
    );
    let guarded = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let path = format!("/ports/{}", text(&guarded, "id"));
    let body = json!({"port": {"port_security_enabled": false}});
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(409, "PortSecurityPortHasSecurityGroup", "Port has security group associated.");
    let body = json!({"port": {"port_security_enabled": false, "security_groups": []}});
    cloud.put(Who::Member, &path, body).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_routers_port_is_not_deleted_as_a_port() {
    let cloud = Cloud::new().await;
    let (inner, outer) = (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await);
    cloud.router_between(&inner, &outer).await;
    let path = "/ports?device_owner=network:router_interface";
    let port = cloud.get(Who::Member, path).await.list("ports").remove(0);
    let refused = cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await;
    let words =
        "cannot be deleted directly via the port API: has device owner network:router_interface.";
    refused.refuses(409, "ServicePortInUse", words);
}

#[tokio::test(start_paused = true)]
async fn ports_are_found_by_address_and_by_part_of_it() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    for address in ["10.0.0.101", "10.0.0.102"] {
        let fixed = json!([{"ip_address": address}]);
        let body = json!({"network_id": net.network, "name": address, "fixed_ips": fixed});
        cloud.make(Who::Member, "port", body).await;
    }
    let names = async |query: &str| -> Vec<Value> {
        let path = format!("/ports?sort_key=name&sort_dir=asc&{query}");
        let ports = cloud.get(Who::Member, &path).await.is(200).list("ports");
        ports.iter().map(|port| port["name"].clone()).collect()
    };
    assert_eq!(names("fixed_ips=ip_address=10.0.0.101").await, ["10.0.0.101"]);
    let both = names("fixed_ips=ip_address_substr=0.10").await;
    assert_eq!(both, ["10.0.0.101", "10.0.0.102"]);
    let subnet = format!("fixed_ips=subnet_id={}&fixed_ips=ip_address=10.0.0.102", net.subnet);
    assert_eq!(names(&subnet).await, ["10.0.0.102"]);
}

#[tokio::test(start_paused = true)]
async fn an_administrator_says_where_a_port_is() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let body = json!({"network_id": net.network, "binding:host_id": "host1"});
    let port = cloud.make(Who::Admin, "port", body).await;
    assert_eq!(text(&port, "binding:host_id"), "host1");
    assert_eq!(text(&port, "binding:vif_type"), "bridge");
    cloud.pass(A_WHILE).await;
    assert!(cloud.host1.state.lock().ports.is_empty(), "no guest has it");
}
