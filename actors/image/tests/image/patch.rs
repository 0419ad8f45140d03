//! Changing images.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::support::{Cloud, Who, request};

#[allow(clippy::needless_pass_by_value, reason = "every value is made for it")]
fn replace(name: &str, value: Value) -> Value {
    json!([{"op": "replace", "path": format!("/{name}"), "value": value}])
}

#[tokio::test(start_paused = true)]
async fn attributes_and_properties_can_be_changed_added_and_removed() {
    let cloud = Cloud::new().await;
    let path = format!("/v2/images/{}", cloud.made(json!({"name": "old", "gone": "x"})).await);
    let patch = json!([
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/kernel_id", "value": "k"},
        {"op": "remove", "path": "/gone"},
        {"op": "replace", "path": "/tags", "value": ["b", "a", "a"]},
    ]);
    let answer = cloud.patch(Who::Member, &path, patch).await;
    assert_eq!(answer.status, StatusCode::OK);
    let image = cloud.get(Who::Member, &path).await.json();
    assert_eq!(answer.json(), image);
    assert_eq!((&image["name"], &image["kernel_id"]), (&json!("new"), &json!("k")));
    assert_eq!(image["tags"], json!(["a", "b"]));
    assert!(image.get("gone").is_none());
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_patch_are_told_and_change_nothing() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let path = format!("/v2/images/{image}");
    let before = cloud.get(Who::Member, &path).await.json();
    for (patch, status, words) in [
        (replace("status", json!("queued")), 403, "Attribute 'status' is read-only."),
        (replace("id", json!("x")), 403, "Attribute 'id' is read-only."),
        (replace("deleted", json!("x")), 403, "Attribute 'deleted' is reserved."),
        (replace("owner", json!("x")), 403, "Owner can't be updated by non admin."),
        (replace("visibility", json!("public")), 403, "complete publicize_image action."),
        (replace("visibility", json!("secret")), 400, "On instance['visibility']"),
        (replace("disk_format", json!("qcow2")), 403, "can be only replaced for a queued image."),
        (replace("absent", json!("x")), 409, "Property absent does not exist."),
        (json!([{"op": "remove", "path": "/absent"}]), 409, "Property absent does not exist."),
        (json!([{"op": "remove", "path": "/name"}]), 403, "Property name may not be removed."),
        (replace("name", json!(5)), 400, "On instance['name']"),
        (json!([{"op": "add", "path": "/x", "value": 5}]), 400, "On instance['x']"),
        (json!([{"op": "move", "path": "/x"}]), 400, "Invalid operation: `move`."),
        (json!([{"op": "add", "path": "x", "value": "1"}]), 400, "does not start with \"/\""),
        (json!([{"op": "add", "path": "/x"}]), 400, "requires a member named \"value\"."),
        (json!([{"op": "add", "path": "/locations/-", "value": {}}]), 403, "locations"),
        (json!({}), 400, "Request body must be a JSON array of operation objects."),
        (json!([1]), 400, "Operations must be JSON objects."),
    ] {
        cloud.patch(Who::Member, &path, patch).await.says(status, words);
        assert_eq!(cloud.get(Who::Member, &path).await.json(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_must_say_that_it_is_one() {
    let cloud = Cloud::new().await;
    let path = format!("/v2/images/{}", cloud.queued().await);
    let plain = request(Who::Member, "PATCH", &path).header("content-type", "application/json");
    let plain = cloud.send(plain.body(Body::from("[]")).expect("a request")).await;
    plain.says(415, "Image PATCH expects Content-Type one of:");
}

#[tokio::test(start_paused = true)]
async fn tags_come_and_go_one_by_one() {
    let cloud = Cloud::new().await;
    let path = format!("/v2/images/{}", cloud.queued().await);
    let tag = format!("{path}/tags/red");
    assert_eq!(cloud.put(Who::Member, &tag, json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(cloud.get(Who::Member, &path).await.json()["tags"], json!(["red"]));
    assert_eq!(cloud.delete(Who::Member, &tag).await.status, StatusCode::NO_CONTENT);
    cloud.delete(Who::Member, &tag).await.says(404, "The resource could not be found.");
    let long = format!("{path}/tags/{}", "x".repeat(256));
    cloud.put(Who::Member, &long, json!({})).await.says(400, "is too long");
}
