//! Snapshots over REST.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Cloud, IMAGE, Who, image_bytes};

async fn snapshot(cloud: &Cloud, volume: &str) -> String {
    let body = json!({"snapshot": {"volume_id": volume, "name": "s", "force": false}});
    let answer = cloud.post(Who::Member, "/v3/snapshots", body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()["snapshot"]["id"].as_str().expect("an id").to_owned()
}

async fn shown(cloud: &Cloud, snapshot: &str) -> Value {
    cloud.get(Who::Member, &format!("/v3/snapshots/{snapshot}")).await.json()["snapshot"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_a_copy_from_which_a_volume_can_begin() {
    let cloud = Cloud::new().await;
    let volume = cloud.made(json!({"size": 1, "imageRef": IMAGE})).await;
    cloud.until(&volume, "available").await;
    let snapshot = snapshot(&cloud, &volume).await;
    assert_eq!(shown(&cloud, &snapshot).await["status"], "creating");
    cloud.settled().await;
    let seen = shown(&cloud, &snapshot).await;
    assert_eq!((&seen["status"], &seen["size"]), (&json!("available"), &json!(1)));
    assert_eq!(seen["os-extended-snapshot-attributes:progress"], "100%");
    let restored = cloud.made(json!({"snapshot_id": snapshot})).await;
    cloud.until(&restored, "available").await;
    let files = cloud.hosts[0].files.simulated_files();
    assert_eq!(files[&restored.parse().expect("an id")].content, image_bytes()[..4_096]);
    assert_eq!(cloud.shown(&restored).await["bootable"], "true");
}

#[tokio::test(start_paused = true)]
async fn a_volume_with_snapshots_goes_only_with_them() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    snapshot(&cloud, &volume).await;
    cloud.settled().await;
    let path = format!("/v3/volumes/{volume}");
    cloud.delete(Who::Member, &path).await.says(400, "have snapshots");
    let cascade = cloud.delete(Who::Member, &format!("{path}?cascade=True")).await;
    assert_eq!(cascade.status, StatusCode::ACCEPTED);
    assert!(cloud.settled().await.files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_can_be_deleted_at_once_and_the_volume_after_it() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let snapshot = snapshot(&cloud, &volume).await;
    let path = format!("/v3/snapshots/{snapshot}");
    cloud.delete(Who::Member, &path).await.says(400, "Snapshot status must be available or error");
    cloud.settled().await;
    assert_eq!(cloud.delete(Who::Member, &path).await.status, StatusCode::ACCEPTED);
    cloud.settled().await;
    cloud.get(Who::Member, &path).await.says(404, "could not be found");
    assert_eq!(
        cloud.delete(Who::Member, &format!("/v3/volumes/{volume}")).await.status,
        StatusCode::ACCEPTED
    );
    assert!(cloud.settled().await.files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_new_snapshot_are_told() {
    let cloud = Cloud::new().await;
    for (body, status, words) in [
        (json!({}), 400, "'volume_id' is a required property"),
        (json!({"volume_id": "x"}), 400, "field/attribute volume_id"),
        (json!({"volume_id": IMAGE}), 404, "could not be found"),
        (json!({"volume_id": IMAGE, "colour": 1}), 400, "'colour' was unexpected"),
    ] {
        let answer = cloud.post(Who::Member, "/v3/snapshots", json!({"snapshot": body})).await;
        answer.says(status, words);
    }
}

#[tokio::test(start_paused = true)]
async fn the_eleventh_snapshot_is_one_too_many() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    for _ in 0..10 {
        snapshot(&cloud, &volume).await;
    }
    let body = json!({"snapshot": {"volume_id": volume}});
    let answer = cloud.post(Who::Member, "/v3/snapshots", body).await;
    answer.says(413, "Maximum number of snapshots allowed (10) exceeded");
    let list = cloud.get(Who::Member, "/v3/snapshots/detail").await.json();
    assert_eq!(list["snapshots"].as_array().map(Vec::len), Some(10));
}
