//! Regions, services, endpoints, and the catalog that they make.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Caller, Cloud};

async fn urls(admin: &Caller<'_>, kind: &str) -> Vec<String> {
    let body = admin.get("/v3/auth/catalog").await.json();
    let services = body["catalog"].as_array().expect("a catalog").clone();
    let endpoints = services.iter().filter(|one| one["type"] == kind).flat_map(|one| {
        one["endpoints"].as_array().expect("endpoints").iter().map(|one| one["url"].clone())
    });
    endpoints.filter_map(|url| url.as_str().map(str::to_owned)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_and_its_address_show_in_the_catalog_while_they_are_enabled() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let made = admin.post("/v3/services", json!({"service": {"type": "dns", "name": "d"}})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let service = &made.json()["service"];
    let id = service["id"].as_str().expect("an id");
    assert_eq!(
        *service,
        json!({
            "id": id, "type": "dns", "name": "d", "enabled": true,
            "links": {"self": format!("http://localhost/v3/services/{id}")},
        })
    );
    let body = json!({"endpoint": {
        "service_id": id, "interface": "public", "url": "http://dns/%(tenant_id)s",
        "region_id": "RegionOne",
    }});
    let made = admin.post("/v3/endpoints", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let endpoint = &made.json()["endpoint"];
    let endpoint_path = format!("/v3/endpoints/{}", endpoint["id"].as_str().expect("an id"));
    assert_eq!(
        *endpoint,
        json!({
            "id": endpoint["id"], "service_id": id, "interface": "public", "enabled": true,
            "url": "http://dns/%(tenant_id)s", "region_id": "RegionOne", "region": "RegionOne",
            "links": {"self": format!("http://localhost{endpoint_path}")},
        })
    );
    let project = admin.get("/v3/auth/projects").await.json()["projects"][0]["id"].clone();
    let filled_in = format!("http://dns/{}", project.as_str().expect("an id"));
    assert_eq!(urls(&admin, "dns").await, [filled_in]);
    admin.patch(&endpoint_path, json!({"endpoint": {"enabled": false}})).await;
    assert!(urls(&admin, "dns").await.is_empty());
    let change = json!({"endpoint": {"enabled": true, "url": "http://x"}});
    assert_eq!(admin.patch(&endpoint_path, change).await.status, StatusCode::OK);
    assert_eq!(urls(&admin, "dns").await, ["http://x"]);
    let path = format!("/v3/services/{id}");
    admin.patch(&path, json!({"service": {"enabled": false}})).await;
    assert!(urls(&admin, "dns").await.is_empty());
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&endpoint_path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn endpoints_and_services_are_found_by_what_they_are() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    assert_eq!(admin.names("/v3/services?type=compute").await, ["nova"]);
    assert_eq!(admin.names("/v3/services?name=glance").await, ["glance"]);
    let count = async |query: &str| {
        let body = admin.get(&format!("/v3/endpoints{query}")).await.json();
        body["endpoints"].as_array().map(Vec::len)
    };
    assert_eq!(count("").await, Some(15));
    assert_eq!(count("?interface=admin").await, Some(5));
    assert_eq!(count("?region_id=elsewhere").await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_needs_a_service_a_region_and_an_address_that_can_be_filled_in() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let service = admin.made("/v3/services", json!({"service": {"type": "dns"}})).await;
    let post = async |change: Value| {
        let mut endpoint =
            json!({"service_id": service, "interface": "public", "url": "http://dns"});
        for (name, value) in change.as_object().expect("an object") {
            endpoint[name] = value.clone();
        }
        admin.post("/v3/endpoints", json!({ "endpoint": endpoint })).await
    };
    let refused = post(json!({"service_id": "x"})).await;
    let words = "Expecting to find endpoint service_id x in service table";
    assert!(refused.message().starts_with(words));
    let refused = post(json!({"region_id": "x"})).await;
    let words = "Expecting to find endpoint region_id x in region table";
    assert!(refused.message().starts_with(words));
    let refused = post(json!({"url": "http://dns/$(colour)s"})).await;
    assert_eq!(
        refused.message(),
        "Cannot create an endpoint with an invalid URL: http://dns/$(colour)s."
    );
    assert_eq!(post(json!({"region": "new"})).await.status, StatusCode::CREATED);
    assert_eq!(admin.get("/v3/regions/new").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_region_is_made_shown_changed_and_deleted_when_nothing_is_there() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"region": {"description": "d", "parent_region_id": "RegionOne"}});
    let made = admin.put("/v3/regions/east", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(
        made.json()["region"],
        json!({
            "id": "east", "description": "d", "parent_region_id": "RegionOne",
            "links": {"self": "http://localhost/v3/regions/east"},
        })
    );
    let circle = json!({"region": {"parent_region_id": "east"}});
    let refused = admin.patch("/v3/regions/RegionOne", circle).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.message().contains("would create a circular region hierarchy"));
    let refused = admin.delete("/v3/regions/RegionOne").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().starts_with("Unable to delete region RegionOne"));
    assert_eq!(admin.delete("/v3/regions/east").await.status, StatusCode::NO_CONTENT);
    let made = admin.post("/v3/regions", json!({"region": {}})).await;
    assert_eq!(made.json()["region"]["id"].as_str().map(str::len), Some(32));
    let differs = admin.put("/v3/regions/a", Some(json!({"region": {"id": "b"}}))).await;
    assert_eq!(differs.message(), "Conflicting region IDs specified: \"a\" != \"b\"");
    let refused = admin.post("/v3/regions", json!({"region": {"parent_region_id": "x"}})).await;
    assert_eq!(refused.message(), "Could not find region: x.");
}
