//! Getting tokens, looking at them, and what they show of the cloud.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Caller, Cloud, PASSWORD, by_token, in_domain, in_project, on_system, password,
};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn a_token_for_a_project_says_exactly_what_keystone_says() {
    let cloud = Cloud::new().await;
    let body = password("admin", PASSWORD, in_project("admin"));
    let answer = cloud.nodes[0].authenticate(body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let secret = answer.header("x-subject-token").expect("a token");
    assert!(secret.starts_with("gAAAAA") && secret.len() == 183, "{secret}");
    assert_eq!(answer.header("vary"), Some("X-Auth-Token"));
    let body = answer.json();
    let token = &body["token"];
    assert_eq!(
        keys(token),
        [
            "audit_ids",
            "catalog",
            "expires_at",
            "is_domain",
            "issued_at",
            "methods",
            "project",
            "roles",
            "user",
        ]
    );
    assert_eq!(token["methods"], json!(["password"]));
    let default = json!({"id": "default", "name": "Default"});
    assert_eq!(keys(&token["user"]), ["domain", "id", "name", "password_expires_at"]);
    assert_eq!(token["user"]["domain"], default);
    assert_eq!(token["user"]["password_expires_at"], Value::Null);
    assert_eq!(keys(&token["project"]), ["domain", "id", "name"]);
    assert_eq!(token["project"]["domain"], default);
    assert_eq!(token["is_domain"], false);
    assert_eq!(token["issued_at"], "2025-01-01T00:00:03.000000Z");
    assert_eq!(token["expires_at"], "2025-01-01T01:00:03.000000Z");
    assert_eq!(token["audit_ids"][0].as_str().map(str::len), Some(22));
    let mut roles: Vec<&str> = token["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, ["admin", "manager", "member", "reader"]);
    assert_eq!(keys(&token["roles"][0]), ["id", "name"]);
}

#[tokio::test(start_paused = true)]
async fn the_catalog_names_every_service_at_three_interfaces() {
    let cloud = Cloud::new().await;
    let body = password("admin", PASSWORD, in_project("admin"));
    let body = cloud.nodes[0].authenticate(body).await.json();
    let catalog = body["token"]["catalog"].as_array().expect("a catalog");
    let kinds: Vec<&str> = catalog.iter().filter_map(|service| service["type"].as_str()).collect();
    assert_eq!(kinds, ["block-storage", "compute", "identity", "image", "network"]);
    for service in catalog {
        assert_eq!(keys(service), ["endpoints", "id", "name", "type"]);
        let endpoints = service["endpoints"].as_array().expect("endpoints");
        let mut interfaces: Vec<&str> =
            endpoints.iter().filter_map(|one| one["interface"].as_str()).collect();
        interfaces.sort_unstable();
        assert_eq!(interfaces, ["admin", "internal", "public"]);
        for endpoint in endpoints {
            assert_eq!(keys(endpoint), ["id", "interface", "region", "region_id", "url"]);
            assert_eq!(endpoint["region"], "RegionOne");
        }
    }
    assert_eq!(catalog[1]["endpoints"][0]["url"], "http://controller/compute/v2.1");
}

#[tokio::test(start_paused = true)]
async fn without_nocatalog_there_is_a_catalog() {
    let cloud = Cloud::new().await;
    let body = password("admin", PASSWORD, in_project("admin"));
    let request = crate::support::posted("/v3/auth/tokens?nocatalog", &body);
    let token = &cloud.send(request).await.json()["token"];
    assert_eq!(token.get("catalog"), None);
    assert_eq!(token["project"]["name"], "admin");
}

#[tokio::test(start_paused = true)]
async fn each_scope_shows_what_belongs_to_it() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let user = admin.get("/v3/users?name=admin").await.json()["users"][0]["id"].clone();
    let (user, role) = (user.as_str().expect("an id"), admin.role("admin").await);
    let grant = format!("/v3/domains/default/users/{user}/roles/{role}");
    assert_eq!(admin.put(&grant, None).await.status, StatusCode::NO_CONTENT);
    let table = [
        (in_domain("default"), Some("domain"), true),
        (json!({"domain": {"name": "Default"}}), Some("domain"), true),
        (on_system(), Some("system"), true),
        (json!("unscoped"), None, false),
        (json!({"unscoped": {}}), None, false),
        (Value::Null, None, false),
    ];
    for (scope, key, has_catalog) in table {
        let body = password("admin", PASSWORD, scope.clone());
        let token = &cloud.nodes[0].authenticate(body).await.json()["token"];
        for other in ["project", "domain", "system"] {
            assert_eq!(token.get(other).is_some(), key == Some(other), "{scope} {other}");
        }
        assert_eq!(token.get("is_domain"), None, "{scope}");
        assert_eq!(token.get("roles").is_some(), key.is_some(), "{scope}");
        assert_eq!(token.get("catalog").is_some(), has_catalog, "{scope}");
    }
    let body = password("admin", PASSWORD, on_system());
    let token = &cloud.nodes[0].authenticate(body).await.json()["token"];
    assert_eq!(token["system"], json!({"all": true}));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_no_scope_gets_into_the_default_project_if_that_is_possible() {
    let cloud = Cloud::new().await;
    let user = cloud.user("demo", "member").await;
    let admin = cloud.admin().await;
    let scope_of = async || {
        let body = password("demo", "demo", Value::Null);
        cloud.nodes[0].authenticate(body).await.json()["token"]["project"]["id"].clone()
    };
    assert_eq!(scope_of().await, Value::Null);
    let path = format!("/v3/users/{}", user.id);
    let default = |id: Value| json!({"user": {"default_project_id": id}});
    admin.patch(&path, default(json!(user.project))).await;
    assert_eq!(scope_of().await, json!(user.project));
    admin.patch(&path, default(json!("gone"))).await;
    assert_eq!(scope_of().await, Value::Null);
    let body = password("demo", "demo", json!("unscoped"));
    admin.patch(&path, default(json!(user.project))).await;
    assert_eq!(cloud.nodes[0].authenticate(body).await.json()["token"].get("project"), None);
}

#[tokio::test(start_paused = true)]
async fn a_token_from_a_token_keeps_its_end_and_names_where_it_comes_from() {
    let cloud = Cloud::new().await;
    let body = password("admin", PASSWORD, json!("unscoped"));
    let first = cloud.nodes[0].authenticate(body).await;
    let secret = first.header("x-subject-token").expect("a token").to_owned();
    cloud.skip(Duration::from_secs(600));
    let second = cloud.nodes[0].authenticate(by_token(&secret, in_project("admin"))).await;
    assert_eq!(second.status, StatusCode::CREATED, "{}", second.text);
    let (first, token) = (first.json(), second.json());
    assert_eq!(token["token"]["expires_at"], first["token"]["expires_at"]);
    assert_ne!(token["token"]["issued_at"], first["token"]["issued_at"]);
    assert_eq!(token["token"]["methods"], json!(["token", "password"]));
    assert_eq!(token["token"]["audit_ids"][1], first["token"]["audit_ids"][0]);
    let secret = second.header("x-subject-token").expect("a token");
    assert_eq!(secret.len(), 204, "the length that Keystone's has");
    let third = cloud.nodes[0].authenticate(by_token(secret, on_system())).await.json();
    assert_eq!(third["token"]["audit_ids"][1], first["token"]["audit_ids"][0]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_system_gives_none_of_a_project() {
    let cloud = Cloud::new().await;
    let system = cloud.token(password("admin", PASSWORD, on_system())).await;
    let answer = cloud.nodes[0].authenticate(by_token(&system, in_project("admin"))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = cloud.nodes[0].authenticate(by_token(&system, on_system())).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn both_methods_together_must_prove_one_user() {
    let cloud = Cloud::new().await;
    let user = cloud.user("demo", "member").await;
    let both = |password: &str| {
        json!({"auth": {"identity": {
            "methods": ["password", "token"],
            "token": {"id": user.caller.token},
            "password": {"user": {"id": user.id, "password": password}},
        }, "scope": in_project("demo")}})
    };
    let answer = cloud.nodes[0].authenticate(both("demo")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!(cloud.nodes[0].authenticate(both("wrong")).await.status, StatusCode::UNAUTHORIZED);
    let admin = cloud.admin().await;
    let mut other = both("demo");
    other["auth"]["identity"]["token"]["id"] = json!(admin.token);
    assert_eq!(cloud.nodes[0].authenticate(other).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_looked_at_by_its_user_and_by_who_may_look_at_all() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let other = cloud.user("other", "member").await;
    let admin = cloud.admin().await;
    let made = cloud.nodes[0].authenticate(password("demo", "demo", in_project("demo"))).await;
    let secret = made.header("x-subject-token").expect("a token");
    for caller in [&admin, &demo.caller] {
        let seen = caller.about("GET", "/v3/auth/tokens", secret).await;
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.text);
        assert_eq!(seen.json(), made.json());
        assert_eq!(seen.header("x-subject-token"), Some(secret));
        let head = caller.about("HEAD", "/v3/auth/tokens", secret).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    }
    let denied = other.caller.about("GET", "/v3/auth/tokens", secret).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert_eq!(
        denied.message(),
        "You are not authorized to perform the requested action: identity:validate_token."
    );
    cloud.give_services_a_password("service").await;
    let service = cloud.token(password("nova", "service", in_project("service"))).await;
    let nova = Caller { node: &cloud.nodes[0], token: service };
    assert_eq!(nova.about("GET", "/v3/auth/tokens", secret).await.status, StatusCode::OK);
    assert_eq!(nova.about("HEAD", "/v3/auth/tokens", secret).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_found_unless_that_is_asked_for() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    cloud.skip(Duration::from_secs(3_601));
    assert_eq!(demo.caller.get("/v3/auth/projects").await.status, StatusCode::UNAUTHORIZED);
    let (admin, secret) = (cloud.admin().await, &demo.caller.token);
    let gone = admin.about("GET", "/v3/auth/tokens", secret).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let path = "/v3/auth/tokens?allow_expired=1";
    assert_eq!(admin.about("GET", path, secret).await.status, StatusCode::OK);
    cloud.skip(Duration::from_secs(48 * 3_600));
    let admin = cloud.admin().await;
    assert_eq!(admin.about("GET", path, secret).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.get("/v3/auth/tokens").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_user_finds_the_places_it_can_go_to() {
    let cloud = Cloud::new().await;
    cloud.user("demo", "member").await;
    let unscoped = cloud.token(password("demo", "demo", json!("unscoped"))).await;
    let demo = Caller { node: &cloud.nodes[0], token: unscoped };
    assert_eq!(demo.names("/v3/auth/projects").await, ["demo"]);
    assert!(demo.names("/v3/auth/domains").await.is_empty());
    assert_eq!(demo.get("/v3/auth/system").await.json()["system"], json!([]));
    let denied = demo.get("/v3/auth/catalog").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "there is a catalog for projects alone");
    let admin = cloud.admin().await;
    assert_eq!(admin.get("/v3/auth/system").await.json()["system"], json!([{"all": true}]));
    let catalog = admin.get("/v3/auth/catalog").await.json();
    assert_eq!(catalog["catalog"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_client_finds_the_api_without_a_token() {
    let cloud = Cloud::new().await;
    let get = |path: &str| axum::http::Request::get(path).body(axum::body::Body::empty());
    let root = cloud.send(get("/").expect("a request")).await;
    assert_eq!(root.status, StatusCode::MULTIPLE_CHOICES);
    assert_eq!(root.json()["versions"]["values"][0]["id"], "v3.14");
    for path in ["/v3", "/v3/"] {
        let version = cloud.send(get(path).expect("a request")).await;
        assert_eq!(version.status, StatusCode::OK, "{path}");
        assert_eq!(version.json()["version"]["status"], "stable");
    }
}
