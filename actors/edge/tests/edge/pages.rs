//! Lists in pages.

use axum::{Json, Router, http::StatusCode, routing::get as on_get};
use proptest::prelude::*;
use serde_json::{Value, json};
use updraft_edge::rest::{Links, PAGE_MAX, Page, Query, Service};

use crate::fixture::*;

fn page(service: Service, query: &str) -> Page {
    Page::of(service, &Query::parse(service, query)).expect("a page")
}

fn refused(service: Service, query: &str) -> String {
    let error = Page::of(service, &Query::parse(service, query)).expect_err("no page");
    assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    error.message().to_owned()
}

fn letters(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

fn cut(page: &Page, text: &str) -> Result<String, String> {
    page.cut(letters(text), |letter| letter.as_str())
        .map(|page| page.concat())
        .map_err(|error| error.message().to_owned())
}

#[test]
fn limits_have_each_services_default_and_most() {
    let limit = |service, query| page(service, query).limit;
    assert_eq!(limit(Service::Compute, ""), Some(PAGE_MAX));
    assert_eq!(limit(Service::Compute, "limit=5000"), Some(PAGE_MAX));
    assert_eq!(limit(Service::Volume, "limit=0"), Some(0));
    assert_eq!(limit(Service::Image, ""), Some(25));
    assert_eq!(limit(Service::Network, ""), None);
    assert_eq!(limit(Service::Network, "limit=0"), None);
    assert_eq!(limit(Service::Network, "limit=3"), Some(3));
    assert_eq!(limit(Service::Identity, ""), None);
}

#[test]
fn a_limit_that_is_none_is_refused_in_the_services_words() {
    assert_eq!(refused(Service::Volume, "limit=x"), "limit param must be an integer");
    assert_eq!(refused(Service::Image, "limit=-1"), "limit param must be positive");
    assert_eq!(
        refused(Service::Network, "limit=-1"),
        "Bad limit request: Limit must be an integer 0 or greater and not '-1'."
    );
    assert!(refused(Service::Compute, "limit=-1").contains("query parameters limit. Value: -1."));
}

#[test]
fn a_page_follows_its_marker() {
    let table = [
        ("", "abcde"),
        ("limit=2", "ab"),
        ("limit=2&marker=b", "cd"),
        ("limit=2&marker=d", "e"),
        ("limit=2&marker=e", ""),
        ("limit=0", ""),
        ("limit=2&offset=1", "bc"),
        ("marker=b&offset=1", "de"),
        ("offset=18446744073709551615&marker=b", ""),
    ];
    for (query, letters) in table {
        assert_eq!(cut(&page(Service::Compute, query), "abcde").as_deref(), Ok(letters), "{query}");
    }
}

#[test]
fn a_reversed_page_precedes_its_marker() {
    let table = [
        ("page_reverse=True&limit=2", "de"),
        ("page_reverse=True&limit=2&marker=d", "bc"),
        ("page_reverse=True&limit=2&marker=b", "a"),
        ("page_reverse=False&limit=2&marker=b", "cd"),
    ];
    for (query, letters) in table {
        assert_eq!(cut(&page(Service::Network, query), "abcde").as_deref(), Ok(letters), "{query}");
    }
}

#[test]
fn a_marker_that_is_not_there_is_named() {
    let unknown = page(Service::Compute, "marker=z");
    assert_eq!(cut(&unknown, "abc"), Err("marker [z] not found".to_owned()));
    let unknown = page(Service::Volume, "marker=z");
    assert_eq!(cut(&unknown, "abc"), Err("Marker z could not be found.".to_owned()));
}

/// What a service answers that has the things a to e.
async fn listing(service: Service, query: &str) -> Value {
    let list = async |links: Links, query: Query| {
        let page = page(links_service(&links), &query.with("", None));
        let items = page.cut(letters("abcde"), |l| l.as_str()).expect("a page");
        let links = page.links(&links, "things/detail", &query, &items, |l| l.as_str());
        Json(json!({"things": items.concat(), "links": links}))
    };
    let app = app(service, Router::new().route("/things/detail", on_get(list)));
    get(&app, &format!("{}/things/detail?{query}", api(service))).await.json()
}

/// A handler knows its service; this one serves two.
fn links_service(links: &Links) -> Service {
    if links.api("").contains("/v2.0") { Service::Network } else { Service::Compute }
}

#[tokio::test]
async fn a_full_page_has_a_link_to_the_next_and_another_has_none() {
    let full = listing(Service::Compute, "limit=2&name=x").await;
    assert_eq!(
        full["links"],
        json!([{"rel": "next",
            "href": "http://cloud:8080/v2.1/things/detail?limit=2&name=x&marker=b"}])
    );
    assert_eq!(listing(Service::Compute, "limit=2&marker=d").await["links"], Value::Null);
    assert_eq!(listing(Service::Compute, "limit=0").await["links"], Value::Null);
}

#[tokio::test]
async fn network_links_both_ways_when_a_limit_is_given() {
    let rels = |answer: &Value| {
        let links = answer["links"].as_array().expect("links").clone();
        links.iter().map(|link| link["rel"].as_str().expect("a rel").to_owned()).collect::<Vec<_>>()
    };
    let first = listing(Service::Network, "limit=2").await;
    assert_eq!(rels(&first), ["next", "previous"]);
    let base = "http://cloud:8080/v2.0/things/detail";
    assert_eq!(first["links"][0]["href"], format!("{base}?limit=2&marker=b"));
    let previous = format!("{base}?limit=2&page_reverse=True&marker=a");
    assert_eq!(first["links"][1]["href"], previous);
    assert_eq!(rels(&listing(Service::Network, "limit=2&marker=d").await), ["previous"]);
    let back = listing(Service::Network, "limit=2&marker=b&page_reverse=True").await;
    assert_eq!(rels(&back), ["next"]);
    assert_eq!(listing(Service::Network, "").await["links"], Value::Null);
}

#[test]
fn image_pages_name_the_first_and_the_next() {
    let query = Query::parse(Service::Image, "limit=2&marker=b&name=x");
    let page = Page::of(Service::Image, &query).expect("a page");
    let links =
        |items: &str| page.image_links("/v2/images", &query, &letters(items), |l| l.as_str());
    let first = "/v2/images?limit=2&name=x".to_owned();
    assert_eq!(links("cd"), (first.clone(), Some("/v2/images?limit=2&name=x&marker=d".to_owned())));
    assert_eq!(links("e"), (first, None));
    let all = Query::parse(Service::Image, "");
    assert_eq!(page.image_links("/v2/images", &all, &letters("c"), |l| l.as_str()).0, "/v2/images");
}

proptest! {
    #[test]
    fn pages_one_after_another_hold_everything_once(count in 0_usize..30, limit in 1_usize..10) {
        let all: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let mut seen = Vec::new();
        let mut marker = String::new();
        loop {
            let page = page(Service::Compute, &format!("limit={limit}{marker}"));
            let items = page.cut(all.clone(), |id| id.as_str()).expect("a page");
            let Some(last) = items.last() else { break };
            marker = format!("&marker={last}");
            seen.extend(items);
        }
        prop_assert_eq!(seen, all);
    }
}
