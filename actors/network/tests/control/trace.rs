//! Every request of the recorded `openstack` commands, in their order, and what it must be answered.

use serde_json::{Value, json};

use crate::support::{A_WHILE, Cloud, GUEST, Who, text};

/// The look-up of a thing by its name: 404 for the name as an id, then the one thing in a list.
async fn find(cloud: &Cloud, collection: &str, name: &str) -> Value {
    cloud.get(Who::Admin, &format!("/{collection}/{name}")).await.is(404);
    let found = cloud.get(Who::Admin, &format!("/{collection}?name={name}")).await.is(200);
    let mut found = found.list(&collection.replace('-', "_"));
    assert_eq!(found.len(), 1, "{collection} {name}");
    found.remove(0)
}

async fn make(cloud: &Cloud, kind: &str, body: Value) -> Value {
    cloud.make(Who::Admin, kind, body).await
}

#[tokio::test(start_paused = true)]
async fn network_create_and_subnet_create() {
    let cloud = Cloud::new().await;
    let net = make(&cloud, "network", json!({"name": "net1", "admin_state_up": true})).await;
    assert_eq!((text(&net, "status"), &net["shared"]), ("ACTIVE", &json!(false)));
    assert_eq!(net["tenant_id"], net["project_id"]);
    let network = find(&cloud, "networks", "net1").await;
    let subnet = json!({
        "name": "sub1", "ip_version": 4, "network_id": network["id"], "cidr": "10.0.0.0/24",
    });
    let subnet = make(&cloud, "subnet", subnet).await;
    assert_eq!(text(&subnet, "gateway_ip"), "10.0.0.1");
    let pools = json!([{"start": "10.0.0.2", "end": "10.0.0.254"}]);
    assert_eq!((&subnet["allocation_pools"], &subnet["enable_dhcp"]), (&pools, &json!(true)));
    let network = find(&cloud, "networks", "net1").await;
    assert_eq!(network["subnets"], json!([subnet["id"]]));
}

