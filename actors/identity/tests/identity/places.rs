//! Domains and projects.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Caller, Cloud, in_domain};

#[tokio::test(start_paused = true)]
async fn a_project_is_made_shown_changed_and_deleted() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"project": {"name": "web", "description": "d", "tags": ["a"], "cost": 5}});
    let made = admin.post("/v3/projects", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let project = &made.json()["project"];
    let id = project["id"].as_str().expect("an id");
    assert_eq!(
        *project,
        json!({
            "id": id, "name": "web", "domain_id": "default", "parent_id": "default",
            "is_domain": false, "description": "d", "enabled": true, "tags": ["a"], "options": {},
            "cost": 5, "links": {"self": format!("http://localhost/v3/projects/{id}")},
        })
    );
    let path = format!("/v3/projects/{id}");
    let change = json!({"project": {"name": "www", "description": null, "parent_id": "default"}});
    let changed = admin.patch(&path, change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(changed.json()["project"]["name"], "www");
    assert_eq!(changed.json()["project"]["description"], Value::Null);
    assert_eq!(changed.json()["project"]["cost"], 5);
    let moved = admin.patch(&path, json!({"project": {"parent_id": "x"}})).await;
    assert_eq!(moved.message(), "Update of `parent_id` is not allowed.");
    let moved = admin.patch(&path, json!({"project": {"domain_id": "x"}})).await;
    assert_eq!(moved.message(), "Cannot change Domain ID");
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn projects_stand_below_one_another_and_fall_in_order() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let top = admin.made("/v3/projects", json!({"project": {"name": "top"}})).await;
    let below = json!({"project": {"name": "below", "parent_id": top}});
    let below = admin.made("/v3/projects", below).await;
    let (top_path, path) = (format!("/v3/projects/{top}"), format!("/v3/projects/{below}"));
    let shown = admin.get(&format!("{path}?parents_as_ids")).await.json();
    assert_eq!(shown["project"]["parents"], json!({ top.clone(): {"default": null} }));
    let shown = admin.get(&format!("{top_path}?subtree_as_ids")).await.json();
    assert_eq!(shown["project"]["subtree"], json!({ below.clone(): null }));
    assert_eq!(admin.names(&format!("/v3/projects?parent_id={top}")).await, ["below"]);
    let enable = |enabled: bool| json!({"project": {"enabled": enabled}});
    let refused = admin.patch(&top_path, enable(false)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().contains("its subtree contains enabled projects"));
    assert_eq!(admin.patch(&path, enable(false)).await.status, StatusCode::OK);
    assert_eq!(admin.patch(&top_path, enable(false)).await.status, StatusCode::OK);
    let refused = admin.patch(&path, enable(true)).await;
    assert!(refused.message().contains("since it has disabled parents"));
    let refused = admin.post("/v3/projects", json!({"project": {"name": "x", "parent_id": below}}));
    assert!(refused.await.message().contains("in a branch containing a disabled project"));
    let refused = admin.delete(&top_path).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().contains("since it is not a leaf in the hierarchy"));
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.delete(&top_path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn the_tree_of_projects_has_five_levels() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let mut parent = Value::Null;
    for level in 1..=5 {
        let body = json!({"project": {"name": format!("l{level}"), "parent_id": parent}});
        parent = json!(admin.made("/v3/projects", body).await);
    }
    let body = json!({"project": {"name": "l6", "parent_id": parent}});
    let refused = admin.post("/v3/projects", body).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().starts_with("Max hierarchy depth reached for"));
}

#[tokio::test(start_paused = true)]
async fn a_project_and_its_parent_are_of_one_domain() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let domain = admin.made("/v3/domains", json!({"domain": {"name": "d"}})).await;
    let there = json!({"project": {"name": "p", "domain_id": domain}});
    let parent = admin.made("/v3/projects", there.clone()).await;
    assert_eq!(admin.made("/v3/projects", json!({"project": {"name": "p"}})).await.len(), 32);
    let body = json!({"project": {"name": "q", "domain_id": "default", "parent_id": parent}});
    let refused = admin.post("/v3/projects", body).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.message().contains("specifies a parent in a different domain"));
    let body = json!({"project": {"name": "q", "domain_id": "nowhere"}});
    let refused = admin.post("/v3/projects", body).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.message(), "Could not find domain: nowhere.");
}

