//! Floating IPs.

use serde_json::{Value, json};

use crate::support::{Cloud, Net, Who, text};

async fn connected(cloud: &Cloud) -> (Net, Net) {
    let (inner, outer) = (cloud.net("10.0.0.0/24").await, cloud.external("172.24.4.0/24").await);
    cloud.router_between(&inner, &outer).await;
    (inner, outer)
}

async fn refused(cloud: &Cloud, body: Value, status: u16, kind: &str, words: &str) {
    let body = json!({ "floatingip": body });
    cloud.post(Who::Member, "/floatingips", body).await.refuses(status, kind, words);
}

#[tokio::test(start_paused = true)]
async fn a_floating_ip_has_neutrons_keys() {
    let cloud = Cloud::new().await;
    let outer = cloud.external("172.24.4.0/24").await;
    let body = json!({"floating_network_id": outer.network});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    let keys: Vec<&str> = floating.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "created_at",
        "description",
        "fixed_ip_address",
        "floating_ip_address",
        "floating_network_id",
        "id",
        "port_details",
        "port_id",
        "project_id",
        "revision_number",
        "router_id",
        "status",
        "tags",
        "tenant_id",
        "updated_at",
    ];
    assert_eq!(keys, expected);
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let cloud = Cloud::new().await;
    let (inner, outer) = connected(&cloud).await;
    let far = cloud.net("10.5.0.0/24").await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": far.network})).await;
    let words = format!("Network {} is not a valid external network", inner.network);
    refused(&cloud, json!({"floating_network_id": inner.network}), 400, "BadRequest", &words).await;
    let words = format!(
        "External network {} is not reachable from subnet {}.  Therefore, cannot associate Port {} \
         with a Floating IP.",
        outer.network,
        far.subnet,
        text(&port, "id")
    );
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"]});
    refused(&cloud, body, 404, "ExternalGatewayForFloatingIPNotFound", &words).await;
    let body = json!({"floating_network_id": outer.network, "fixed_ip_address": "10.0.0.9"});
    let words = "fixed_ip_address cannot be specified without a port_id";
    refused(&cloud, body, 400, "BadRequest", words).await;
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"], "fixed_ip_address": "10.0.0.9"});
    refused(&cloud, body, 400, "BadRequest", "does not have fixed ip 10.0.0.9").await;
    let body = json!({"floating_network_id": outer.network, "floating_ip_address": "172.24.4.9"});
    let words = "rule:create_floatingip:floating_ip_address";
    refused(&cloud, body, 403, "PolicyNotAuthorized", words).await;
    assert_eq!(cloud.get(Who::Member, "/floatingips").await.list("floatingips").len(), 0);
    let held = cloud.get(Who::Admin, "/ports?device_owner=network:floatingip").await;
    assert_eq!(held.list("ports").len(), 0, "nothing is left of what was refused");
}

#[tokio::test(start_paused = true)]
async fn one_address_has_one_floating_ip() {
    let cloud = Cloud::new().await;
    let (inner, outer) = connected(&cloud).await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": inner.network})).await;
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"]});
    cloud.make(Who::Member, "floatingip", body.clone()).await;
    let words = "as that fixed IP already has a floating IP on external network";
    refused(&cloud, body, 409, "FloatingIPPortAlreadyAssociated", words).await;
}

#[tokio::test(start_paused = true)]
async fn a_floating_ip_outlives_its_port() {
    let cloud = Cloud::new().await;
    let (inner, outer) = connected(&cloud).await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": inner.network})).await;
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"]});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    assert_eq!(text(&floating["port_details"], "network_id"), inner.network);
    cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await.is(204);
    let path = format!("/floatingips/{}", text(&floating, "id"));
    let left = cloud.get(Who::Member, &path).await.is(200).json()["floatingip"].clone();
    for gone in ["port_id", "fixed_ip_address", "router_id", "port_details"] {
        assert_eq!(left[gone], Value::Null, "{gone}");
    }
    assert_eq!(text(&left, "status"), "DOWN");
}

#[tokio::test(start_paused = true)]
async fn a_floating_ip_moves_from_port_to_port_and_to_none() {
    let cloud = Cloud::new().await;
    let (inner, outer) = connected(&cloud).await;
    let body = json!({"network_id": inner.network});
    let one = cloud.make(Who::Member, "port", body.clone()).await;
    let other = cloud.make(Who::Member, "port", body).await;
    let body = json!({"floating_network_id": outer.network, "port_id": one["id"]});
    let floating = cloud.make(Who::Member, "floatingip", body).await;
    let path = format!("/floatingips/{}", text(&floating, "id"));
    let body = json!({"floatingip": {"port_id": other["id"]}});
    let moved = cloud.put(Who::Member, &path, body).await.is(200).json()["floatingip"].clone();
    assert_eq!(moved["fixed_ip_address"], other["fixed_ips"][0]["ip_address"]);
    let body = json!({"floatingip": {"description": "mine"}});
    let kept = cloud.put(Who::Member, &path, body).await.is(200).json()["floatingip"].clone();
    assert_eq!((&kept["port_id"], text(&kept, "description")), (&other["id"], "mine"));
    let body = json!({"floatingip": {"port_id": null}});
    let freed = cloud.put(Who::Member, &path, body).await.is(200).json()["floatingip"].clone();
    assert_eq!((&freed["port_id"], &freed["router_id"]), (&Value::Null, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_floating_ip_leads_to_stays() {
    let cloud = Cloud::new().await;
    let (inner, outer) = connected(&cloud).await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": inner.network})).await;
    let body = json!({"floating_network_id": outer.network, "port_id": port["id"]});
    cloud.make(Who::Member, "floatingip", body).await;
    let body = json!({"port": {"fixed_ips": [{"ip_address": "10.0.0.200"}]}});
    let refused = cloud.put(Who::Member, &format!("/ports/{}", text(&port, "id")), body).await;
    refused.refuses(400, "BadRequest", "has been associated to a floating ip");
}
