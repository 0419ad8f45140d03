//! Version documents, and the negotiation of microversions.

use axum::{Router, body::Body, http::StatusCode, routing::get as on_get};
use serde_json::json;
use updraft_edge::rest::{Edge, EdgeConfig, Links, Microversion, Scheme, Service};

use crate::fixture::*;

/// The same without a token: documents are for everybody.
async fn document(service: Service, path: &str) -> Answer {
    send(&app(service, Router::new()), request("GET", path), Body::empty()).await
}

#[tokio::test]
async fn identity_offers_a_choice_and_a_version() {
    let root = document(Service::Identity, "/").await;
    assert_eq!(root.status, StatusCode::MULTIPLE_CHOICES);
    assert_eq!(root.header("location"), Some("http://cloud:8080/v3/"));
    assert_eq!(root.header("vary"), Some("X-Auth-Token"));
    let version = json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": "http://cloud:8080/v3/"}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    });
    assert_eq!(root.json(), json!({"versions": {"values": [version.clone()]}}));
    for path in ["/v3", "/v3/"] {
        let answer = document(Service::Identity, path).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"version": version})));
    }
}

#[tokio::test]
async fn the_cloud_itself_has_one_version() {
    let document = json!({"versions": [{
        "id": "v1",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": "http://cloud:8080/v1/"}],
    }]});
    for path in ["/", "/v1", "/v1/"] {
        let answer = self::document(Service::Cloud, path).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, document.clone()), "{path}");
    }
}

#[tokio::test]
async fn compute_lists_its_old_and_its_new_self() {
    let root = document(Service::Compute, "/").await;
    assert_eq!(root.status, StatusCode::OK);
    assert_eq!(
        root.json(),
        json!({"versions": [
            {
                "id": "v2.0", "status": "DEPRECATED", "version": "", "min_version": "",
                "updated": "2025-07-04T12:00:00Z",
                "links": [{"rel": "self", "href": "http://cloud:8080/v2/"}],
            },
            {
                "id": "v2.1", "status": "CURRENT", "version": "2.100", "min_version": "2.1",
                "updated": "2013-07-23T11:33:21Z",
                "links": [{"rel": "self", "href": "http://cloud:8080/v2.1/"}],
            },
        ]})
    );
    for path in ["/v2.1", "/v2.1/"] {
        let version = document(Service::Compute, path).await.json()["version"].clone();
        assert_eq!(version["version"], "2.100");
        assert_eq!(version["links"][1]["rel"], "describedby");
        let media_type = &version["media-types"][0]["type"];
        assert_eq!(media_type, "application/vnd.openstack.compute+json;version=2.1");
    }
    for path in ["/v2", "/v2/"] {
        let version = document(Service::Compute, path).await.json()["version"].clone();
        assert_eq!((&version["id"], &version["version"]), (&json!("v2.0"), &json!("")));
    }
}

#[tokio::test]
async fn image_lists_its_versions_newest_first() {
    let root = document(Service::Image, "/").await;
    assert_eq!(root.status, StatusCode::MULTIPLE_CHOICES);
    let entry = |id: &str, status: &str| {
        json!({"id": id, "status": status,
            "links": [{"rel": "self", "href": "http://cloud:8080/v2/"}]})
    };
    let list = json!({"versions": [
        entry("v2.2", "CURRENT"), entry("v2.1", "SUPPORTED"), entry("v2.0", "SUPPORTED"),
    ]});
    assert_eq!(root.json(), list);
    let versions = document(Service::Image, "/versions").await;
    assert_eq!((versions.status, versions.json()), (StatusCode::OK, list));
}

#[tokio::test]
async fn network_lists_its_version_and_its_resources() {
    let root = document(Service::Network, "/").await;
    assert_eq!(
        root.json(),
        json!({"versions": [{"id": "v2.0", "status": "CURRENT",
            "links": [{"rel": "self", "href": "http://cloud:8080/v2.0/"}]}]})
    );
    let resources = document(Service::Network, "/v2.0/").await.json();
    assert_eq!(resources["resources"][0]["collection"], "networks");
    let href = &resources["resources"][0]["links"][0]["href"];
    assert_eq!(href, "http://cloud:8080/v2.0/networks");
}