#[tokio::test(start_paused = true)]
async fn external_network_create() {
    let cloud = Cloud::new().await;
    let body = json!({
        "provider:network_type": "flat", "admin_state_up": true, "router:external": true,
        "provider:physical_network": "public", "name": "ext",
    });
    let network = make(&cloud, "network", body.clone()).await;
    assert_eq!(network["provider:segmentation_id"], Value::Null);
    assert_eq!(network["router:external"], json!(true));
    let body = json!({
        "enable_dhcp": false, "network_id": network["id"], "name": "extsub", "ip_version": 4,
        "cidr": "172.24.4.0/24",
    });
    assert_eq!(make(&cloud, "subnet", body).await["enable_dhcp"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn router_create_set_gateway_and_add_subnet() {
    let cloud = Cloud::new().await;
    let inner = cloud
        .net_of(Who::Admin, json!({"name": "net1"}), json!({"name": "sub1", "cidr": "10.0.0.0/24"}))
        .await;
    let outer = cloud.external("172.24.4.0/24").await;
    make(&cloud, "router", json!({"admin_state_up": true, "name": "r1"})).await;
    let router = find(&cloud, "routers", "r1").await;
    let path = format!("/routers/{}", text(&router, "id"));
    cloud.get(Who::Admin, "/extensions/external-gateway-multihoming").await.is(404);
    let body = json!({"router": {"external_gateway_info": {"network_id": outer.network}}});
    let router = cloud.put(Who::Admin, &path, body).await.is(200).json()["router"].clone();
    let gateway = &router["external_gateway_info"];
    assert_eq!(
        (text(gateway, "network_id"), &gateway["enable_snat"]),
        (&*outer.network, &json!(true))
    );
    assert_eq!(gateway["external_fixed_ips"].as_array().unwrap().len(), 1);
    let subnet = find(&cloud, "subnets", "sub1").await;
    let body = json!({"subnet_id": subnet["id"]});
    let path = format!("{path}/add_router_interface");
    let interface = cloud.put(Who::Admin, &path, body).await.is(200).json();
    assert_eq!(interface["id"], router["id"]);
    assert_eq!(interface["subnet_id"], json!(inner.subnet));
    let port = cloud.get(Who::Admin, &format!("/ports/{}", text(&interface, "port_id"))).await;
    let port = port.json()["port"].clone();
    assert_eq!(text(&port, "device_owner"), "network:router_interface");
    assert_eq!(port["fixed_ips"][0]["ip_address"], "10.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn port_create_and_list() {
    let cloud = Cloud::new().await;
    let net =
        cloud.net_of(Who::Admin, json!({"name": "net1"}), json!({"cidr": "10.0.0.0/24"})).await;
    cloud.get(Who::Admin, "/extensions/tag-ports-during-bulk-creation").await.is(404);
    let body = json!({"name": "p1", "admin_state_up": true, "network_id": net.network});
    let port = make(&cloud, "port", body).await;
    assert_eq!((text(&port, "status"), text(&port, "device_owner")), ("DOWN", ""));
    assert!(text(&port, "mac_address").starts_with("fa:16:3e:"));
    assert_eq!(port["security_groups"].as_array().unwrap().len(), 1, "the default group");
    let path = "/ports?fields=id&fields=name&fields=mac_address&fields=fixed_ips&fields=status";
    let ports = cloud.get(Who::Admin, path).await.is(200).list("ports");
    let listed = ports.iter().find(|one| one["id"] == port["id"]).unwrap();
    let keys: Vec<&str> = listed.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["fixed_ips", "id", "mac_address", "name", "status"]);
}

#[tokio::test(start_paused = true)]
async fn security_group_create_and_rule_create() {
    let cloud = Cloud::new().await;
    let group = make(&cloud, "security_group", json!({"description": "sg1", "name": "sg1"})).await;
    assert_eq!(group["security_group_rules"].as_array().unwrap().len(), 2, "what leaves may pass");
    let group = find(&cloud, "security-groups", "sg1").await;
    let body = json!({
        "security_group_id": group["id"], "direction": "ingress", "remote_ip_prefix": "0.0.0.0/0",
        "port_range_min": 22, "port_range_max": 22, "ethertype": "IPv4", "protocol": "tcp",
    });
    let rule = make(&cloud, "security_group_rule", body).await;
    assert_eq!((&rule["port_range_min"], text(&rule, "protocol")), (&json!(22), "tcp"));
    assert_eq!(text(&rule, "remote_ip_prefix"), "0.0.0.0/0");
}

#[tokio::test(start_paused = true)]
async fn floating_ip_create_and_server_add_floating_ip() {
    let cloud = Cloud::new().await;
    let inner = cloud.net("10.0.0.0/24").await;
    let outer = cloud.external("172.24.4.0/24").await;
    cloud.router_between(&inner, &outer).await;
    find(&cloud, "networks", "ext").await;
    let body = json!({"floating_network_id": outer.network});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    assert_eq!((text(&floating, "status"), &floating["port_id"]), ("DOWN", &Value::Null));
    cloud.allocate(&cloud.host1, 1, vec![inner.nic(0)]).await.unwrap();
    let address = text(&floating, "floating_ip_address");
    cloud.get(Who::Member, &format!("/floatingips/{address}")).await.is(404);
    assert_eq!(cloud.get(Who::Member, "/floatingips").await.list("floatingips").len(), 1);
    let ports = cloud.get(Who::Member, &format!("/ports?device_id={GUEST}")).await.list("ports");
    let path = format!("/floatingips/{}", text(&floating, "id"));
    let body = json!({"floatingip": {"port_id": ports[0]["id"]}});
    let led = cloud.put(Who::Member, &path, body).await.is(200).json()["floatingip"].clone();
    assert_eq!((text(&led, "status"), &led["port_id"]), ("DOWN", &ports[0]["id"]));
    cloud.pass(A_WHILE).await;
    let led = cloud.get(Who::Member, &path).await.is(200).json()["floatingip"].clone();
    assert_eq!(text(&led, "status"), "ACTIVE");
    assert_eq!(led["fixed_ip_address"], ports[0]["fixed_ips"][0]["ip_address"]);
}

#[tokio::test(start_paused = true)]
async fn network_agent_list_shows_who_lives() {
    let cloud = Cloud::new().await;
    let agents = cloud.get(Who::Admin, "/agents").await.is(200).list("agents");
    let seen: Vec<(&str, &str, bool)> = agents
        .iter()
        .map(|agent| (text(agent, "host"), text(agent, "agent_type"), agent["alive"] == true))
        .collect();
    for host in ["host1", "host2"] {
        for kind in ["DHCP agent", "L2 agent"] {
            assert!(seen.contains(&(host, kind, true)), "{seen:?}");
        }
    }
    let again = cloud.get(Who::Admin, &format!("/agents/{}", text(&agents[0], "id"))).await;
    assert_eq!(again.json()["agent"]["created_at"], agents[0]["created_at"]);
    assert_eq!(cloud.get(Who::Member, "/agents").await.is(200).list("agents").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_is_listed_as_dead() {
    let cloud = Cloud::new().await;
    cloud.host2.node.stop().await;
    cloud.pass(A_WHILE).await;
    let agents = cloud.get(Who::Admin, "/agents?host=host2").await.list("agents");
    assert_eq!(agents.len(), 2);
    assert!(agents.iter().all(|agent| agent["alive"] == false), "{agents:?}");
}

#[tokio::test(start_paused = true)]
async fn quota_show() {
    let cloud = Cloud::new().await;
    let path = format!("/quotas/{}", Who::Admin.project());
    let quota = cloud.get(Who::Admin, &path).await.is(200).json()["quota"].clone();
    let limits = json!({
        "network": 100, "subnet": 100, "port": 500, "security_group": 10,
        "security_group_rule": 100, "router": 10, "floatingip": 50,
    });
    assert_eq!(quota, limits);
}

#[tokio::test(start_paused = true)]
async fn availability_zone_list() {
    let cloud = Cloud::new().await;
    // The client asks by the name, not by the alias, and goes on either way.
    cloud.get(Who::Admin, "/extensions/Availability%20Zone").await.is(404);
    let zones = cloud.get(Who::Admin, "/availability_zones").await.list("availability_zones");
    let expected = [
        json!({"name": "nova", "resource": "network", "state": "available"}),
        json!({"name": "nova", "resource": "router", "state": "available"}),
    ];
    assert_eq!(zones, expected);
}

#[tokio::test(start_paused = true)]
async fn versions_show() {
    let cloud = Cloud::new().await;
    let document = cloud.send(Who::Admin, "GET", "/", None).await.is(200).json();
    assert_eq!(document["versions"][0]["id"], "v2.0");
}

#[tokio::test(start_paused = true)]
async fn everything_that_was_made_can_be_deleted_again() {
    let cloud = Cloud::new().await;
    let inner = cloud.net("10.77.0.0/24").await;
    let outer = cloud.external("172.24.4.0/22").await;
    let router = cloud.router_between(&inner, &outer).await;
    let body = json!({"floating_network_id": outer.network});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    let path = format!("/floatingips/{}", text(&floating, "id"));
    cloud.delete(Who::Member, &path).await.is(204);
    let body = json!({"router": {"external_gateway_info": {}}});
    cloud.put(Who::Member, &format!("/routers/{router}"), body).await.is(200);
    let path = format!("/routers/{router}/remove_router_interface");
    cloud.put(Who::Member, &path, json!({"subnet_id": inner.subnet})).await.is(200);
    cloud.delete(Who::Member, &format!("/routers/{router}")).await.is(204);
    cloud.delete(Who::Member, &format!("/networks/{}", inner.network)).await.is(204);
    cloud.delete(Who::Admin, &format!("/networks/{}", outer.network)).await.is(204);
    for left in ["network/network/", "network/port/", "network/allocation/", "network/subnet/"] {
        assert_eq!(cloud.keys(left).await, Vec::<String>::new(), "{left}");
    }
}
