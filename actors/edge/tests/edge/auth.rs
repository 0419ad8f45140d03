//! Tokens in headers, rules, and the project in the path.

use axum::{Router, body::Body, http::StatusCode, routing::get as on_get};
use serde_json::json;
use std::sync::Arc;
use updraft_edge::{
    policy::own,
    rest::{Auth, Edge, EdgeConfig, Service, ServiceError},
    verify::Verifier,
};
use updraft_protocol::identity::{AuthContext, Scope};

use crate::fixture::*;

/// A service that answers with the name of whoever asks.
fn whoami(service: Service) -> Router {
    let name = async |auth: Auth| auth.principal.user.name.clone();
    app(service, Router::new().route("/me", on_get(name)))
}

#[tokio::test]
async fn a_good_token_lets_a_request_through() {
    for service in SERVICES {
        let answer = get(&whoami(service), &format!("{}/me", api(service))).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "demo"), "{service:?}");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let mut altered = token();
    altered.replace_range(20..21, if &altered[20..21] == "A" { "B" } else { "A" });
    for service in SERVICES {
        let app = whoami(service);
        let path = format!("{}/me", api(service));
        let mut answers = Vec::new();
        for token in [None, Some(""), Some("x"), Some(&altered), Some(&expired_token())] {
            let ask = request("GET", &path);
            let ask =
                token.map_or(request("GET", &path), |token| ask.header("x-auth-token", token));
            answers.push(send(&app, ask, Body::empty()).await);
        }
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{service:?}");
            let challenge = Some("Keystone uri=\"http://cloud:8080/identity\"");
            assert_eq!(answer.header("www-authenticate"), challenge);
            assert_eq!(
                answer.json(),
                json!({"error": {
                    "code": 401,
                    "title": "Unauthorized",
                    "message": "The request you have made requires authentication.",
                }})
            );
            let names = |a: &Answer| a.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(names(answer), names(&answers[0]), "{service:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_ascii_is_refused() {
    let ask = request("GET", "/v2.1/me").header("x-auth-token", [0xff_u8, 0x41].as_slice());
    let answer = send(&whoami(Service::Compute), ask, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_token_nobody_learns_which_paths_there_are() {
    let app = whoami(Service::Compute);
    for path in ["/v2.1/me", "/v2.1/nothing"] {
        let answer = send(&app, request("GET", path), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn public_routes_need_no_token() {
    let edge = Edge::new(config(Service::Identity));
    let public = Router::new().route("/auth/tokens", on_get(async || "anybody"));
    let app = edge.mount(public, Router::new());
    let answer = send(&app, request("GET", "/v3/auth/tokens"), Body::empty()).await;
    assert_eq!(answer.text, "anybody");
}

#[tokio::test]
async fn a_route_may_have_public_and_protected_methods() {
    let edge = Edge::new(config(Service::Identity));
    let public = Router::new().route("/auth/tokens", axum::routing::post(async || "anybody"));
    let protected = Router::new().route("/auth/tokens", on_get(async || "somebody"));
    let app = edge.mount(public, protected);
    let path = "/v3/auth/tokens";
    assert_eq!(send(&app, request("POST", path), Body::empty()).await.text, "anybody");
    let answer = send(&app, request("GET", path), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&app, path).await.text, "somebody");
}

#[tokio::test]
async fn a_401_of_a_handler_gets_the_challenge_too() {
    let edge = Edge::new(config(Service::Identity));
    let refuse = async || Err::<(), ServiceError>(Service::Identity.unauthorized());
    let app = edge.mount(Router::new().route("/auth/tokens", on_get(refuse)), Router::new());
    let answer = send(&app, request("GET", "/v3/auth/tokens"), Body::empty()).await;
    assert!(answer.header("www-authenticate").is_some());
}

#[tokio::test]
async fn a_service_carries_an_expired_token_through() {
    let app = whoami(Service::Network);
    let ask = |service_token: String| {
        request("GET", "/v2.0/me")
            .header("x-auth-token", expired_token())
            .header("x-service-token", service_token)
    };
    let answer = send(&app, ask(service_token()), Body::empty()).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "demo"));
    for not_a_service in [token(), String::new(), expired_token()] {
        let answer = send(&app, ask(not_a_service), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_bad_service_token_spoils_a_good_token() {
    let ask = with_token("GET", "/v2.0/me").header("x-service-token", "x");
    let answer = send(&whoami(Service::Network), ask, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_node_that_knows_nothing_yet_asks_to_come_back() {
    let config = EdgeConfig { verifier: Arc::new(Verifier::new()), ..config(Service::Compute) };
    let app = Edge::new(config).mount(Router::new(), Router::new());
    let answer = get(&app, "/v2.1/me").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn what_inner_calls_carry_is_the_token_its_principal_and_the_request() {
    let carried = async |auth: Auth| auth.context().encode().expect("small");
    let app = app(Service::Compute, Router::new().route("/me", on_get(carried)));
    // Bytes that happen to be text: the context holds ids, names and a token.
    let ask = with_token("GET", "/v2.1/me").body(Body::empty()).expect("a request");
    let Ok(response) = tower::ServiceExt::oneshot(app, ask).await;
    let request_id =
        response.headers()["x-openstack-request-id"].to_str().expect("text").to_owned();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body");
    let context = AuthContext::decode(&body.to_bytes()).expect("a context");
    assert_eq!(context.request_id, request_id);
    assert!(matches!(context.principal.scope, Scope::Project(_)));
    assert!(verifier().verify_context(&context, NOW, false).is_ok());
}

/// A service whose one route asks this rule about the caller's own project.
fn ruled(service: Service, rule: &'static str) -> Router {
    let edge = Edge::new(config(service));
    let enforcer = edge.enforcer();
    let ask = async move |auth: Auth| -> Result<&'static str, ServiceError> {
        enforcer.enforce(&auth, rule, &own(&auth.principal))?;
        Ok("allowed")
    };
    edge.mount(Router::new(), Router::new().route("/thing", on_get(ask)))
}

#[tokio::test]
async fn a_rule_that_does_not_let_pass_is_named_in_the_services_words() {
    let table = [
        (
            Service::Identity,
            "You are not authorized to perform the requested action: thing:create.",
        ),
        (Service::Compute, "Policy doesn't allow thing:create to be performed."),
        (Service::Image, "You are not authorized to complete thing:create action."),
        (Service::Network, "rule:thing:create is disallowed by policy"),
        (Service::Volume, "Policy doesn't allow thing:create to be performed."),
    ];
    for (service, words) in table {
        let path = format!("{}/thing", api(service));
        let ask = with_token("GET", &path).header("accept", "application/json");
        let answer = send(&ruled(service, "thing:create"), ask, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{service:?}");
        assert!(answer.text.contains(words), "{service:?}: {}", answer.text);
        let allowed = get(&ruled(service, "thing:list"), &path).await;
        assert_eq!(allowed.text, "allowed", "{service:?}");
    }
}

#[tokio::test]
async fn a_rule_can_ask_for_the_service_that_relays() {
    let app = ruled(Service::Volume, "thing:relay");
    assert_eq!(get(&app, "/v3/thing").await.status, StatusCode::FORBIDDEN);
    let ask = with_token("GET", "/v3/thing").header("x-service-token", service_token());
    assert_eq!(send(&app, ask, Body::empty()).await.text, "allowed");
}

#[tokio::test]
async fn a_project_in_the_path_must_be_the_tokens() {
    for (service, prefixes) in
        [(Service::Compute, ["/v2.1", "/v2"]), (Service::Volume, ["/v3", "/v3"])]
    {
        for prefix in prefixes {
            let app = whoami(service);
            let own = get(&app, &format!("{prefix}/{PROJECT}/me?a=b")).await;
            assert_eq!((own.status, own.text.as_str()), (StatusCode::OK, "demo"));
            let other = get(&app, &format!("{prefix}/{OTHER_PROJECT}/me")).await;
            assert_eq!(other.status, StatusCode::BAD_REQUEST);
            assert!(other.text.contains("Malformed request"), "{}", other.text);
        }
    }
    let words = get(&whoami(Service::Compute), &format!("/v2.1/{OTHER_PROJECT}/me")).await;
    assert_eq!(
        words.json()["badRequest"]["message"],
        format!(
            "Malformed request URL: URL's project_id '{OTHER_PROJECT}' doesn't match Context's \
             project_id '{PROJECT}'"
        )
    );
}
