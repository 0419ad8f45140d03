//! Groups and their members.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Cloud, in_project, password};

#[tokio::test(start_paused = true)]
async fn a_group_is_made_shown_changed_and_deleted() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let made = admin.post("/v3/groups", json!({"group": {"name": "ops", "colour": "red"}})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let group = &made.json()["group"];
    let id = group["id"].as_str().expect("an id");
    assert_eq!(
        *group,
        json!({
            "id": id, "name": "ops", "domain_id": "default", "description": "", "colour": "red",
            "links": {"self": format!("http://localhost/v3/groups/{id}")},
        })
    );
    let path = format!("/v3/groups/{id}");
    let changed = admin.patch(&path, json!({"group": {"name": "dev", "description": "d"}})).await;
    assert_eq!(changed.json()["group"]["name"], "dev");
    assert_eq!(admin.get(&path).await.json()["group"]["description"], "d");
    assert_eq!(admin.names("/v3/groups?name=dev").await, ["dev"]);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert!(admin.names("/v3/groups").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_in_a_group_has_its_roles_and_loses_them_with_it() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "reader").await;
    let admin = cloud.admin().await;
    let group = admin.made("/v3/groups", json!({"group": {"name": "ops"}})).await;
    let role = admin.role("manager").await;
    let grant = format!("/v3/projects/{}/groups/{group}/roles/{role}", demo.project);
    assert_eq!(admin.put(&grant, None).await.status, StatusCode::NO_CONTENT);
    let member = format!("/v3/groups/{group}/users/{}", demo.id);
    let roles = async || {
        let body = password("demo", "demo", in_project("demo"));
        let token = cloud.nodes[0].authenticate(body).await.json();
        let roles = token["token"]["roles"].as_array().expect("roles").clone();
        let mut names: Vec<String> =
            roles.iter().filter_map(|role| role["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    assert_eq!(roles().await, ["reader"]);
    assert_eq!(admin.head(&member).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.put(&member, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.put(&member, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.head(&member).await.status, StatusCode::NO_CONTENT);
    assert_eq!(roles().await, ["manager", "member", "reader"]);
    assert_eq!(admin.names(&format!("/v3/groups/{group}/users")).await, ["demo"]);
    assert_eq!(admin.names(&format!("/v3/users/{}/groups", demo.id)).await, ["ops"]);
    assert_eq!(demo.caller.names(&format!("/v3/users/{}/groups", demo.id)).await, ["ops"]);
    assert_eq!(admin.delete(&member).await.status, StatusCode::NO_CONTENT);
    assert_eq!(roles().await, ["reader"]);
    assert_eq!(admin.delete(&member).await.status, StatusCode::NOT_FOUND);
    admin.put(&member, None).await;
    assert_eq!(admin.delete(&format!("/v3/groups/{group}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(roles().await, ["reader"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_takes_no_user_that_does_not_exist() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let group = admin.made("/v3/groups", json!({"group": {"name": "ops"}})).await;
    let answer = admin.put(&format!("/v3/groups/{group}/users/nobody"), None).await;
    assert_eq!(answer.message(), "Could not find user: nobody.");
    let answer = admin.put("/v3/groups/nothing/users/nobody", None).await;
    assert_eq!(answer.message(), "Could not find group: nothing.");
}
