//! Users and their passwords.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Cloud, in_project, password, posted};

#[tokio::test(start_paused = true)]
async fn a_user_is_made_shown_changed_and_deleted() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"user": {
        "name": " jo ", "password": "s", "email": "jo@example.org", "enabled": true, "description": "x",
    }});
    let made = admin.post("/v3/users", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let user = &made.json()["user"];
    let id = user["id"].as_str().expect("an id");
    assert_eq!(
        *user,
        json!({
            "id": id, "name": "jo", "domain_id": "default", "enabled": true, "options": {},
            "password_expires_at": null, "email": "jo@example.org", "description": "x",
            "links": {"self": format!("http://localhost/v3/users/{id}")},
        })
    );
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let path = format!("/v3/users/{id}");
    assert_eq!(admin.get(&path).await.json()["user"], *user);
    let change =
        json!({"user": {"name": "joe", "email": null, "default_project_id": "p", "age": 5}});
    let changed = admin.patch(&path, change).await.json();
    assert_eq!(changed["user"]["name"], "joe");
    assert_eq!(changed["user"]["email"], Value::Null);
    assert_eq!(changed["user"]["default_project_id"], "p");
    assert_eq!(changed["user"]["age"], 5);
    assert_eq!(admin.get(&path).await.json()["user"], changed["user"]);
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.post("/v3/users", json!({"user": {"name": "joe"}})).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_gives_beside_the_known_never_takes_their_place() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"user": {
        "name": "x", "id": "mine", "links": 1, "password_expires_at": "never", "password_hash": "$",
    }});
    let user = admin.post("/v3/users", body).await.json()["user"].clone();
    assert_ne!(user["id"], "mine");
    assert_eq!(user["password_expires_at"], Value::Null);
    assert!(user["links"]["self"].is_string());
    let login = cloud.nodes[0].authenticate(password("x", "$", Value::Null)).await;
    assert_eq!(login.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn no_answer_holds_a_password_or_its_hash() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let body = json!({"user": {"name": "jo", "password": "hunter2hunter2"}});
    let made = admin.post("/v3/users", body).await;
    let listed = admin.get("/v3/users").await;
    for text in [&made.text, &listed.text] {
        assert!(!text.contains("hunter2") && !text.contains("argon2"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn users_are_found_by_name_domain_and_state() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let domain = admin.made("/v3/domains", json!({"domain": {"name": "other"}})).await;
    for (name, enabled) in [("ann", true), ("bob", false)] {
        let user = json!({"user": {"name": name, "domain_id": domain, "enabled": enabled}});
        admin.made("/v3/users", user).await;
    }
    let of_domain = format!("/v3/users?domain_id={domain}");
    assert_eq!(admin.names(&of_domain).await, ["ann", "bob"]);
    assert_eq!(admin.names(&format!("{of_domain}&enabled=true")).await, ["ann"]);
    assert_eq!(admin.names("/v3/users?name=bob").await, ["bob"]);
    assert_eq!(admin.names("/v3/users?name__istartswith=AD").await, ["admin"]);
    assert!(admin.names("/v3/users?name=nobody").await.is_empty());
    let all = admin.get("/v3/users").await.json();
    assert_eq!(all["links"]["self"], "http://localhost/v3/users");
    assert_eq!(all["links"]["next"], Value::Null);
    assert_eq!(all.get("truncated"), None);
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_in_pages_if_that_is_asked_for() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let all = admin.names("/v3/users").await;
    let (mut path, mut seen) = ("/v3/users?limit=2".to_owned(), Vec::new());
    loop {
        let page = admin.get(&path).await.json();
        let users = page["users"].as_array().expect("users").clone();
        assert!(users.len() <= 2);
        seen.extend(users.iter().filter_map(|user| user["name"].as_str().map(str::to_owned)));
        let Some(next) = page["links"]["next"].as_str() else { break };
        assert_eq!(page["truncated"], true);
        path = next.strip_prefix("http://localhost").expect("an address here").to_owned();
    }
    seen.sort();
    assert_eq!(seen, all);
}

#[tokio::test(start_paused = true)]
async fn the_own_password_is_changed_with_the_old_one_and_without_a_token() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let path = format!("/v3/users/{}/password", demo.id);
    let change = |old: &str| json!({"user": {"original_password": old, "password": "new"}});
    let wrong = cloud.send(posted(&path, &change("wrong"))).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let nobody = cloud.send(posted("/v3/users/nobody/password", &change("demo"))).await;
    assert_eq!((nobody.status, nobody.text), (wrong.status, wrong.text));
    let changed = cloud.send(posted(&path, &change("demo"))).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.text);
    let login = async |secret: &str| {
        let body = password("demo", secret, in_project("demo"));
        cloud.nodes[0].authenticate(body).await.status
    };
    assert_eq!(login("demo").await, StatusCode::UNAUTHORIZED);
    assert_eq!(login("new").await, StatusCode::CREATED);
    let missing = cloud.send(posted(&path, &json!({"user": {"password": "x"}}))).await;
    assert!(missing.message().contains("'original_password' is a required property"));
}

#[tokio::test(start_paused = true)]
async fn a_member_sees_the_own_user_and_no_other() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let other = cloud.user("other", "member").await;
    let own = demo.caller.get(&format!("/v3/users/{}", demo.id)).await;
    assert_eq!(own.json()["user"]["name"], "demo");
    let others = demo.caller.get(&format!("/v3/users/{}", other.id)).await;
    assert_eq!(others.status, StatusCode::FORBIDDEN);
    let own = demo.caller.names(&format!("/v3/users/{}/projects", demo.id)).await;
    assert_eq!(own, ["demo"]);
    let others = demo.caller.get(&format!("/v3/users/{}/projects", other.id)).await;
    assert_eq!(others.status, StatusCode::FORBIDDEN);
    let change = json!({"user": {"enabled": false}});
    let denied = demo.caller.patch(&format!("/v3/users/{}", demo.id), change).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn ids_and_domains_never_change() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let admin = cloud.admin().await;
    let path = format!("/v3/users/{}", demo.id);
    let change = async |field: &str, value: &str| {
        admin.patch(&path, json!({"user": { field: value }})).await
    };
    assert_eq!(change("id", "x").await.message(), "Cannot change user ID");
    assert_eq!(change("domain_id", "x").await.message(), "Cannot change Domain ID");
    assert_eq!(change("id", &demo.id).await.status, StatusCode::OK);
    let in_domain = change("default_project_id", "default").await;
    assert_eq!(in_domain.message(), "User's default project ID cannot be a domain ID: default");
    let nowhere = json!({"user": {"name": "x", "domain_id": "nowhere"}});
    let answer = admin.post("/v3/users", nowhere).await;
    assert_eq!(answer.message(), "Could not find domain: nowhere.");
}
