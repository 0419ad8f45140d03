//! What goes wrong, in each service's own format and words.

use axum::{
    Router, body::Body, extract::Path, http::StatusCode, response::Response, routing::get as on_get,
};
use serde_json::json;
use updraft_edge::rest::{Edge, Service, ServiceError};

use crate::fixture::*;

/// A service with one route that fails like this.
fn failing(service: Service, error: ServiceError) -> Router {
    app(service, Router::new().route("/thing", on_get(async move || Err::<(), _>(error.clone()))))
}

async fn failure(service: Service, error: ServiceError) -> Answer {
    get(&failing(service, error), &format!("{}/thing", api(service))).await
}

#[tokio::test]
async fn an_error_has_its_services_format() {
    let answer =
        async |service: Service| failure(service, service.not_found("No thing 7.")).await.json();
    assert_eq!(
        answer(Service::Identity).await,
        json!({"error": {"code": 404, "title": "Not Found", "message": "No thing 7."}})
    );
    assert_eq!(
        answer(Service::Cloud).await,
        json!({"error": {"code": 404, "title": "Not Found", "message": "No thing 7."}})
    );
    let fault = json!({"itemNotFound": {"code": 404, "message": "No thing 7."}});
    assert_eq!(answer(Service::Compute).await, fault);
    assert_eq!(answer(Service::Volume).await, fault);
    assert_eq!(
        answer(Service::Network).await,
        json!({"NeutronError": {"type": "HTTPNotFound", "message": "No thing 7.", "detail": ""}})
    );
}

#[tokio::test]
async fn image_answers_in_the_form_that_the_client_accepts() {
    let app = failing(Service::Image, Service::Image.not_found("No <image> 7."));
    let html = get(&app, "/v2/thing").await;
    assert_eq!(html.header("content-type"), Some("text/html; charset=UTF-8"));
    assert!(html.text.contains("<h1>404 Not Found</h1>\n  No &lt;image&gt; 7.<br />"));
    let ask = with_token("GET", "/v2/thing").header("accept", "application/json");
    let json = send(&app, ask, Body::empty()).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json()["title"], "Not Found");
    let ask = with_token("GET", "/v2/thing").header("accept", "text/plain");
    let plain = send(&app, ask, Body::empty()).await;
    assert_eq!(plain.status, StatusCode::NOT_FOUND);
    assert!(plain.text.starts_with("404 Not Found\n\nNo <image> 7."), "{}", plain.text);
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_in_the_services_form() {
    for service in [Service::Identity, Service::Compute, Service::Network, Service::Volume] {
        let show = async |Path(id): Path<String>| id;
        let app = app(service, Router::new().route("/things/{id}", on_get(show)));
        let answer = get(&app, &format!("{}/things/%ff", api(service))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json().is_object(), "{}", answer.text);
        assert!(answer.text.contains("Malformed request URL"), "{}", answer.text);
    }
}

#[tokio::test]
async fn every_status_has_its_fault_name() {
    let table = [
        (400, "badRequest"),
        (403, "forbidden"),
        (405, "badMethod"),
        (406, "computeFault"),
        (409, "conflictingRequest"),
        (413, "overLimit"),
        (415, "badMediaType"),
        (429, "overLimit"),
        (500, "computeFault"),
        (501, "notImplemented"),
        (503, "serviceUnavailable"),
    ];
    for (code, name) in table {
        let status = StatusCode::from_u16(code).expect("a status");
        let answer = failure(Service::Compute, Service::Compute.error(status, "No.")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json(), json!({name: {"code": code, "message": "No."}}));
    }
}

#[tokio::test]
async fn a_used_up_quota_is_told_as_each_service_tells_it() {
    let answer = async |service: Service| failure(service, service.over_quota("Full.")).await;
    let compute = answer(Service::Compute).await;
    assert_eq!(compute.json(), json!({"forbidden": {"code": 403, "message": "Full."}}));
    let network = answer(Service::Network).await;
    assert_eq!(network.status, StatusCode::CONFLICT);
    assert_eq!(network.json()["NeutronError"]["type"], "OverQuota");
    let volume = answer(Service::Volume).await;
    assert_eq!(volume.header("retry-after"), Some("0"));
    let fault = json!({"overLimit": {"code": 413, "message": "Full.", "retryAfter": "0"}});
    assert_eq!(volume.json(), fault);
}

#[tokio::test]
async fn network_names_the_error_and_its_detail() {
    let error = Service::Network.not_found("Network n could not be found.");
    let answer =
        failure(Service::Network, error.kind("NetworkNotFound").detail("It is gone.")).await;
    assert_eq!(
        answer.json(),
        json!({"NeutronError": {
            "type": "NetworkNotFound",
            "message": "Network n could not be found.",
            "detail": "It is gone.",
        }})
    );
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_404_in_the_services_format() {
    for service in SERVICES {
        let app = app(service, Router::new());
        for path in [format!("{}/nothing", api(service)), "/nothing".to_owned()] {
            let answer = get(&app, &path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{service:?} {path}");
            assert!(answer.text.contains("not"), "{service:?}: {}", answer.text);
            assert!(answer.header("x-openstack-request-id").is_some());
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_lacks_is_405_and_names_those_it_has() {
    for service in SERVICES {
        let routes = Router::new().route("/thing", on_get(async || "here").delete(async || ()));
        let app = app(service, routes);
        let path = format!("{}/thing", api(service));
        let answer = send(&app, with_token("PATCH", &path), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{service:?}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD,DELETE"), "{service:?}");
        assert!(answer.text.contains("not allowed"), "{service:?}: {}", answer.text);
        let root = send(&app, request("DELETE", "/"), Body::empty()).await;
        assert_eq!(root.status, StatusCode::METHOD_NOT_ALLOWED, "{service:?}");
    }
}

#[allow(clippy::unused_async, reason = "a handler is asynchronous")]
async fn panics() -> Response {
    panic!("the secret is 7");
}

#[tokio::test]
async fn a_panic_is_a_500_without_detail_and_is_counted() {
    for service in SERVICES {
        let edge = Edge::new(config(service));
        let routes = Router::new().route("/thing", on_get(panics));
        let app = edge.mount(Router::new(), routes);
        let answer = get(&app, &format!("{}/thing", api(service))).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{service:?}");
        assert!(!answer.text.contains("secret") && !answer.text.contains("panic"));
        assert!(answer.header("x-openstack-request-id").is_some());
        assert_eq!(edge.panics(), 1);
        let still_there = get(&app, "/").await;
        assert!(still_there.status != StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id_of_its_own() {
    for service in SERVICES {
        let app = app(service, Router::new().route("/thing", on_get(async || "here")));
        let path = format!("{}/thing", api(service));
        let given = "req-00000000-0000-4000-8000-000000000000";
        let ask = with_token("GET", &path).header("x-openstack-request-id", given);
        let first = send(&app, ask, Body::empty()).await;
        let second = get(&app, &path).await;
        let ids = [&first, &second].map(|a| a.header("x-openstack-request-id").expect("an id"));
        assert!(ids[0] != ids[1] && ids[0] != given, "{ids:?}");
        assert!(ids.iter().all(|id| id.starts_with("req-") && id.len() == given.len()));
        let older = matches!(service, Service::Compute | Service::Volume);
        assert_eq!(first.header("x-compute-request-id"), older.then_some(ids[0]));
    }
}
