//! Quotas, limits, services, types, versions.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Cloud, DEMO, OTHER, Who, id};

#[tokio::test(start_paused = true)]
async fn quotas_are_shown_set_and_reset() {
    let cloud = Cloud::new().await;
    let path = format!("/v3/os-quota-sets/{DEMO}");
    let shown = cloud.get(Who::Member, &format!("{path}?usage=False")).await.json();
    assert_eq!(shown["quota_set"]["volumes"], 10);
    assert_eq!(shown["quota_set"]["id"], DEMO);
    let two = json!({"quota_set": {"volumes": 2}});
    cloud.put(Who::Member, &path, two.clone()).await.says(403, "quotas:update");
    assert_eq!(cloud.put(Who::Admin, &path, two).await.json()["quota_set"]["volumes"], 2);
    cloud.made(json!({"size": 1})).await;
    cloud.made(json!({"size": 1})).await;
    let third = cloud.post(Who::Member, "/v3/volumes", json!({"volume": {"size": 1}})).await;
    third.says(413, "Maximum number of volumes allowed (2) exceeded");
    let used = cloud.get(Who::Member, &format!("{path}?usage=True")).await.json();
    let wanted = json!({"limit": 2, "in_use": 2, "reserved": 0});
    assert_eq!(used["quota_set"]["volumes"], wanted);
    let one = json!({"quota_set": {"volumes": 1}});
    cloud.put(Who::Admin, &path, one).await.says(400, "Current usage is 2");
    let colour = json!({"quota_set": {"colour": 1}});
    cloud.put(Who::Admin, &path, colour).await.says(400, "colour");
    assert_eq!(cloud.delete(Who::Admin, &path).await.status, StatusCode::OK);
    let defaults = cloud.get(Who::Member, &format!("{path}/defaults")).await.json();
    let shown = cloud.get(Who::Member, &path).await.json();
    assert_eq!(shown, defaults);
    let foreign = cloud.get(Who::Member, &format!("/v3/os-quota-sets/{OTHER}")).await;
    foreign.says(403, "quotas:show");
}

#[tokio::test(start_paused = true)]
async fn limits_tell_what_is_used() {
    let cloud = Cloud::new().await;
    cloud.made(json!({"size": 3})).await;
    let limits = cloud.get(Who::Member, "/v3/limits").await.json();
    let absolute = &limits["limits"]["absolute"];
    assert_eq!(
        (&absolute["maxTotalVolumes"], &absolute["totalVolumesUsed"]),
        (&json!(10), &json!(1))
    );
    assert_eq!(absolute["totalGigabytesUsed"], 3);
}

#[tokio::test(start_paused = true)]
async fn services_are_told_with_their_state() {
    let mut cloud = Cloud::new().await;
    cloud.crash_host(0);
    cloud.pass(std::time::Duration::from_secs(10)).await;
    let list = cloud.get(Who::Admin, "/v3/os-services").await.json();
    let services = list["services"].as_array().expect("a list");
    let state = |binary: &str| {
        let found = services.iter().find(|service| service["binary"] == binary);
        found.map(|service| (service["host"].clone(), service["state"].clone()))
    };
    assert_eq!(state("cinder-scheduler"), Some((json!("control"), json!("up"))));
    assert_eq!(state("cinder-volume"), Some((json!(id("host1").to_string()), json!("down"))));
    cloud.get(Who::Member, "/v3/os-services").await.says(403, "services:index");
}

#[tokio::test(start_paused = true)]
async fn there_is_one_type_one_zone_and_one_version() {
    let cloud = Cloud::new().await;
    let types = cloud.get(Who::Member, "/v3/types").await.json();
    assert_eq!(types["volume_types"][0]["name"], "__DEFAULT__");
    let id = types["volume_types"][0]["id"].as_str().expect("an id");
    for name in [id, "default"] {
        let shown = cloud.get(Who::Member, &format!("/v3/types/{name}")).await.json();
        assert_eq!(shown["volume_type"]["id"], id);
    }
    cloud
        .get(Who::Member, "/v3/types/fast")
        .await
        .says(404, "Volume type fast could not be found.");
    let zones = cloud.get(Who::Member, "/v3/os-availability-zone").await.json();
    assert_eq!(zones["availabilityZoneInfo"][0]["zoneName"], "nova");
    let versions = cloud.get(Who::Member, "/v3/").await;
    assert_eq!(versions.status, StatusCode::OK);
    assert_eq!(versions.json()["versions"][0]["version"], "3.65");
    assert_eq!(cloud.get(Who::Member, "/").await.status, StatusCode::MULTIPLE_CHOICES);
}

#[tokio::test(start_paused = true)]
async fn a_project_may_stand_in_the_path_if_it_is_the_tokens_own() {
    let cloud = Cloud::new().await;
    let own = cloud.get(Who::Member, &format!("/v3/{DEMO}/volumes")).await;
    assert_eq!(own.status, StatusCode::OK);
    let other = cloud.get(Who::Member, &format!("/v3/{OTHER}/volumes")).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
}
