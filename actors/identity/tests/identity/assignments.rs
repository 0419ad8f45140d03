//! Who may be what where: granting, asking, taking back, and the list of it all.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Caller, Cloud};

#[tokio::test(start_paused = true)]
async fn a_role_is_granted_checked_listed_and_taken_back_everywhere() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "reader").await;
    let admin = cloud.admin().await;
    let group = admin.made("/v3/groups", json!({"group": {"name": "ops"}})).await;
    let role = admin.role("manager").await;
    let places = [format!("projects/{}", demo.project), "domains/default".into(), "system".into()];
    for place in places {
        for who in [format!("users/{}", demo.id), format!("groups/{group}")] {
            let list = format!("/v3/{place}/{who}/roles");
            let path = format!("{list}/{role}");
            assert_eq!(admin.head(&path).await.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(admin.put(&path, None).await.status, StatusCode::NO_CONTENT, "{path}");
            assert_eq!(admin.put(&path, None).await.status, StatusCode::NO_CONTENT, "{path}");
            assert_eq!(admin.head(&path).await.status, StatusCode::NO_CONTENT, "{path}");
            assert_eq!(admin.get(&path).await.status, StatusCode::NO_CONTENT, "{path}");
            assert!(admin.names(&list).await.contains(&"manager".to_owned()), "{list}");
            assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT, "{path}");
            assert_eq!(admin.head(&path).await.status, StatusCode::NOT_FOUND, "{path}");
            let again = admin.delete(&path).await;
            assert_eq!(again.status, StatusCode::NOT_FOUND, "{path}");
            let start = format!("Could not find role assignment with role: {role}, user or group:");
            assert!(again.message().starts_with(&start), "{}", again.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_that_does_not_exist() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "reader").await;
    let admin = cloud.admin().await;
    let role = admin.role("member").await;
    let (user, project) = (&demo.id, &demo.project);
    let table = [
        (format!("projects/x/users/{user}/roles/{role}"), "project"),
        (format!("projects/{project}/users/x/roles/{role}"), "user"),
        (format!("projects/{project}/groups/x/roles/{role}"), "group"),
        (format!("projects/{project}/users/{user}/roles/x"), "role"),
        (format!("domains/x/users/{user}/roles/{role}"), "domain"),
        (format!("system/users/x/roles/{role}"), "user"),
    ];
    for (path, what) in table {
        let answer = admin.put(&format!("/v3/{path}"), None).await;
        assert_eq!(answer.message(), format!("Could not find {what}: x."), "{path}");
    }
}

async fn list(admin: &Caller<'_>, query: &str) -> Vec<Value> {
    let answer = admin.get(&format!("/v3/role_assignments?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["role_assignments"].as_array().expect("a list").clone()
}

#[tokio::test(start_paused = true)]
async fn assignments_are_listed_as_they_were_granted() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let admin = cloud.admin().await;
    let role = admin.role("member").await;
    let (user, project) = (&demo.id, &demo.project);
    let path = format!("http://localhost/v3/projects/{project}/users/{user}/roles/{role}");
    let expected = json!({
        "user": {"id": user},
        "scope": {"project": {"id": project}},
        "role": {"id": role},
        "links": {"assignment": path},
    });
    assert_eq!(list(&admin, &format!("user.id={user}")).await, [expected]);
    let domain = json!({"id": "default", "name": "Default"});
    let expected = json!({
        "user": {"id": user, "name": "demo", "domain": domain},
        "scope": {"project": {"id": project, "name": "demo", "domain": domain}},
        "role": {"id": role, "name": "member"},
        "links": {"assignment": path},
    });
    let query = format!("user.id={user}&include_names=True");
    assert_eq!(list(&admin, &query).await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn assignments_are_found_by_whom_what_and_where() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let other = cloud.user("other", "reader").await;
    let admin = cloud.admin().await;
    let member = admin.role("member").await;
    let count = async |query: &str| list(&admin, query).await.len();
    assert_eq!(count(&format!("scope.project.id={}", demo.project)).await, 1);
    assert_eq!(count(&format!("role.id={member}")).await, 1);
    assert_eq!(count(&format!("user.id={}&role.id={member}", other.id)).await, 0);
    assert_eq!(count("scope.system=all").await, 1);
    assert_eq!(count("scope.domain.id=default").await, 0);
    assert_eq!(count("").await, 8, "the administrator's two, the services' four, and these two");
    assert_eq!(count("scope.OS-INHERIT:inherited_to=projects").await, 0);
    let both = admin.get("/v3/role_assignments?user.id=a&group.id=b").await;
    assert_eq!(both.message(), "Specify a user or group, not both");
    let both = admin.get("/v3/role_assignments?scope.project.id=a&scope.domain.id=b").await;
    assert_eq!(both.message(), "Specify a domain or project, not both");
}

#[tokio::test(start_paused = true)]
async fn effective_assignments_are_those_of_users_with_all_that_is_implied() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "reader").await;
    let admin = cloud.admin().await;
    let group = admin.made("/v3/groups", json!({"group": {"name": "ops"}})).await;
    let role = admin.role("member").await;
    admin.put(&format!("/v3/projects/{}/groups/{group}/roles/{role}", demo.project), None).await;
    admin.put(&format!("/v3/groups/{group}/users/{}", demo.id), None).await;
    let granted = list(&admin, &format!("group.id={group}")).await;
    assert_eq!(granted[0]["group"]["id"], json!(group));
    let query = format!("effective&user.id={}&include_names", demo.id);
    let found = list(&admin, &query).await;
    let mut roles: Vec<&str> =
        found.iter().filter_map(|one| one["role"]["name"].as_str()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["member", "reader", "reader"]);
    assert!(found.iter().all(|one| one["user"]["name"] == "demo" && one.get("group").is_none()));
    let by_group = found.iter().find(|one| one["role"]["name"] == "member").expect("one");
    assert_eq!(
        by_group["links"]["membership"],
        format!("http://localhost/v3/groups/{group}/users/{}", demo.id)
    );
    let implied = found.iter().find(|one| one["links"].get("prior_role").is_some());
    assert_eq!(implied.expect("one")["role"]["name"], "reader");
    let useless = admin.get(&format!("/v3/role_assignments?effective&group.id={group}")).await;
    assert_eq!(useless.status, StatusCode::BAD_REQUEST);
}
