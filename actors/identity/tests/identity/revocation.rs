//! What makes tokens void, and from when on.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Cloud, PASSWORD, by_token, in_project, password};

#[tokio::test(start_paused = true)]
async fn a_deleted_token_is_void_at_once_and_its_siblings_are_not() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let sibling = cloud.token(by_token(&demo.caller.token, in_project("demo"))).await;
    let admin = cloud.admin().await;
    let node = &cloud.nodes[0];
    let deleted = demo.caller.about("DELETE", "/v3/auth/tokens", &demo.caller.token).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert!(!node.accepts(&demo.caller.token));
    assert!(node.accepts(&sibling));
    let path = format!("/v3/users/{}", demo.id);
    assert_eq!(demo.caller.get(&path).await.status, StatusCode::UNAUTHORIZED);
    let seen = admin.about("GET", "/v3/auth/tokens", &demo.caller.token).await;
    assert_eq!(seen.status, StatusCode::NOT_FOUND);
    let again = admin.about("DELETE", "/v3/auth/tokens", &demo.caller.token).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let expired = admin.about("GET", "/v3/auth/tokens?allow_expired=1", &demo.caller.token).await;
    assert_eq!(expired.status, StatusCode::NOT_FOUND);
    let reborn = node.authenticate(by_token(&demo.caller.token, in_project("demo"))).await;
    assert_eq!(reborn.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn nobody_deletes_the_token_of_another() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let other = cloud.user("other", "member").await;
    let denied = other.caller.about("DELETE", "/v3/auth/tokens", &demo.caller.token).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert!(cloud.nodes[0].accepts(&demo.caller.token));
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_user_project_and_domain_happens_to_their_tokens() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let domain = admin.made("/v3/domains", json!({"domain": {"name": "d"}})).await;
    let project = json!({"project": {"name": "p", "domain_id": domain}});
    let project = admin.made("/v3/projects", project).await;
    let user = json!({"user": {"name": "u", "password": "u", "domain_id": domain}});
    let user = admin.made("/v3/users", user).await;
    let role = admin.role("member").await;
    let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
    admin.put(&grant, None).await;
    let login = |secret: &str| {
        json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"id": user, "password": secret}}},
            "scope": {"project": {"id": project}},
        }})
    };
    let (users, projects, domains) = (
        format!("/v3/users/{user}"),
        format!("/v3/projects/{project}"),
        format!("/v3/domains/{domain}"),
    );
    let enabled = |what: &str, enabled: bool| json!({ what: {"enabled": enabled} });
    let table: [(&str, &str, Value, Value); 4] = [
        ("its user is disabled", &users, enabled("user", false), enabled("user", true)),
        ("its project is disabled", &projects, enabled("project", false), enabled("project", true)),
        ("its domain is disabled", &domains, enabled("domain", false), enabled("domain", true)),
        (
            "its user's password is changed",
            &users,
            json!({"user": {"password": "v"}}),
            json!({"user": {"password": "u"}}),
        ),
    ];
    let node = &cloud.nodes[0];
    for (what, path, change, back) in table {
        let before = cloud.token(login("u")).await;
        assert_eq!(admin.patch(path, change).await.status, StatusCode::OK, "{what}");
        assert!(!node.accepts(&before), "{what}");
        assert_eq!(node.authenticate(login("u")).await.status, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(admin.patch(path, back).await.status, StatusCode::OK, "{what}");
        assert!(!node.accepts(&before), "{what} and all is as it was");
        let after = cloud.token(login("u")).await;
        assert!(node.accepts(&after), "after {what}, in the same second");
    }
    let before = cloud.token(login("u")).await;
    assert_eq!(admin.delete(&grant).await.status, StatusCode::NO_CONTENT);
    assert!(!node.accepts(&before), "its role is taken away");
    admin.put(&grant, None).await;
    assert!(node.accepts(&before), "a role that is given back is had again");
    assert_eq!(admin.delete(&users).await.status, StatusCode::NO_CONTENT);
    assert!(!node.accepts(&before), "its user is deleted");
}

#[tokio::test(start_paused = true)]
async fn two_revocations_in_one_second_leave_no_gap_between_them() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let admin = cloud.admin().await;
    let path = format!("/v3/users/{}", demo.id);
    let mut last = String::new();
    for n in 0..5 {
        let secret = format!("password {n}");
        admin.patch(&path, json!({"user": {"password": secret}})).await;
        assert!(last.is_empty() || !cloud.nodes[0].accepts(&last), "round {n}");
        last = cloud.token(password("demo", &secret, in_project("demo"))).await;
        assert!(cloud.nodes[0].accepts(&last), "round {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_takes_nothing_away_leaves_tokens_alone() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let admin = cloud.admin().await;
    let user = format!("/v3/users/{}", demo.id);
    admin.patch(&user, json!({"user": {"name": "renamed", "enabled": true}})).await;
    admin.patch(&format!("/v3/projects/{}", demo.project), json!({"project": {"name": "x"}})).await;
    let seen = demo.caller.about("GET", "/v3/auth/tokens", &demo.caller.token).await.json();
    assert_eq!(seen["token"]["user"]["name"], "renamed");
    assert_eq!(seen["token"]["project"]["name"], "x");
}

#[tokio::test(start_paused = true)]
async fn beginning_again_changes_nothing_but_a_password_that_was_forgotten() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let identity = cloud.nodes[0].identity.clone().expect("identity");
    let version = cloud.nodes[0].verifier.snapshot().version;
    identity.bootstrap(&crate::support::bootstrap()).await.expect("begun again");
    assert_eq!(cloud.nodes[0].verifier.snapshot().version, version, "nothing was written");
    assert!(cloud.nodes[0].accepts(&admin.token));
    let mut config = crate::support::bootstrap();
    config.admin_password = "another".to_owned();
    config.catalog[0].public_url = "http://elsewhere/identity".to_owned();
    identity.bootstrap(&config).await.expect("begun again");
    assert!(!cloud.nodes[0].accepts(&admin.token));
    let login = async |secret: &str| {
        cloud.nodes[0].authenticate(password("admin", secret, in_project("admin"))).await
    };
    assert_eq!(login(PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    let answer = login("another").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(answer.text.contains("http://elsewhere/identity"));
}