#[tokio::test]
async fn volume_lists_its_version_at_both_places() {
    for (path, status) in [("/", StatusCode::MULTIPLE_CHOICES), ("/v3/", StatusCode::OK)] {
        let answer = document(Service::Volume, path).await;
        let version = answer.json()["versions"][0].clone();
        assert_eq!(answer.status, status);
        assert_eq!((&version["id"], &version["version"]), (&json!("v3.0"), &json!("3.71")));
        assert_eq!(version["links"][1], json!({"rel": "self", "href": "http://cloud:8080/v3/"}));
    }
}

/// A service that answers with the microversion it was asked in.
fn echo(service: Service) -> Router {
    let echo = async |version: Microversion| version.to_string();
    app(service, Router::new().route("/version", on_get(echo)))
}

async fn asked(service: Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    let ask = headers
        .iter()
        .fold(with_token("GET", path), |ask, (name, value)| ask.header(*name, *value));
    send(&echo(service), ask, Body::empty()).await
}

const STANDARD: &str = "openstack-api-version";
const LEGACY: &str = "x-openstack-nova-api-version";

#[tokio::test]
async fn a_request_gets_the_version_that_it_asks_for_and_hears_which() {
    let table: [(&[(&str, &str)], &str); 9] = [
        (&[], "2.1"),
        (&[(STANDARD, "compute 2.53")], "2.53"),
        (&[(STANDARD, "Compute  2.53 ")], "2.53"),
        (&[(STANDARD, "compute latest")], "2.100"),
        (&[(LEGACY, "2.26")], "2.26"),
        (&[(LEGACY, "latest")], "2.100"),
        (&[(STANDARD, "compute 2.53"), (LEGACY, "2.26")], "2.53"),
        (&[(STANDARD, "volume 3.0, compute 2.2"), (STANDARD, "compute 2.3")], "2.3"),
        (&[(STANDARD, "volume 3.0")], "2.1"),
    ];
    for (headers, version) in table {
        let answer = asked(Service::Compute, "/v2.1/version", headers).await;
        assert_eq!(answer.text, version, "{headers:?}");
        assert_eq!(answer.header(STANDARD), Some(format!("compute {version}").as_str()));
        assert_eq!(answer.header(LEGACY), Some(version));
        let vary = answer.header_values("vary").join(",");
        assert_eq!(vary, "OpenStack-API-Version,X-OpenStack-Nova-API-Version");
    }
}

#[tokio::test]
async fn volume_negotiates_by_the_standard_header_alone() {
    let answer = asked(Service::Volume, "/v3/version", &[(STANDARD, "volume 3.59")]).await;
    assert_eq!(answer.text, "3.59");
    assert_eq!(answer.header(STANDARD), Some("volume 3.59"));
    assert_eq!(answer.header_values("vary"), ["OpenStack-API-Version"]);
    let answer = asked(Service::Volume, "/v3/version", &[(LEGACY, "3.59")]).await;
    assert_eq!((answer.text.as_str(), answer.header(LEGACY)), ("3.0", None));
}

#[tokio::test]
async fn a_version_out_of_range_is_406_and_says_the_range() {
    for asked_for in ["2.0", "2.101", "3.1", "2.99999999999999999999"] {
        let standard = format!("compute {asked_for}");
        let answer = asked(Service::Compute, "/v2.1/version", &[(STANDARD, &standard)]).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
        let message = format!(
            "Version {asked_for} is not supported by the API. Minimum is 2.1 and maximum is 2.100."
        );
        assert_eq!(answer.json(), json!({"computeFault": {"code": 406, "message": message}}));
        assert_eq!(answer.header(STANDARD), Some(standard.as_str()));
        assert!(!answer.header_values("vary").is_empty());
    }
}

