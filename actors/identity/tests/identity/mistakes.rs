//! What a client's mistake gets: the status and the words, and nothing that helps an intruder.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};

use crate::support::{
    Caller, Cloud, PASSWORD, by_token, in_domain, in_project, on_system, password,
};

const REFUSED: &str = r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}"#;

#[tokio::test(start_paused = true)]
async fn nobody_can_tell_why_a_login_failed() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    cloud.user("off", "member").await;
    let admin = cloud.admin().await;
    let off = admin.get("/v3/users?name=off").await.json()["users"][0]["id"].clone();
    let path = format!("/v3/users/{}", off.as_str().expect("an id"));
    admin.patch(&path, json!({"user": {"enabled": false}})).await;
    let mut altered = demo.caller.token.clone();
    altered.replace_range(60..61, if &altered[60..61] == "A" { "B" } else { "A" });
    let by = |identity: Value| json!({"auth": {"identity": identity}});
    let table = [
        ("a wrong password", password("demo", "wrong", in_project("demo"))),
        ("an unknown user", password("nobody", "demo", in_project("demo"))),
        ("a disabled user", password("off", "off", Value::Null)),
        ("a user without a password", password("glance", "", Value::Null)),
        ("an unknown project", password("demo", "demo", in_project("nowhere"))),
        ("a project without a role", password("demo", "demo", in_project("admin"))),
        ("a domain without a role", password("demo", "demo", in_domain("default"))),
        ("an unknown domain", password("demo", "demo", in_domain("nowhere"))),
        ("no role on the system", password("demo", "demo", on_system())),
        ("an altered token", by_token(&altered, in_project("demo"))),
        ("no token at all", by_token("nonsense", Value::Null)),
        (
            "a method that is not supported",
            by(json!({"methods": ["totp"], "totp": {"user": {"id": demo.id, "passcode": "1"}}})),
        ),
        (
            "a user of an unknown domain",
            by(json!({"methods": ["password"], "password": {"user": {
                "name": "demo", "password": "demo", "domain": {"id": "nowhere"},
            }}})),
        ),
        (
            "an unknown id",
            by(json!({"methods": ["password"], "password": {"user": {
                "id": "0", "password": "demo",
            }}})),
        ),
    ];
    for (what, body) in table {
        let answer = cloud.nodes[0].authenticate(body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(answer.text, REFUSED, "{what}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Keystone uri=\"http://localhost/identity\""), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_good_token_is_refused_in_the_same_words() {
    let cloud = Cloud::new().await;
    for token in ["", "nonsense", "gAAAAABndIWA", "ü"] {
        let caller = Caller { node: &cloud.nodes[0], token: token.to_owned() };
        let answer = caller.get("/v3/users").await;
        assert_eq!((answer.status, &*answer.text), (StatusCode::UNAUTHORIZED, REFUSED), "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_makes_no_sense_is_told_where() {
    let cloud = Cloud::new().await;
    let user = |user: Value| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    let scope = |scope: Value| password("admin", PASSWORD, scope);
    let expecting = |what: &str, at: &str| {
        format!(
            "Expecting to find {what} in {at}. The server could not comply with the request since \
             it is either malformed or otherwise incorrect. The client is assumed to be in error."
        )
    };
    let table = [
        (json!({}), expecting("auth", "request body")),
        (
            json!({"auth": {"identity": {"methods": ["password"]}}}),
            expecting("password", "identity"),
        ),
        (json!({"auth": {"identity": {"methods": ["token"]}}}), expecting("token", "identity")),
        (user(json!({"name": "x", "password": "x"})), expecting("domain", "user")),
        (
            user(json!({"password": "x"})),
            "Invalid input for field identity/password/user: id or name must be present."
                .to_owned(),
        ),
        (
            scope(json!({"project": {}})),
            "Invalid input for field scope/project: id or name must be present.".to_owned(),
        ),
        (
            scope(json!({"project": {"id": "x"}, "domain": {"id": "x"}})),
            expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope"),
        ),
        (
            scope(json!("somewhere")),
            expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope"),
        ),
    ];
    for (body, message) in table {
        let answer = cloud.nodes[0].authenticate(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.message(), message, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_of_the_wrong_type_is_named_and_a_password_never_shown() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let table = [
        ("/v3/projects", json!({"project": {"name": 5}}), "project.name"),
        ("/v3/projects", json!({"project": {"name": ""}}), "project.name"),
        ("/v3/projects", json!({"project": {"name": "x", "enabled": "maybe"}}), "project.enabled"),
        ("/v3/projects", json!({"project": {"name": "x", "tags": ["a", "a"]}}), "project.tags"),
        ("/v3/users", json!({"user": {"name": "x", "password": 123_456}}), "user.password"),
        ("/v3/users", json!({"user": {"name": "x", "domain_id": "a/b"}}), "user.domain_id"),
        ("/v3/roles", json!({"role": {"name": "x".repeat(256)}}), "role.name"),
        ("/v3/endpoints", json!({"endpoint": {"interface": "secret"}}), "endpoint.interface"),
        ("/v3/services", json!({"service": {"type": []}}), "service.type"),
        ("/v3/groups", json!({"group": []}), "group"),
    ];
    for (path, body, field) in table {
        let answer = admin.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.text);
        assert!(answer.message().contains(&format!("'{field}'")), "{body}: {}", answer.text);
        assert!(!answer.text.contains("123456"), "{}", answer.text);
    }
    let missing = admin.post("/v3/projects", json!({"project": {}})).await;
    assert!(missing.message().contains("'name' is a required property"), "{}", missing.text);
    let extra = admin.post("/v3/users", json!({"user": {"name": "x"}, "and": 1})).await;
    assert_eq!(extra.status, StatusCode::BAD_REQUEST);
    assert!(extra.message().contains("'and' was unexpected"), "{}", extra.text);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_json_or_too_large_is_refused() {
    let cloud = Cloud::new().await;
    let post = |kind: &str, body: String| {
        Request::post("/v3/auth/tokens").header("content-type", kind).body(Body::from(body))
    };
    for body in ["", "{", "[]", "5", "null", "\u{0}"] {
        let request = post("application/json", body.to_owned()).expect("a request");
        assert_eq!(cloud.send(request).await.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    let request = post("text/xml", "<auth/>".to_owned()).expect("a request");
    assert_eq!(cloud.send(request).await.status, StatusCode::BAD_REQUEST);
    let request = post("application/json", "x".repeat(200_000)).expect("a request");
    assert_eq!(cloud.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_right_is_told_the_rule() {
    let cloud = Cloud::new().await;
    let demo = cloud.user("demo", "member").await;
    let table = [
        ("POST", "/v3/projects", json!({"project": {"name": "x"}}), "create_project"),
        ("POST", "/v3/domains", json!({"domain": {"name": "x"}}), "create_domain"),
        ("POST", "/v3/users", json!({"user": {"name": "x"}}), "create_user"),
        ("POST", "/v3/groups", json!({"group": {"name": "x"}}), "create_group"),
        ("POST", "/v3/roles", json!({"role": {"name": "x"}}), "create_role"),
        ("POST", "/v3/regions", json!({"region": {"id": "x"}}), "create_region"),
        ("POST", "/v3/services", json!({"service": {"type": "x"}}), "create_service"),
        ("GET", "/v3/users", Value::Null, "list_users"),
        ("GET", "/v3/projects", Value::Null, "list_projects"),
        ("GET", "/v3/role_assignments", Value::Null, "list_role_assignments"),
        ("GET", "/v3/services", Value::Null, "list_services"),
        ("GET", "/v3/endpoints", Value::Null, "list_endpoints"),
        ("GET", "/v3/roles", Value::Null, "list_roles"),
        ("DELETE", "/v3/domains/default", Value::Null, "delete_domain"),
        ("GET", "/v3/users/nobody", Value::Null, "get_user"),
        ("DELETE", "/v3/projects/nowhere", Value::Null, "delete_project"),
    ];
    for (method, path, body, rule) in table {
        let body = (!body.is_null()).then_some(body);
        let answer = demo.caller.call(method, path, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {}", answer.text);
        let message =
            format!("You are not authorized to perform the requested action: identity:{rule}.");
        assert_eq!(answer.message(), message, "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_named() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    for (collection, what) in [
        ("domains", "domain"),
        ("projects", "project"),
        ("users", "user"),
        ("groups", "group"),
        ("roles", "role"),
        ("regions", "region"),
        ("services", "service"),
    ] {
        let path = format!("/v3/{collection}/my-thing");
        for method in ["GET", "DELETE"] {
            let answer = admin.call(method, &path, None).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(answer.message(), format!("Could not find {what}: my-thing."));
        }
        let answer = admin.patch(&path, json!({ what: {"description": "x"} })).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "PATCH {path}: {}", answer.text);
    }
    let answer = admin.get("/v3/endpoints/my-thing").await;
    assert_eq!(answer.message(), "Could not find endpoint: my-thing.");
    assert_eq!(admin.get("/v3/nonsense").await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.put("/v3/users", None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_told_in_keystones_words() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin().await;
    let conflict = |what: &str, details: String| {
        format!("Conflict occurred attempting to store {what} - {details}.")
    };
    let twice = async |path: &str, body: Value| {
        admin.post(path, body.clone()).await;
        let answer = admin.post(path, body).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{path}");
        answer.message()
    };
    assert_eq!(
        twice("/v3/users", json!({"user": {"name": "u"}})).await,
        conflict("user", "Duplicate entry found with name u at domain ID default".to_owned())
    );
    assert_eq!(
        twice("/v3/groups", json!({"group": {"name": "g"}})).await,
        conflict("group", "Duplicate entry found with name g at domain ID default".to_owned())
    );
    assert_eq!(
        twice("/v3/roles", json!({"role": {"name": "member"}})).await,
        conflict("role", "Duplicate entry found with name member".to_owned())
    );
    assert_eq!(
        twice("/v3/regions", json!({"region": {"id": "r"}})).await,
        conflict("region", "Duplicate ID, r.".to_owned())
    );
    assert_eq!(
        twice("/v3/domains", json!({"domain": {"name": "d"}})).await,
        conflict(
            "project",
            "it is not permitted to have two projects acting as domains with the same name: d"
                .to_owned()
        )
    );
    let message = twice("/v3/projects", json!({"project": {"name": "p"}})).await;
    let start = "Conflict occurred attempting to store project - it is not permitted to have two \
                 projects with either the same name or same id in the same domain: name is p, \
                 project id ";
    assert!(message.starts_with(start), "{message}");
}
