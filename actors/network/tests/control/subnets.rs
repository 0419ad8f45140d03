//! `/subnets` and what may be wrong with a request for it.

use serde_json::{Value, json};

use crate::support::{A_WHILE, Cloud, Who, text};

async fn network(cloud: &Cloud) -> String {
    text(&cloud.make(Who::Member, "network", json!({"name": "n"})).await, "id").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_subnet_has_neutrons_keys() {
    let cloud = Cloud::new().await;
    let body = json!({"network_id": network(&cloud).await, "ip_version": 4, "cidr": "10.0.0.0/24"});
    let subnet = cloud.make(Who::Member, "subnet", body).await;
    let keys: Vec<&str> = subnet.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "allocation_pools",
        "cidr",
        "created_at",
        "description",
        "dns_nameservers",
        "enable_dhcp",
        "gateway_ip",
        "host_routes",
        "id",
        "ip_version",
        "ipv6_address_mode",
        "ipv6_ra_mode",
        "name",
        "network_id",
        "project_id",
        "revision_number",
        "service_types",
        "subnetpool_id",
        "tags",
        "tenant_id",
        "updated_at",
    ];
    assert_eq!(keys, expected);
}

/// What a request says, and the status, the name and the words of its refusal.
type Case<'a> = (Value, u16, &'a str, &'a str);

