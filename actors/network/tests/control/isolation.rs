//! Who sees and changes what.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Cloud, Who, text};

#[tokio::test(start_paused = true)]
async fn what_is_another_projects_is_not_there() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let router = cloud.make(Who::Member, "router", json!({"name": "r"})).await;
    let group = cloud.make(Who::Member, "security_group", json!({"name": "g"})).await;
    let things = [
        ("networks", net.network.clone(), "NetworkNotFound"),
        ("subnets", net.subnet.clone(), "SubnetNotFound"),
        ("ports", text(&port, "id").to_owned(), "PortNotFound"),
        ("routers", text(&router, "id").to_owned(), "RouterNotFound"),
        ("security-groups", text(&group, "id").to_owned(), "SecurityGroupNotFound"),
    ];
    for (collection, id, kind) in things {
        let path = format!("/{collection}/{id}");
        cloud.get(Who::Other, &path).await.refuses(404, kind, &id);
        cloud.delete(Who::Other, &path).await.refuses(404, kind, &id);
        let name = collection.trim_end_matches('s').replace('-', "_");
        let body = json!({ name: {"name": "stolen"} });
        cloud.put(Who::Other, &path, body).await.refuses(404, kind, &id);
        let listed = cloud.get(Who::Other, &format!("/{collection}")).await;
        let listed = listed.list(&collection.replace('-', "_"));
        assert!(listed.iter().all(|one| text(one, "id") != id), "{collection}");
        cloud.get(Who::Admin, &path).await.is(200);
    }
    let body = json!({"port": {"network_id": net.network}});
    cloud.post(Who::Other, "/ports", body).await.refuses(404, "NetworkNotFound", &net.network);
}

#[tokio::test(start_paused = true)]
async fn a_reader_reads_and_does_nothing_else() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let path = format!("/networks/{}", net.network);
    cloud.get(Who::Reader, &path).await.is(200);
    assert_eq!(cloud.get(Who::Reader, "/subnets").await.list("subnets").len(), 1);
    let cases = [
        (
            "POST",
            "/v2.0/networks".to_owned(),
            json!({"network": {"name": "x"}}),
            "rule:create_network",
        ),
        ("PUT", format!("/v2.0{path}"), json!({"network": {"name": "x"}}), "rule:update_network"),
        (
            "POST",
            "/v2.0/ports".to_owned(),
            json!({"port": {"network_id": net.network}}),
            "rule:create_port",
        ),
        (
            "POST",
            "/v2.0/routers".to_owned(),
            json!({"router": {"name": "x"}}),
            "rule:create_router",
        ),
    ];
    for (method, path, body, rule) in cases {
        let refused = cloud.send(Who::Reader, method, &path, Some(body)).await;
        let words = format!("{rule} is disallowed by policy");
        refused.refuses(403, "PolicyNotAuthorized", &words);
    }
    let refused = cloud.delete(Who::Reader, &path).await;
    refused.refuses(403, "PolicyNotAuthorized", "rule:delete_network is disallowed by policy");
}

#[tokio::test(start_paused = true)]
async fn a_shared_network_is_for_everybody_and_an_external_one_to_be_seen() {
    let cloud = Cloud::new().await;
    let shared = json!({"name": "s", "shared": true});
    let shared = cloud.net_of(Who::Admin, shared, json!({"cidr": "10.0.0.0/24"})).await;
    let outer = cloud.external("172.24.4.0/24").await;
    let seen = cloud.get(Who::Other, "/networks?sort_key=name&sort_dir=asc").await.list("networks");
    let names: Vec<&str> = seen.iter().map(|one| text(one, "name")).collect();
    assert_eq!(names, ["ext", "s"]);
    let subnets = cloud.get(Who::Other, "/subnets").await.list("subnets");
    assert_eq!((subnets.len(), text(&subnets[0], "id")), (1, &*shared.subnet));
    let port = cloud.make(Who::Other, "port", json!({"network_id": shared.network})).await;
    assert_eq!(text(&port, "project_id"), Who::Other.project());
    let fixed = json!([{"ip_address": "10.0.0.9"}]);
    let body = json!({"port": {"network_id": shared.network, "fixed_ips": fixed}});
    let refused = cloud.post(Who::Other, "/ports", body).await;
    refused.refuses(403, "PolicyNotAuthorized", "rule:create_port:fixed_ips:ip_address");
    let body = json!({"port": {"network_id": outer.network}});
    cloud.post(Who::Other, "/ports", body).await.refuses(
        403,
        "PolicyNotAuthorized",
        "rule:create_port",
    );
    let refused = cloud.delete(Who::Other, &format!("/networks/{}", shared.network)).await;
    refused.refuses(403, "PolicyNotAuthorized", "rule:delete_network is disallowed by policy");
    let unshare = json!({"network": {"shared": false}});
    let refused = cloud.put(Who::Admin, &format!("/networks/{}", shared.network), unshare).await;
    refused.refuses(409, "InvalidSharedSetting", "Multiple projects are using it.");
}

#[tokio::test(start_paused = true)]
async fn sharing_and_leading_out_are_for_administrators_to_say() {
    let cloud = Cloud::new().await;
    let body = json!({"network": {"name": "x", "shared": true, "router:external": true}});
    let refused = cloud.post(Who::Member, "/networks", body).await;
    let words = "((rule:create_network and rule:create_network:shared) and \
                 rule:create_network:router:external) is disallowed by policy";
    refused.refuses(403, "PolicyNotAuthorized", words);
    cloud.make(Who::Member, "network", json!({"name": "x", "shared": false})).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_is_nothing() {
    let cloud = Cloud::new().await;
    let request = axum::http::Request::builder()
        .uri("/v2.0/networks")
        .header("host", "cloud")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(cloud.router.clone(), request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}
