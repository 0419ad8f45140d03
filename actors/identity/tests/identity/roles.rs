//! Roles, and which implies which.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Cloud, in_project, password};

#[tokio::test(start_paused = true)]
async fn a_cloud_begins_with_five_roles_that_nobody_deletes() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    assert_eq!(admin.names("/v3/roles").await, ["admin", "manager", "member", "reader", "service"]);
    let id = admin.role("member").await;
    let refused = admin.delete(&format!("/v3/roles/{id}")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().starts_with("Unable to delete immutable role resource"));
    let inferences = admin.get("/v3/role_inferences").await.json();
    let mut chain: Vec<(String, String)> = inferences["role_inferences"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
            (name(&one["prior_role"]), name(&one["implies"][0]))
        })
        .collect();
    chain.sort();
    let expected = [("admin", "manager"), ("manager", "member"), ("member", "reader")];
    assert_eq!(chain, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_role_is_made_shown_changed_and_deleted() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let made = admin.post("/v3/roles", json!({"role": {"name": "dba"}})).await;
    let role = &made.json()["role"];
    let id = role["id"].as_str().expect("an id");
    assert_eq!(
        *role,
        json!({
            "id": id, "name": "dba", "domain_id": null, "description": null, "options": {},
            "links": {"self": format!("http://localhost/v3/roles/{id}")},
        })
    );
    let path = format!("/v3/roles/{id}");
    let changed = admin.patch(&path, json!({"role": {"name": "dbo", "description": "d"}})).await;
    assert_eq!(changed.json()["role"]["name"], "dbo");
    assert_eq!(admin.get(&path).await.json()["role"]["description"], "d");
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn what_a_role_implies_shows_in_tokens_at_once() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let dba = admin.made("/v3/roles", json!({"role": {"name": "dba"}})).await;
    let backup = admin.made("/v3/roles", json!({"role": {"name": "backup"}})).await;
    cloud.user("demo", "dba").await;
    let roles = async || {
        let body = password("demo", "demo", in_project("demo"));
        let token = cloud.nodes[0].authenticate(body).await.json();
        token["token"]["roles"].as_array().map(Vec::len)
    };
    assert_eq!(roles().await, Some(1));
    let path = format!("/v3/roles/{dba}/implies/{backup}");
    assert_eq!(admin.head(&path).await.status, StatusCode::NOT_FOUND);
    let made = admin.put(&path, None).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.json()["role_inference"]["implies"]["name"], "backup");
    assert_eq!(admin.put(&path, None).await.status, StatusCode::CONFLICT);
    assert_eq!(admin.head(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&path).await.json(), made.json());
    let listed = admin.get(&format!("/v3/roles/{dba}/implies")).await.json();
    assert_eq!(listed["role_inference"]["implies"][0]["id"], json!(backup));
    assert_eq!(roles().await, Some(2));
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(roles().await, Some(1));
    let gone = admin.delete(&path).await;
    assert_eq!(gone.message(), format!("{dba} does not imply {backup}."));
}

#[tokio::test(start_paused = true)]
async fn nothing_implies_the_role_that_may_do_everything() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let (reader, all) = (admin.role("reader").await, admin.role("admin").await);
    let refused = admin.put(&format!("/v3/roles/{reader}/implies/{all}"), None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn a_role_of_one_domain_stands_for_what_it_implies() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let role = json!({"role": {"name": "local", "domain_id": "default"}});
    let local = admin.made("/v3/roles", role).await;
    assert_eq!(admin.names("/v3/roles?domain_id=default").await, ["local"]);
    assert!(!admin.names("/v3/roles").await.contains(&"local".to_owned()));
    let demo = cloud.user("demo", "reader").await;
    let grant = format!("/v3/projects/{}/users/{}/roles/{local}", demo.project, demo.id);
    assert_eq!(admin.put(&grant, None).await.status, StatusCode::NO_CONTENT);
    let roles = async || {
        let body = password("demo", "demo", in_project("demo"));
        let token = cloud.nodes[0].authenticate(body).await.json();
        let roles = token["token"]["roles"].as_array().expect("roles").clone();
        let name = |role: &Value| role["name"].as_str().map(str::to_owned);
        let mut names: Vec<String> = roles.iter().filter_map(name).collect();
        names.sort();
        names
    };
    assert_eq!(roles().await, ["reader"]);
    let member = admin.role("member").await;
    admin.put(&format!("/v3/roles/{local}/implies/{member}"), None).await;
    assert_eq!(roles().await, ["member", "reader"]);
    let elsewhere = admin.made("/v3/domains", json!({"domain": {"name": "d"}})).await;
    let project = json!({"project": {"name": "p", "domain_id": elsewhere}});
    let project = admin.made("/v3/projects", project).await;
    let grant = format!("/v3/projects/{project}/users/{}/roles/{local}", demo.id);
    assert_eq!(admin.put(&grant, None).await.status, StatusCode::FORBIDDEN);
}
