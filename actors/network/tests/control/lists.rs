//! Filters, order, pages and fields.

use serde_json::{Value, json};

use crate::support::{Cloud, Who, text};

/// Networks of the member with these names.
async fn named(cloud: &Cloud, names: &[&str]) {
    for name in names {
        cloud.make(Who::Member, "network", json!({"name": name})).await;
    }
}

async fn names(cloud: &Cloud, query: &str) -> Vec<String> {
    let listed = cloud.get(Who::Member, &format!("/networks?{query}")).await.is(200);
    listed.list("networks").iter().map(|one| text(one, "name").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_filter_twice_is_either_and_two_filters_are_both() {
    let cloud = Cloud::new().await;
    named(&cloud, &["a", "b", "c"]).await;
    let order = "sort_key=name&sort_dir=asc";
    assert_eq!(names(&cloud, &format!("{order}&name=a&name=c")).await, ["a", "c"]);
    assert_eq!(names(&cloud, &format!("{order}&name=a&admin_state_up=False")).await.len(), 0);
    assert_eq!(
        names(&cloud, &format!("{order}&name=a&admin_state_up=true&shared=False")).await,
        ["a"]
    );
    assert_eq!(names(&cloud, &format!("{order}&tags=x")).await.len(), 0, "nothing has tags");
    assert_eq!(names(&cloud, "router%3Aexternal=True").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn lists_are_sorted_as_asked() {
    let cloud = Cloud::new().await;
    named(&cloud, &["b", "a", "c"]).await;
    assert_eq!(names(&cloud, "sort_key=name&sort_dir=asc").await, ["a", "b", "c"]);
    assert_eq!(names(&cloud, "sort_key=name&sort_dir=desc").await, ["c", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn pages_follow_one_another_by_their_links() {
    let cloud = Cloud::new().await;
    named(&cloud, &["a", "b", "c", "d", "e"]).await;
    let mut path = "/v2.0/networks?limit=2&sort_key=name&sort_dir=asc".to_owned();
    let mut pages: Vec<Vec<String>> = Vec::new();
    loop {
        let page = cloud.send(Who::Member, "GET", &path, None).await.is(200);
        let names = page.list("networks");
        pages.push(names.iter().map(|one| text(one, "name").to_owned()).collect());
        let links = page.list("networks_links");
        let next = links.iter().find(|link| link["rel"] == "next");
        let Some(next) = next else { break };
        path = text(next, "href").strip_prefix("http://cloud").unwrap().to_owned();
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    let whole = cloud.get(Who::Member, "/networks").await.json();
    assert!(whole.get("networks_links").is_none(), "links are for who asks for pages");
}

#[tokio::test(start_paused = true)]
async fn pages_go_back_too() {
    let cloud = Cloud::new().await;
    named(&cloud, &["a", "b", "c"]).await;
    let listed = cloud.get(Who::Member, "/networks?name=c").await.list("networks");
    let query = format!(
        "limit=1&sort_key=name&sort_dir=asc&page_reverse=True&marker={}",
        text(&listed[0], "id")
    );
    assert_eq!(names(&cloud, &query).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_fields_asked_for_are_shown() {
    let cloud = Cloud::new().await;
    named(&cloud, &["a"]).await;
    let listed = cloud.get(Who::Member, "/networks?fields=id&fields=name").await.list("networks");
    let keys: Vec<&String> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "name"]);
    let path = format!("/networks/{}?fields=mtu", text(&listed[0], "id"));
    assert_eq!(cloud.get(Who::Member, &path).await.json(), json!({"network": {"mtu": 1450}}));
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let cloud = Cloud::new().await;
    let cases = [
        ("nonsense=1", 400, "HTTPBadRequest", "['nonsense'] is invalid attribute for filtering"),
        (
            "sort_key=name",
            400,
            "HTTPBadRequest",
            "The number of sort_keys and sort_dirs must be same",
        ),
        (
            "sort_key=subnets&sort_dir=asc",
            400,
            "HTTPBadRequest",
            "['subnets'] is invalid attribute for sort_keys",
        ),
        ("sort_key=name&sort_dir=up", 400, "HTTPBadRequest", "valid value is 'asc' and 'desc'"),
        ("limit=-1", 400, "BadRequest", "Limit must be an integer 0 or greater and not '-1'"),
        ("admin_state_up=maybe", 400, "InvalidInput", "'maybe' cannot be converted to boolean"),
        ("limit=1&marker=nonsense", 404, "NetworkNotFound", "nonsense"),
    ];
    cloud.make(Who::Member, "network", json!({"name": "n"})).await;
    for (query, status, kind, words) in cases {
        cloud.get(Who::Member, &format!("/networks?{query}")).await.refuses(status, kind, words);
    }
}

#[tokio::test(start_paused = true)]
async fn extensions_are_those_that_are_served() {
    let cloud = Cloud::new().await;
    let listed = cloud.get(Who::Reader, "/extensions").await.list("extensions");
    let aliases: Vec<&str> = listed.iter().map(|one| text(one, "alias")).collect();
    for served in ["security-group", "router", "quotas", "binding", "external-net", "provider"] {
        assert!(aliases.contains(&served), "{served}");
    }
    for absent in ["standard-attr-tag", "dvr", "trunk", "qos", "rbac-policies", "subnet_allocation"]
    {
        assert!(!aliases.contains(&absent), "{absent}");
    }
    for extension in &listed {
        let path = format!("/extensions/{}", text(extension, "alias"));
        let shown: Value = cloud.get(Who::Reader, &path).await.is(200).json();
        assert_eq!(shown["extension"], *extension);
    }
    let refused = cloud.get(Who::Reader, "/extensions/nonsense").await;
    refused.refuses(404, "HTTPNotFound", "Extension with alias nonsense does not exist");
}
