//! Bodies and queries, and what a mistake in them gets.

use axum::{Json, Router, body::Body, http::StatusCode, routing::post};
use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_edge::rest::{Edge, EdgeConfig, JsonBody, Query, Service, from_value, parse};
use updraft_runtime::env::UnixMicros;

use crate::fixture::*;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    server: Server,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    name: String,
    #[serde(default)]
    networks: Vec<Network>,
    #[serde(default)]
    admin_pass: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Network {
    uuid: String,
    port: Option<u16>,
}

fn echo(service: Service) -> Router {
    let echo = async |JsonBody(wish): JsonBody<Wish>| Json(wish);
    app(service, Router::new().route("/servers", post(echo)))
}

async fn answer_to(service: Service, body: impl Into<Body>) -> Answer {
    let ask = with_token("POST", &format!("{}/servers", api(service)));
    send(&echo(service), ask.header("content-type", "application/json"), body).await
}

/// The message of an error in any service's format.
fn message(answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let fault = json.as_object().and_then(|object| object.values().next()).cloned();
    fault.unwrap_or_default()["message"].as_str().unwrap_or(&answer.text).to_owned()
}

#[tokio::test]
async fn a_good_body_is_read() {
    let wish = json!({"server": {"name": "a", "networks": [{"uuid": "n", "port": null}],
        "admin_pass": null}});
    for service in SERVICES {
        let answer = answer_to(service, wish.to_string()).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, wish.clone()), "{service:?}");
    }
}

#[tokio::test]
async fn a_wrong_field_is_named_with_what_is_wrong() {
    let table = [
        (json!({"server": {}}), "server", "'name' is a required property"),
        (
            json!({"server": {"name": 5}}),
            "server.name. Value: 5.",
            "a number where a string belongs",
        ),
        (
            json!({"server": {"name": "a", "networks": [{"uuid": "n"}, {"uuid": "n", "port": -1}]}}),
            "server.networks[1].port. Value: -1.",
            "-1 where an integer from 0 to 65535 belongs",
        ),
        (
            json!({"server": {"name": "a", "colour": "red"}}),
            "server",
            "Additional properties are not allowed ('colour' was unexpected)",
        ),
        (json!({"server": ["a"]}), "server. Value: an array", "an array where an object belongs"),
        (json!([]), "body. Value: an array", "an array where an object belongs"),
        (json!(null), "body. Value: null", "null where an object belongs"),
        (
            json!({"server": {"name": "a", "networks": "none"}}),
            "server.networks",
            "a string where an array belongs",
        ),
    ];
    for (body, path, reason) in table {
        let answer = answer_to(Service::Compute, body.to_string()).await;
        let message = message(&answer);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(message.contains(&format!("field/attribute {path}")), "{body}: {message}");
        assert!(message.contains(reason), "{body}: {message}");
        assert!(!message.contains("struct"), "{body}: {message}");
    }
}

#[tokio::test]
async fn every_service_names_the_field_in_its_own_words() {
    let body = json!({"server": {"name": 5}}).to_string();
    let table = [
        (Service::Identity, "Invalid input for field 'server.name': a number where a string"),
        (Service::Image, "Provided object does not match schema: server.name: a number where"),
        (
            Service::Network,
            "Invalid input for server.name. Reason: a number where a string belongs.",
        ),
        (Service::Volume, "Invalid input for field/attribute server.name. Value: 5. a number"),
    ];
    for (service, words) in table {
        let message = message(&answer_to(service, body.clone()).await);
        assert!(message.contains(words), "{service:?}: {message}");
    }
}

#[tokio::test]
async fn a_secret_is_not_repeated() {
    let body = json!({"server": {"name": "a", "admin_pass": 12345}}).to_string();
    let message = message(&answer_to(Service::Compute, body).await);
    assert!(message.contains("admin_pass. Value: ***.") && !message.contains("12345"), "{message}");
}

