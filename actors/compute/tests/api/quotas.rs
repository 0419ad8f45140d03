//! Quotas and limits.

use serde_json::json;

use crate::{
    cloud::Cloud,
    identity::{
        DEMO, OTHER,
        Who::{Admin, Member},
    },
};

#[tokio::test(start_paused = true)]
async fn a_quota_is_shown_set_and_reset() {
    let cloud = Cloud::still().await;
    let path = format!("/os-quota-sets/{DEMO}");
    let defaults = json!({
        "id": DEMO, "instances": 10, "cores": 20, "ram": 51_200, "metadata_items": 128,
        "key_pairs": 100, "server_groups": 10, "server_group_members": 10,
    });
    assert_eq!(cloud.get(Member, &path).await["quota_set"], defaults);
    let body = json!({"quota_set": {"instances": 3, "cores": -1}});
    let set = cloud.send(Admin, &format!("PUT {path}"), body).await;
    assert_eq!(set.is(200).json()["quota_set"]["instances"], 3);
    assert_eq!(set.json()["quota_set"].get("id"), None);
    assert_eq!(cloud.get(Member, &path).await["quota_set"]["cores"], -1);
    cloud.send(Admin, &format!("DELETE {path}"), ()).await.is(202);
    assert_eq!(cloud.get(Member, &path).await["quota_set"], defaults);
}

#[tokio::test(start_paused = true)]
async fn a_quota_says_what_is_used() {
    let cloud = Cloud::still().await;
    cloud.server(Member, "web").await;
    let detail = cloud.get(Member, &format!("/os-quota-sets/{DEMO}/detail")).await;
    let used = json!({"limit": 51_200, "in_use": 512, "reserved": 0});
    assert_eq!(detail["quota_set"]["ram"], used);
    let body = json!({"quota_set": {"instances": 0}});
    let low = cloud.send(Admin, &format!("PUT /os-quota-sets/{DEMO}"), body).await;
    low.is_error(
        400,
        "Quota limit 0 for instances must be greater than or equal to already used and reserved 1.",
    );
    let body = json!({"quota_set": {"instances": 0, "force": true}});
    cloud.send(Admin, &format!("PUT /os-quota-sets/{DEMO}"), body).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_its_projects_and_its_project_exists() {
    let cloud = Cloud::still().await;
    let denied = cloud.send(Member, &format!("GET /os-quota-sets/{OTHER}"), ()).await;
    let words = "Policy doesn't allow os_compute_api:os-quota-sets:show to be performed.";
    denied.is_error(403, words);
    let unknown = cloud.send(Admin, "GET /os-quota-sets/nobody", ()).await;
    unknown.is_error(400, "Project ID nobody is not a valid project.");
}

#[tokio::test(start_paused = true)]
async fn limits_say_what_is_allowed_and_used() {
    let cloud = Cloud::still().await;
    cloud.server(Member, "web").await;
    let answer = cloud.send_at("2.57", Member, "GET /limits?reserved=False", ()).await;
    assert_eq!(
        answer.is(200).json(),
        json!({"limits": {"rate": [], "absolute": {
            "maxTotalInstances": 10, "maxTotalCores": 20, "maxTotalRAMSize": 51_200,
            "maxTotalKeypairs": 100, "maxServerMeta": 128, "maxServerGroups": 10,
            "maxServerGroupMembers": 10, "totalInstancesUsed": 1, "totalCoresUsed": 1,
            "totalRAMUsed": 512, "totalServerGroupsUsed": 0,
        }}})
    );
    let oldest = cloud.send_at("2.1", Member, "GET /limits", ()).await;
    assert_eq!(oldest.json()["limits"]["absolute"]["maxTotalFloatingIps"], -1);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_not_counted() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
    cloud.wait().await;
    let limits = cloud.get(Member, "/limits").await;
    assert_eq!(limits["limits"]["absolute"]["totalInstancesUsed"], 0);
    assert_eq!(limits["limits"]["absolute"]["totalRAMUsed"], 0);
}