#[tokio::test]
async fn a_version_that_is_none_is_400() {
    for asked_for in ["2", "2.", "two", "2.01", "newest"] {
        let answer = asked(Service::Compute, "/v2.1/version", &[(LEGACY, asked_for)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{asked_for}");
        let message = format!(
            "API Version String {asked_for} is of invalid format. Must be of format \
             MajorNum.MinorNum."
        );
        assert_eq!(answer.json()["badRequest"]["message"], message);
        assert!(!answer.header_values("vary").is_empty());
    }
}

#[tokio::test]
async fn the_old_api_knows_no_microversions() {
    let answer = asked(Service::Compute, "/v2/version", &[(STANDARD, "compute 2.53")]).await;
    assert_eq!(answer.text, "2.1");
    assert_eq!((answer.header(STANDARD), answer.header(LEGACY)), (None, None));
    assert!(answer.header_values("vary").is_empty());
}

#[tokio::test]
async fn services_without_microversions_say_nothing_of_them() {
    let answer = asked(Service::Image, "/v2/version", &[(STANDARD, "image 9.9")]).await;
    assert_eq!((answer.status, answer.header(STANDARD)), (StatusCode::OK, None));
}

/// A compute service that answers with the address of one server.
fn addresses(config: EdgeConfig) -> Router {
    let handler = async |links: Links| links.resource("servers/7").to_string();
    Edge::new(config).mount(Router::new(), Router::new().route("/address", on_get(handler)))
}

async fn address(app: &Router, path: &str) -> (String, String) {
    let links = get(app, path).await.json();
    let href = |at: usize| links[at]["href"].as_str().expect("an address").to_owned();
    (href(0), href(1))
}

#[tokio::test]
async fn addresses_lead_back_the_way_the_client_came() {
    let app = addresses(config(Service::Compute));
    let (own, bookmark) = address(&app, "/v2.1/address").await;
    assert_eq!(own, "http://cloud:8080/v2.1/servers/7");
    assert_eq!(bookmark, "http://cloud:8080/servers/7");
    let (own, bookmark) = address(&app, &format!("/v2/{PROJECT}/address")).await;
    assert_eq!(own, format!("http://cloud:8080/v2/{PROJECT}/servers/7"));
    assert_eq!(bookmark, format!("http://cloud:8080/{PROJECT}/servers/7"));
    let mounted = Router::new().nest_service("/compute", app);
    let (own, _) = address(&mounted, "/compute/v2.1/address").await;
    assert_eq!(own, "http://cloud:8080/compute/v2.1/servers/7");
    for path in ["/compute", "/compute/"] {
        let root = get(&mounted, path).await.json();
        assert_eq!(root["versions"][1]["links"][0]["href"], "http://cloud:8080/compute/v2.1/");
    }
}

#[tokio::test]
async fn addresses_follow_the_setting_the_scheme_and_nothing_odd_in_the_host() {
    let public_url = Some("https://api.example.org/compute/".to_owned());
    let fixed = addresses(EdgeConfig { public_url, ..config(Service::Compute) });
    let (own, _) = address(&fixed, "/v2.1/address").await;
    assert_eq!(own, "https://api.example.org/compute/v2.1/servers/7");
    let app = addresses(config(Service::Compute));
    let ask = with_token("GET", "/v2.1/address").extension(Scheme("https"));
    let links = send(&app, ask, Body::empty()).await.json();
    assert_eq!(links[0]["href"], "https://cloud:8080/v2.1/servers/7");
    let ask = axum::http::Request::builder()
        .uri("/v2.1/address")
        .header("host", "evil\"><script>")
        .header("x-auth-token", token());
    let links = send(&app, ask, Body::empty()).await.json();
    assert_eq!(links[0]["href"], "http://localhost/v2.1/servers/7");
}