#[tokio::test]
async fn what_is_no_json_is_refused_in_the_services_words() {
    let table = [
        (Service::Identity, "Expecting to find valid JSON in request body"),
        (Service::Compute, "Malformed request body"),
        (Service::Image, "Malformed JSON in request body"),
        (Service::Network, "Body contains invalid data"),
        (Service::Volume, "Malformed request body"),
    ];
    for (service, words) in table {
        for body in ["", "{", "{\"server\": }", "not JSON", "\u{0}", "{}{}"] {
            let answer = answer_to(service, body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{service:?} {body:?}");
            assert!(message(&answer).contains(words), "{service:?} {body:?}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let answer = answer_to(Service::Compute, "[".repeat(100_000)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_announced_or_not() {
    for service in SERVICES {
        let config = EdgeConfig { json_body_max_bytes: 100, ..config(service) };
        let echo = async |JsonBody(wish): JsonBody<Value>| Json(wish);
        let app =
            Edge::new(config).mount(Router::new(), Router::new().route("/servers", post(echo)));
        let path = format!("{}/servers", api(service));
        let fits = format!("\"{}\"", "x".repeat(98));
        let over = format!("\"{}\"", "x".repeat(99));
        assert_eq!(send(&app, with_token("POST", &path), fits).await.status, StatusCode::OK);
        let announced = send(&app, with_token("POST", &path), over.clone()).await;
        let chunk = Ok::<_, std::io::Error>(Bytes::from(over));
        let streamed = Body::from_stream(stream::iter([chunk]));
        let unannounced = send(&app, with_token("POST", &path), streamed).await;
        for answer in [announced, unannounced] {
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{service:?}");
            assert!(answer.text.contains("The limit is 100 bytes."), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let broken = [Ok(Bytes::from("{\"se")), Err(std::io::Error::other("gone"))];
    let answer = answer_to(Service::Compute, Body::from_stream(stream::iter(broken))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let endless = stream::pending::<Result<Bytes, std::io::Error>>();
    let answer = answer_to(Service::Compute, Body::from_stream(endless)).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_wrong_type_of_content_is_refused_as_each_service_does_it() {
    let body = json!({"server": {"name": "a"}}).to_string();
    let table = [
        (Service::Identity, "text/plain", StatusCode::BAD_REQUEST),
        (Service::Identity, "application/json; charset=utf-8", StatusCode::OK),
        (Service::Compute, "application/x-www-form-urlencoded", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Service::Compute, "application/vnd.openstack.compute+json", StatusCode::OK),
        (Service::Compute, "text/plain", StatusCode::OK),
        (Service::Image, "text/xml", StatusCode::OK),
        (Service::Network, "text/xml", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Service::Volume, "text/xml", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ];
    for (service, kind, status) in table {
        let ask = with_token("POST", &format!("{}/servers", api(service)));
        let answer = send(&echo(service), ask.header("content-type", kind), body.clone()).await;
        assert_eq!(answer.status, status, "{service:?} {kind}");
    }
}

#[test]
fn a_query_gives_what_it_holds() {
    let query = Query::parse(Service::Network, "fields=id&fields=name&limit=7&shared=True&q=a%20b");
    assert_eq!(query.all("fields").collect::<Vec<_>>(), ["id", "name"]);
    assert_eq!(query.number::<u32>("limit").expect("a number"), Some(7));
    assert_eq!(query.flag("shared").expect("a flag"), Some(true));
    assert_eq!((query.get("q"), query.get("none")), (Some("a b"), None));
    assert_eq!(query.with("fields", None), "limit=7&shared=True&q=a+b");
    assert!(query.only(&["fields", "limit", "shared", "q"]).is_ok());
    let since = Query::parse(Service::Compute, "changes-since=2025-01-01T00:00:00Z");
    assert_eq!(since.time("changes-since").expect("a time"), Some(UnixMicros(NOW.0)));
}

#[test]
fn a_wrong_parameter_is_named() {
    let query = Query::parse(Service::Compute, "limit=many&deleted=perhaps&since=then&colour=red");
    let message = |error: updraft_edge::rest::ServiceError| error.message().to_owned();
    let words = message(query.number::<u32>("limit").expect_err("no number"));
    assert_eq!(
        words,
        "Invalid input for query parameters limit. Value: many. 'many' is not an integer"
    );
    assert!(message(query.flag("deleted").expect_err("no flag")).contains("deleted"));
    assert!(message(query.time("since").expect_err("no time")).contains("since"));
    let words = message(query.only(&["limit", "deleted", "since"]).expect_err("unknown"));
    assert_eq!(words, "Additional properties are not allowed ('colour' was unexpected)");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
    ];
    let names = prop_oneof![
        Just("server"),
        Just("name"),
        Just("networks"),
        Just("uuid"),
        Just("port"),
        Just("x"),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let pairs = proptest::collection::vec((names.clone(), inner.clone()), 0..4);
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            pairs.prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_with_400(
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        for service in SERVICES {
            if let Err(error) = parse::<Wish>(service, &body) {
                prop_assert_eq!(error.status(), StatusCode::BAD_REQUEST);
            }
        }
    }

    #[test]
    fn any_json_is_read_or_refused_with_a_message(body in any_json()) {
        if let Err(error) = from_value::<Wish>(Service::Compute, &body) {
            prop_assert_eq!(error.status(), StatusCode::BAD_REQUEST);
            prop_assert!(error.message().starts_with("Invalid input for field/attribute "));
            prop_assert!(!error.message().contains("struct "), "{}", error.message());
        }
    }

    #[test]
    fn any_query_is_read(text in "\\PC*") {
        let query = Query::parse(Service::Compute, &text);
        let _ = (query.number::<i64>("a"), query.flag("a"), query.time("a"), query.with("a", None));
    }
}
