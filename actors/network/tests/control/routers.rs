//! Routers and their interfaces.

use serde_json::{Value, json};

use crate::support::{Cloud, Net, Who, text};

async fn router(cloud: &Cloud) -> String {
    text(&cloud.make(Who::Member, "router", json!({"name": "r"})).await, "id").to_owned()
}

async fn both(cloud: &Cloud) -> (Net, Net) {
    (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await)
}

#[tokio::test(start_paused = true)]
async fn a_router_has_neutrons_keys() {
    let cloud = Cloud::new().await;
    let router = cloud.make(Who::Member, "router", json!({"name": "r"})).await;
    let keys: Vec<&str> = router.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "admin_state_up",
        "availability_zone_hints",
        "availability_zones",
        "created_at",
        "description",
        "external_gateway_info",
        "id",
        "name",
        "project_id",
        "revision_number",
        "routes",
        "status",
        "tags",
        "tenant_id",
        "updated_at",
    ];
    assert_eq!(keys, expected);
    assert_eq!(router["external_gateway_info"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn only_an_external_network_leads_out() {
    let cloud = Cloud::new().await;
    let (inner, _) = both(&cloud).await;
    let path = format!("/routers/{}", router(&cloud).await);
    let gateway =
        |network: &str| json!({"router": {"external_gateway_info": {"network_id": network}}});
    let refused = cloud.put(Who::Member, &path, gateway(&inner.network)).await;
    let words = format!("Network {} is not an external network", inner.network);
    refused.refuses(400, "BadRequest", &words);
    let nobody = "11111111-1111-4111-8111-111111111111";
    cloud.put(Who::Member, &path, gateway(nobody)).await.refuses(404, "NetworkNotFound", nobody);
    let body = json!({"router": {"external_gateway_info": {"enable_snat": true}}});
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(400, "HTTPBadRequest", "Invalid input for external_gateway_info.");
}

#[tokio::test(start_paused = true)]
async fn snat_is_for_administrators_to_say() {
    let cloud = Cloud::new().await;
    let (_, outer) = both(&cloud).await;
    let path = format!("/routers/{}", router(&cloud).await);
    let gateway = json!({"network_id": outer.network, "enable_snat": false});
    let body = json!({"router": {"external_gateway_info": gateway}});
    let refused = cloud.put(Who::Member, &path, body.clone()).await;
    let words = "rule:update_router:external_gateway_info:enable_snat";
    refused.refuses(403, "PolicyNotAuthorized", words);
    let set = cloud.put(Who::Admin, &path, body).await.is(200).json();
    assert_eq!(set["router"]["external_gateway_info"]["enable_snat"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn an_interface_by_port_is_that_port() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let id = router(&cloud).await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let path = format!("/routers/{id}/add_router_interface");
    let body = json!({"port_id": port["id"]});
    let added = cloud.put(Who::Member, &path, body.clone()).await.is(200).json();
    assert_eq!((&added["port_id"], text(&added, "subnet_id")), (&port["id"], &*net.subnet));
    cloud.put(Who::Member, &path, body.clone()).await.refuses(
        409,
        "PortInUse",
        "already has an attached device",
    );
    let path = format!("/routers/{id}/remove_router_interface");
    cloud.put(Who::Member, &path, body.clone()).await.is(200);
    let refused = cloud.put(Who::Member, &path, body).await;
    refused.refuses(404, "RouterInterfaceNotFound", "does not have an interface with id");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_interface_is_refused_by_name() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let same = cloud.net("10.0.0.0/25").await;
    let id = router(&cloud).await;
    let (add, remove) = (
        format!("/routers/{id}/add_router_interface"),
        format!("/routers/{id}/remove_router_interface"),
    );
    cloud.put(Who::Member, &add, json!({"subnet_id": net.subnet})).await.is(200);
    let words = format!("Router already has a port on subnet {}", net.subnet);
    cloud.put(Who::Member, &add, json!({"subnet_id": net.subnet})).await.refuses(
        400,
        "BadRequest",
        &words,
    );
    let refused = cloud.put(Who::Member, &add, json!({"subnet_id": same.subnet})).await;
    refused.refuses(400, "BadRequest", "overlaps with cidr 10.0.0.0/24 of subnet");
    let refused = cloud.put(Who::Member, &add, json!({})).await;
    refused.refuses(400, "BadRequest", "Either subnet_id or port_id must be specified");
    let refused = cloud.put(Who::Member, &add, json!({"subnet_id": "x"})).await;
    refused.refuses(400, "BadRequest", "'x' is not a valid UUID");
    let refused = cloud.put(Who::Member, &remove, json!({"subnet_id": same.subnet})).await;
    refused.refuses(404, "RouterInterfaceNotFoundForSubnet", "has no interface on subnet");
    let refused = cloud.delete(Who::Member, &format!("/routers/{id}")).await;
    refused.refuses(409, "RouterInUse", "has ports still attached: ");
}

#[tokio::test(start_paused = true)]
async fn what_a_floating_ip_needs_stays() {
    let cloud = Cloud::new().await;
    let (inner, outer) = both(&cloud).await;
    let id = cloud.router_between(&inner, &outer).await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": inner.network})).await;
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"]});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    assert_eq!(text(&floating, "router_id"), id);
    let remove = format!("/routers/{id}/remove_router_interface");
    let refused = cloud.put(Who::Member, &remove, json!({"subnet_id": inner.subnet})).await;
    refused.refuses(
        409,
        "RouterInterfaceInUseByFloatingIP",
        "required by one or more floating IPs.",
    );
    let clear = json!({"router": {"external_gateway_info": null}});
    let refused = cloud.put(Who::Member, &format!("/routers/{id}"), clear.clone()).await;
    refused.refuses(
        409,
        "RouterExternalGatewayInUseByFloatingIp",
        "is required by one or more floating IPs.",
    );
    cloud.delete(Who::Member, &format!("/floatingips/{}", text(&floating, "id"))).await.is(204);
    cloud.put(Who::Member, &format!("/routers/{id}"), clear).await.is(200);
    cloud.put(Who::Member, &remove, json!({"subnet_id": inner.subnet})).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn routes_go_over_neighbours() {
    let cloud = Cloud::new().await;
    let (inner, outer) = both(&cloud).await;
    let id = cloud.router_between(&inner, &outer).await;
    let path = format!("/routers/{id}");
    let over = |nexthop: &str| json!({"router": {"routes": [{"destination": "10.9.0.0/24", "nexthop": nexthop}]}});
    let refused = cloud.put(Who::Member, &path, over("10.5.0.1")).await;
    refused.refuses(400, "InvalidRoutes", "the nexthop is not connected with router");
    let refused = cloud.put(Who::Member, &path, over("10.0.0.1")).await;
    refused.refuses(400, "InvalidRoutes", "the nexthop is used by router");
    let set = cloud.put(Who::Member, &path, over("10.0.0.2")).await.is(200).json();
    assert_eq!(
        set["router"]["routes"],
        json!([{"destination": "10.9.0.0/24", "nexthop": "10.0.0.2"}])
    );
    let remove = format!("/routers/{id}/remove_router_interface");
    let refused = cloud.put(Who::Member, &remove, json!({"subnet_id": inner.subnet})).await;
    refused.refuses(409, "RouterInterfaceInUseByRoute", "required by one or more routes.");
    let body = json!({"router": {"routes": null}});
    let cleared = cloud.put(Who::Member, &path, body).await.is(200).json();
    assert_eq!(cleared["router"]["routes"], json!([]));
}