#[tokio::test(start_paused = true)]
async fn tags_are_kept_replaced_and_searched_for() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let one = admin.made("/v3/projects", json!({"project": {"name": "one", "tags": ["a", "b"]}}));
    let path = format!("/v3/projects/{}/tags", one.await);
    admin.made("/v3/projects", json!({"project": {"name": "two", "tags": ["b"]}})).await;
    assert_eq!(admin.names("/v3/projects?tags=a,b").await, ["one"]);
    assert_eq!(admin.names("/v3/projects?tags-any=a,b").await, ["one", "two"]);
    assert_eq!(admin.names("/v3/projects?not-tags=a,b&tags=b").await, ["two"]);
    assert!(admin.names("/v3/projects?not-tags-any=a,b&tags=b").await.is_empty());
    assert_eq!(admin.put(&format!("{path}/blue%20sky"), None).await.status, StatusCode::CREATED);
    assert_eq!(admin.get(&path).await.json()["tags"], json!(["a", "b", "blue sky"]));
    assert_eq!(admin.get(&format!("{path}/a")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&format!("{path}/z")).await.message(), "Could not find project tag: z.");
    assert_eq!(admin.delete(&format!("{path}/a")).await.status, StatusCode::NO_CONTENT);
    let replaced = admin.put(&path, Some(json!({"tags": ["x"]}))).await;
    assert_eq!(replaced.json()["tags"], json!(["x"]));
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&path).await.json()["tags"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_domain_is_made_shown_changed_and_deleted_once_it_is_disabled() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let made = admin.post("/v3/domains", json!({"domain": {"name": "d", "colour": "red"}})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let domain = &made.json()["domain"];
    let id = domain["id"].as_str().expect("an id");
    assert_eq!(
        *domain,
        json!({
            "id": id, "name": "d", "description": "", "enabled": true, "tags": [], "options": {},
            "colour": "red", "links": {"self": format!("http://localhost/v3/domains/{id}")},
        })
    );
    let path = format!("/v3/domains/{id}");
    let project = json!({"project": {"name": "p", "domain_id": id}});
    let project = admin.made("/v3/projects", project).await;
    let user = admin.made("/v3/users", json!({"user": {"name": "u", "domain_id": id}})).await;
    assert_eq!(admin.names("/v3/domains?name=Default").await, ["Default"]);
    let refused = admin.delete(&path).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(
        refused.message(),
        "Cannot delete a domain that is enabled, please disable it first."
    );
    let disabled = admin.patch(&path, json!({"domain": {"enabled": false}})).await;
    assert_eq!(disabled.json()["domain"]["enabled"], false);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    for gone in [&path, &format!("/v3/projects/{project}"), &format!("/v3/users/{user}")] {
        assert_eq!(admin.get(gone).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_can_be_seen_as_a_project_that_acts_as_one() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let seen = admin.get("/v3/projects/default").await.json();
    assert_eq!(seen["project"]["is_domain"], true);
    assert_eq!(seen["project"]["domain_id"], Value::Null);
    assert_eq!(admin.names("/v3/projects?is_domain=True").await, ["Default"]);
    let body = json!({"project": {"name": "d", "is_domain": true}});
    let id = admin.made("/v3/projects", body).await;
    assert_eq!(admin.names("/v3/domains").await, ["Default", "d"]);
    let path = format!("/v3/projects/{id}");
    let disabled = admin.patch(&path, json!({"project": {"enabled": false}})).await;
    assert_eq!(disabled.json()["project"]["enabled"], false, "{}", disabled.text);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn what_is_immutable_stays_until_it_no_longer_is() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"project": {"name": "p", "options": {"immutable": true}}});
    let path = format!("/v3/projects/{}", admin.made("/v3/projects", body).await);
    let refused = admin.patch(&path, json!({"project": {"name": "q"}})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message().starts_with("Unable to update immutable project resource"));
    assert_eq!(admin.delete(&path).await.status, StatusCode::FORBIDDEN);
    let both = json!({"project": {"name": "q", "options": {"immutable": false}}});
    assert_eq!(admin.patch(&path, both).await.status, StatusCode::FORBIDDEN);
    let unlock = json!({"project": {"options": {"immutable": false}}});
    assert_eq!(admin.patch(&path, unlock).await.status, StatusCode::OK);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn a_domains_manager_sees_and_manages_that_domain_alone() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let domain = admin.made("/v3/domains", json!({"domain": {"name": "d"}})).await;
    let user = json!({"user": {"name": "boss", "password": "b", "domain_id": domain}});
    let user = admin.made("/v3/users", user).await;
    let role = admin.role("manager").await;
    let grant = format!("/v3/domains/{domain}/users/{user}/roles/{role}");
    assert_eq!(admin.put(&grant, None).await.status, StatusCode::NO_CONTENT);
    let login = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"id": user, "password": "b"}}},
        "scope": in_domain(&domain),
    }});
    let boss = Caller { node: &cloud.nodes[0], token: cloud.token(login).await };
    let project = json!({"project": {"name": "p", "domain_id": domain}});
    boss.made("/v3/projects", project).await;
    assert_eq!(boss.names("/v3/projects").await, ["p"]);
    assert_eq!(boss.names("/v3/users").await, ["boss"]);
    assert_eq!(boss.get(&format!("/v3/domains/{domain}")).await.status, StatusCode::OK);
    assert_eq!(boss.get("/v3/domains/default").await.status, StatusCode::FORBIDDEN);
    let elsewhere = json!({"project": {"name": "q", "domain_id": "default"}});
    assert_eq!(boss.post("/v3/projects", elsewhere).await.status, StatusCode::FORBIDDEN);
    let admins = admin.role("admin").await;
    let raise = format!("/v3/domains/{domain}/users/{user}/roles/{admins}");
    assert_eq!(boss.put(&raise, None).await.status, StatusCode::FORBIDDEN);
}