/// Fails unless all of these are refused as they say, beside a subnet of 10.9.0.0/24.
async fn all_refused(cases: &[Case<'_>]) {
    let cloud = Cloud::new().await;
    let id = network(&cloud).await;
    let taken = json!({"network_id": id, "ip_version": 4, "cidr": "10.9.0.0/24"});
    cloud.make(Who::Member, "subnet", taken).await;
    for (fields, status, kind, words) in cases {
        let mut subnet = json!({"network_id": id, "ip_version": 4});
        subnet.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let refused = cloud.post(Who::Member, "/subnets", json!({ "subnet": subnet })).await;
        refused.refuses(*status, kind, words);
    }
    assert_eq!(cloud.get(Who::Member, "/subnets").await.list("subnets").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mistakes_about_its_addresses_are_named() {
    all_refused(&[
        (
            json!({"cidr": "10.0.0.0/33"}),
            400,
            "InvalidInput",
            "10.0.0.0/33 is not in a CIDR format",
        ),
        (json!({"cidr": "10.0.0.1"}), 400, "HTTPBadRequest", "'10.0.0.1' is not a valid IP subnet"),
        (json!({}), 400, "BadRequest", "a subnetpool must be specified in the absence of a cidr"),
        (json!({"cidr": "10.9.0.128/25"}), 400, "InvalidInput", "overlaps with another subnet"),
        (
            json!({"cidr": "fd00::/64"}),
            400,
            "InvalidInput",
            "cidr 'fd00::/64' does not match the ip_version '4'",
        ),
        (
            json!({"cidr": "10.0.0.0/31"}),
            400,
            "InvalidInput",
            "incompatible with DHCP service enabled",
        ),
        (
            json!({"cidr": "224.0.0.0/24"}),
            400,
            "InvalidInput",
            "Multicast IP subnet is not supported",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.255"}),
            400,
            "InvalidInput",
            "Gateway is not valid on subnet",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.5", "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}]}),
            409,
            "GatewayConflictWithAllocationPools",
            "Gateway ip 10.0.0.5 conflicts with allocation pool 10.0.0.2-10.0.0.9.",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.1.2", "end": "10.0.1.9"}]}),
            400,
            "OutOfBoundsAllocationPool",
            "spans beyond the subnet cidr 10.0.0.0/24.",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.2"}]}),
            400,
            "HTTPBadRequest",
            "Expected keys: ['start', 'end']",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistakes_about_the_rest_are_named() {
    all_refused(&[
        (
            json!({"cidr": "10.0.0.0/24", "dns_nameservers": ["8.8.8.8", "8.8.8.8"]}),
            400,
            "HTTPBadRequest",
            "Duplicate nameserver '8.8.8.8'",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "dns_nameservers": ["x"]}),
            400,
            "HTTPBadRequest",
            "'x' is not a valid nameserver.",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "host_routes": [{"destination": "10.1.0.1/24", "nexthop": "10.0.0.3"}]}),
            400,
            "HTTPBadRequest",
            "'10.1.0.1/24' is not a valid CIDR",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "ipv6_ra_mode": "slaac"}),
            400,
            "InvalidInput",
            "ipv6_ra_mode is not valid when ip_version is 4",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "ip_version": 5}),
            400,
            "HTTPBadRequest",
            "5 is not in valid_values",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "network_id": "x"}),
            400,
            "HTTPBadRequest",
            "'x' is not a valid UUID",
        ),
        (
            json!({"network_id": "11111111-1111-4111-8111-111111111111", "cidr": "10.0.0.0/24"}),
            404,
            "NetworkNotFound",
            "11111111-1111-4111-8111-111111111111",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_may_be_none() {
    let cloud = Cloud::new().await;
    let body = json!({
        "network_id": network(&cloud).await, "ip_version": 4, "cidr": "10.0.0.0/29",
        "gateway_ip": null,
    });
    let subnet = cloud.make(Who::Member, "subnet", body).await;
    assert_eq!(subnet["gateway_ip"], Value::Null);
    let pools = json!([{"start": "10.0.0.1", "end": "10.0.0.6"}]);
    assert_eq!(subnet["allocation_pools"], pools);
}

#[tokio::test(start_paused = true)]
async fn one_port_holds_the_agents_addresses_and_goes_with_dhcp() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let path = format!("/ports?network_id={}", net.network);
    let ports = cloud.get(Who::Member, &path).await.list("ports");
    assert_eq!(text(&ports[0], "device_owner"), "network:dhcp");
    assert_eq!(ports[0]["fixed_ips"].as_array().unwrap().len(), 1);
    let second = json!({"network_id": net.network, "ip_version": 4, "cidr": "10.0.1.0/24"});
    cloud.make(Who::Member, "subnet", second).await;
    let ports = cloud.get(Who::Member, &path).await.list("ports");
    assert_eq!((ports.len(), ports[0]["fixed_ips"].as_array().unwrap().len()), (1, 2));
    for subnet in cloud.get(Who::Member, "/subnets").await.list("subnets") {
        let path = format!("/subnets/{}", text(&subnet, "id"));
        let off = json!({"subnet": {"enable_dhcp": false}});
        cloud.put(Who::Member, &path, off).await.is(200);
    }
    assert_eq!(cloud.get(Who::Member, &path).await.list("ports").len(), 0);
    assert_eq!(cloud.keys("network/allocation/").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_subnet_in_use_stays() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let path = format!("/subnets/{}", net.subnet);
    let words = "One or more ports have an IP allocation from this subnet.";
    cloud.delete(Who::Member, &path).await.refuses(409, "SubnetInUse", words);
    cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await.is(204);
    cloud.delete(Who::Member, &path).await.is(204);
    assert_eq!(cloud.keys("network/port/").await, Vec::<String>::new(), "the agents' too");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_a_router_has_stays() {
    let cloud = Cloud::new().await;
    let (inner, outer) = (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await);
    cloud.router_between(&inner, &outer).await;
    let path = format!("/subnets/{}", inner.subnet);
    let body = json!({"subnet": {"gateway_ip": null}});
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(409, "GatewayIpInUse", "Current gateway ip 10.0.0.1 already in use by port");
}

#[tokio::test(start_paused = true)]
async fn changed_name_servers_reach_the_host() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    let body = json!({"subnet": {"dns_nameservers": ["9.9.9.9"]}});
    cloud.put(Who::Member, &format!("/subnets/{}", net.subnet), body).await.is(200);
    cloud.pass(A_WHILE).await;
    let state = cloud.host1.state.lock();
    let served = state.dhcp.values().next().unwrap();
    assert_eq!(served.subnets[0].dns_servers, ["9.9.9.9".parse::<std::net::IpAddr>().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn guests_of_an_automatic_subnet_have_addresses_made_of_their_macs() {
    let cloud = Cloud::new().await;
    let id = network(&cloud).await;
    let body = json!({
        "network_id": id, "ip_version": 6, "cidr": "fd00::/64",
        "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac",
    });
    let subnet = cloud.make(Who::Member, "subnet", body).await;
    let body = json!({"network_id": id, "mac_address": "fa:16:3e:12:34:56"});
    let port = cloud.make(Who::Member, "port", body).await;
    let expected = json!([{"subnet_id": subnet["id"], "ip_address": "fd00::f816:3eff:fe12:3456"}]);
    assert_eq!(port["fixed_ips"], expected);
    let body = json!({"port": {"network_id": id, "fixed_ips": [{"ip_address": "fd00::9"}]}});
    let refused = cloud.post(Who::Member, "/ports", body).await;
    refused.refuses(400, "AllocationOnAutoAddressSubnet", "fd00::9");
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_subnet_without_modes_gives_addresses_as_ipv4_does() {
    let cloud = Cloud::new().await;
    let id = network(&cloud).await;
    let body = json!({"network_id": id, "ip_version": 6, "cidr": "fd00::/64"});
    let subnet = cloud.make(Who::Member, "subnet", body).await;
    assert_eq!(text(&subnet, "gateway_ip"), "fd00::1");
    let port = cloud.make(Who::Member, "port", json!({"network_id": id})).await;
    let address: std::net::Ipv6Addr = text(&port["fixed_ips"][0], "ip_address").parse().unwrap();
    assert_eq!(address.segments()[0], 0xfd00);
}
