//! Lists.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Cloud, Who};

fn names(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let images = list["images"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
    images.iter().map(|image| image["name"].as_str().unwrap_or("-").to_owned()).collect()
}

/// Images a, b and c, in this order, a second apart.
async fn three(cloud: &Cloud) -> Vec<String> {
    let mut ids = Vec::new();
    for (name, tag) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        let body = json!({"name": name, "tags": [tag, "x"], "os_type": name, "disk_format": "raw"});
        ids.push(cloud.made(body).await);
        cloud.pass(Duration::from_secs(1)).await;
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn the_newest_image_comes_first() {
    let cloud = Cloud::new().await;
    three(&cloud).await;
    let answer = cloud.get(Who::Member, "/v2/images").await;
    assert_eq!(names(&answer), ["c", "b", "a"]);
    assert_eq!(answer.json()["first"], "/v2/images");
    assert_eq!(answer.json()["schema"], "/v2/schemas/images");
    assert!(answer.json().get("next").is_none());
}

#[tokio::test(start_paused = true)]
async fn pages_follow_one_another_without_gap_or_overlap() {
    let cloud = Cloud::new().await;
    three(&cloud).await;
    let mut seen = Vec::new();
    let mut next = Some("/v2/images?limit=1&sort_key=name&sort_dir=asc".to_owned());
    while let Some(path) = next {
        let answer = cloud.get(Who::Member, &path).await;
        seen.extend(names(&answer));
        next = answer.json()["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn filters_narrow_a_list_down() {
    let cloud = Cloud::new().await;
    let ids = three(&cloud).await;
    for (query, wanted) in [
        ("name=b".to_owned(), vec!["b"]),
        ("name=in:a,c".to_owned(), vec!["c", "a"]),
        (format!("id=in:{},{}", ids[0], ids[2]), vec!["c", "a"]),
        ("tag=red&tag=x".to_owned(), vec!["c", "a"]),
        ("tag=red&tag=blue".to_owned(), vec![]),
        ("os_type=b".to_owned(), vec!["b"]),
        ("status=active".to_owned(), vec![]),
        ("visibility=shared".to_owned(), vec!["c", "b", "a"]),
        ("visibility=public".to_owned(), vec![]),
        (format!("owner={}", Who::Member.project()), vec!["c", "b", "a"]),
        ("owner=x".to_owned(), vec![]),
        ("created_at=gt:2025-01-01T00:00:02Z".to_owned(), vec!["c"]),
        ("sort=name:asc".to_owned(), vec!["a", "b", "c"]),
        ("sort=name:desc,size:asc".to_owned(), vec!["c", "b", "a"]),
        ("size_min=1".to_owned(), vec![]),
        ("protected=false".to_owned(), vec!["c", "b", "a"]),
    ] {
        let answer = cloud.get(Who::Member, &format!("/v2/images?{query}")).await;
        assert_eq!(names(&answer), wanted, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_query_are_told() {
    let cloud = Cloud::new().await;
    for (query, words) in [
        ("limit=x", "limit param must be an integer"),
        ("limit=-1", "limit param must be positive"),
        ("marker=x", "x"),
        ("sort=colour", "Invalid sort key: colour."),
        ("sort=name:up", "Invalid sort direction: up"),
        ("sort=name&sort_key=name", "Old and new sorting syntax cannot be combined"),
        ("visibility=secret", "Invalid visibility value: secret"),
        ("member_status=maybe", "Invalid status: maybe"),
        ("os_hidden=maybe", "Valid values are 'true' or 'false'"),
        ("created_at=gt:soon", "soon"),
    ] {
        cloud.get(Who::Member, &format!("/v2/images?{query}")).await.says(400, words);
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_lists_what_is_for_them() {
    let cloud = Cloud::new().await;
    for (name, visibility) in
        [("pub", "public"), ("com", "community"), ("sha", "shared"), ("pri", "private")]
    {
        let body = json!({"name": name, "visibility": visibility});
        cloud.post(Who::Admin, "/v2/images", body).await.says(201, name);
        cloud.pass(Duration::from_secs(1)).await;
    }
    let list = "/v2/images?sort=name:asc";
    assert_eq!(names(&cloud.get(Who::Member, list).await), ["com", "pri", "pub", "sha"]);
    assert_eq!(names(&cloud.get(Who::Other, list).await), ["pub"]);
    let community = format!("{list}&visibility=community");
    assert_eq!(names(&cloud.get(Who::Other, &community).await), ["com"]);
    let all = format!("{list}&visibility=all");
    assert_eq!(names(&cloud.get(Who::Other, &all).await), ["com", "pub"]);
}

#[tokio::test(start_paused = true)]
async fn hidden_images_are_listed_when_asked_for() {
    let cloud = Cloud::new().await;
    cloud.made(json!({"name": "hidden", "os_hidden": true})).await;
    assert!(names(&cloud.get(Who::Member, "/v2/images").await).is_empty());
    assert_eq!(names(&cloud.get(Who::Member, "/v2/images?os_hidden=True").await), ["hidden"]);
}
