//! Sharing.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Cloud, DEMO, OTHER, Who};

#[tokio::test(start_paused = true)]
async fn an_image_is_shared_and_listed_once_its_member_accepts() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let path = format!("/v2/images/{image}");
    let members = format!("{path}/members");
    cloud.get(Who::Other, &path).await.says(404, "No image found");

    let added = cloud.post(Who::Member, &members, json!({"member": OTHER})).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.text());
    assert_eq!(added.json()["status"], "pending");
    assert_eq!(cloud.get(Who::Other, &format!("{path}/file")).await.text(), "bytes");
    let listed = cloud.get(Who::Other, "/v2/images").await.json();
    assert_eq!(listed["images"], json!([]), "listed before it was accepted");

    let member = format!("{members}/{OTHER}");
    let accepted = cloud.put(Who::Other, &member, json!({"status": "accepted"})).await;
    assert_eq!(accepted.json()["status"], "accepted");
    let listed = cloud.get(Who::Other, "/v2/images").await.json();
    assert_eq!(listed["images"][0]["id"], image);

    assert_eq!(cloud.delete(Who::Member, &member).await.status, StatusCode::NO_CONTENT);
    cloud.get(Who::Other, &path).await.says(404, "No image found");
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_sharing_are_told() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let members = format!("/v2/images/{image}/members");
    let shared = json!({"member": OTHER});
    cloud
        .post(Who::Member, &members, json!({}))
        .await
        .says(400, "Member to be added not specified");
    cloud
        .post(Who::Member, &members, json!({"member": ""}))
        .await
        .says(400, "Member can't be empty");
    assert_eq!(cloud.post(Who::Member, &members, shared.clone()).await.status, StatusCode::OK);
    cloud.post(Who::Member, &members, shared.clone()).await.says(409, "is duplicated for image");
    let member = format!("{members}/{OTHER}");
    let own = cloud.put(Who::Member, &member, json!({"status": "accepted"})).await;
    own.says(403, "Not allowed to update members for image");
    let maybe = cloud.put(Who::Other, &member, json!({"status": "maybe"})).await;
    maybe.says(400, "Status must be \"pending\", \"accepted\" or \"rejected\".");
    cloud.post(Who::Other, &members, json!({"member": DEMO})).await.says(403, "add_member");
    let absent = cloud.get(Who::Member, &format!("{members}/{DEMO}")).await;
    absent.says(404, "not found in the member list of the image");
    let private = cloud.made(json!({"visibility": "private"})).await;
    let private = cloud.post(Who::Member, &format!("/v2/images/{private}/members"), shared).await;
    private.says(403, "Only shared images have members.");
}
