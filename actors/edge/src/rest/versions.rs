//! The documents by which clients find out which API is where, and in which versions.

use axum::{
    Json,
    extract::Extension,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

use super::{edge::Context, links::Links, service::Service};

/// The list at a service's root.
pub(super) async fn root(Extension(context): Extension<Arc<Context>>, links: Links) -> Response {
    let document = Json(list(&context, &links));
    let root = links.root();
    match context.service {
        Service::Compute | Service::Network | Service::Cloud => document.into_response(),
        Service::Image | Service::Volume => {
            (StatusCode::MULTIPLE_CHOICES, document).into_response()
        }
        Service::Identity => {
            let mut response = (StatusCode::MULTIPLE_CHOICES, document).into_response();
            if let Ok(at) = HeaderValue::from_str(&format!("{root}/v3/")) {
                response.headers_mut().insert(header::LOCATION, at);
            }
            response
        }
    }
}

/// The same list where it is an answer, not a choice: image's `/versions`.
pub(super) async fn listed(Extension(context): Extension<Arc<Context>>, links: Links) -> Response {
    Json(list(&context, &links)).into_response()
}

/// The document of one API, at the API's own root.
pub(super) async fn api(Extension(context): Extension<Arc<Context>>, links: Links) -> Response {
    let document = match context.service {
        Service::Identity => json!({"version": identity(&links)}),
        Service::Compute if links.is_legacy() => json!({"version": compute_legacy(&links, true)}),
        Service::Compute => json!({"version": compute(&context, &links, true)}),
        Service::Network => network_resources(&links),
        Service::Image | Service::Volume | Service::Cloud => list(&context, &links),
    };
    Json(document).into_response()
}

fn list(context: &Context, links: &Links) -> Value {
    match context.service {
        Service::Identity => json!({"versions": {"values": [identity(links)]}}),
        Service::Compute => json!({
            "versions": [compute_legacy(links, false), compute(context, links, false)],
        }),
        Service::Image => images(context, links),
        Service::Network => json!({"versions": [{
            "id": "v2.0",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": format!("{}/v2.0/", links.root())}],
        }]}),
        Service::Volume => json!({"versions": [volume(context, links)]}),
        Service::Cloud => json!({"versions": [{
            "id": "v1",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": format!("{}/v1/", links.root())}],
        }]}),
    }
}

fn identity(links: &Links) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/v3/", links.root())}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

fn compute(context: &Context, links: &Links, alone: bool) -> Value {
    let mut version = json!({
        "id": "v2.1",
        "status": "CURRENT",
        "version": context.versions.max.to_string(),
        "min_version": context.versions.min.to_string(),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": format!("{}/v2.1/", links.root())}],
    });
    if alone {
        describe(&mut version, "application/vnd.openstack.compute+json;version=2.1");
    }
    version
}

fn compute_legacy(links: &Links, alone: bool) -> Value {
    let mut version = json!({
        "id": "v2.0",
        "status": "DEPRECATED",
        "version": "",
        "min_version": "",
        "updated": "2025-07-04T12:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/v2/", links.root())}],
    });
    if alone {
        describe(&mut version, "application/vnd.openstack.compute+json;version=2");
    }
    version
}

/// What compute adds to a version that is shown alone.
fn describe(version: &mut Value, media_type: &str) {
    if let Some(links) = version["links"].as_array_mut() {
        links.push(json!({
            "rel": "describedby",
            "type": "text/html",
            "href": "http://docs.openstack.org/",
        }));
    }
    version["media-types"] = json!([{"base": "application/json", "type": media_type}]);
}

/// Image counts its features as versions of their own, newest first.
fn images(context: &Context, links: &Links) -> Value {
    let (oldest, newest) = (context.versions.min.minor, context.versions.max.minor);
    let versions: Vec<Value> = (oldest..=newest)
        .rev()
        .map(|minor| {
            json!({
                "id": format!("v2.{minor}"),
                "status": if minor == newest { "CURRENT" } else { "SUPPORTED" },
                "links": [{"rel": "self", "href": format!("{}/v2/", links.root())}],
            })
        })
        .collect();
    json!({ "versions": versions })
}

fn network_resources(links: &Links) -> Value {
    let resource = |name: &str, collection: &str| {
        json!({
            "name": name,
            "collection": collection,
            "links": [{"rel": "self", "href": format!("{}/v2.0/{collection}", links.root())}],
        })
    };
    json!({"resources": [
        resource("network", "networks"),
        resource("subnet", "subnets"),
        resource("subnetpool", "subnetpools"),
        resource("port", "ports"),
    ]})
}

fn volume(context: &Context, links: &Links) -> Value {
    json!({
        "id": "v3.0",
        "status": "CURRENT",
        "version": context.versions.max.to_string(),
        "min_version": context.versions.min.to_string(),
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": format!("{}/v3/", links.root())},
        ],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.volume+json;version=3",
        }],
    })
}
