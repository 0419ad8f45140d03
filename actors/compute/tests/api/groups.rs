//! Server groups.

use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, server_body},
    identity::Who::{Member, Other},
};

fn anti_affinity() -> Value {
    json!({"server_group": {"name": "g", "policy": "anti-affinity"}})
}

async fn group(cloud: &Cloud) -> String {
    let answer = cloud.send_at("2.64", Member, "POST /os-server-groups", anti_affinity()).await;
    answer.is(200).json()["server_group"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_group_is_shown_as_its_version_shows_it() {
    let cloud = Cloud::still().await;
    let id = group(&cloud).await;
    let path = format!("GET /os-server-groups/{id}");
    let newest = cloud.send_at("2.64", Member, &path, ()).await;
    assert_eq!(
        newest.is(200).json()["server_group"],
        json!({
            "id": id, "name": "g", "policy": "anti-affinity", "members": [],
            "rules": {"max_server_per_host": 1},
            "project_id": Member.project(), "user_id": Member.user(),
        })
    );
    let oldest = cloud.send_at("2.1", Member, &path, ()).await;
    assert_eq!(
        oldest.is(200).json()["server_group"],
        json!({
            "id": id, "name": "g", "policies": ["anti-affinity"], "metadata": {}, "members": [],
        })
    );
    let missing = cloud.send(Other, &path, ()).await;
    missing.is_error(404, &format!("Instance group {id} could not be found."));
}

#[tokio::test(start_paused = true)]
async fn a_server_is_a_member_until_its_group_is_deleted() {
    let cloud = Cloud::still().await;
    let id = group(&cloud).await;
    let mut body = server_body("web");
    body["os:scheduler_hints"] = json!({"group": id});
    let answer = cloud.send(Member, "POST /servers", body).await;
    let server = answer.is(202).json()["server"]["id"].clone();
    let shown = cloud.get(Member, &format!("/os-server-groups/{id}")).await;
    assert_eq!(shown["server_group"]["members"], json!([server]));
    let path = format!("/servers/{}", server.as_str().expect("an id"));
    let shown = cloud.get(Member, &path).await;
    assert_eq!(shown["server"]["server_groups"], json!([id]));
    assert_eq!(shown["server"]["scheduler_hints"], json!({"group": id}));
    cloud.send(Member, &format!("DELETE /os-server-groups/{id}"), ()).await.is(204);
    assert_eq!(cloud.get(Member, &path).await["server"]["server_groups"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn quotas_bound_groups_and_their_members() {
    let cloud = Cloud::still().await;
    cloud
        .quota(Member.project(), |quota| {
            quota.server_groups = 1;
            quota.server_group_members = 0;
        })
        .await;
    let id = group(&cloud).await;
    let second = cloud.send_at("2.64", Member, "POST /os-server-groups", anti_affinity()).await;
    second.is_error(403, "Quota exceeded, too many server groups.");
    let mut body = server_body("web");
    body["os:scheduler_hints"] = json!({"group": id});
    let member = cloud.send(Member, "POST /servers", body).await;
    member.is_error(403, "Quota exceeded, too many servers in group");
}

#[tokio::test(start_paused = true)]
async fn each_version_takes_a_policy_in_its_own_form() {
    let cloud = Cloud::still().await;
    let old = json!({"server_group": {"name": "g", "policies": ["affinity"]}});
    cloud.send_at("2.1", Member, "POST /os-server-groups", old.clone()).await.is(200);
    let answer = cloud.send_at("2.64", Member, "POST /os-server-groups", old).await;
    answer.is_error(
        400,
        "Invalid input for field/attribute server_group. Value: an object. Additional properties are not \
         allowed ('policies' was unexpected)",
    );
    let unknown = json!({"server_group": {"name": "g", "policy": "friendly"}});
    let answer = cloud.send_at("2.64", Member, "POST /os-server-groups", unknown).await;
    answer.is_error(
        400,
        "Invalid input for field/attribute server_group.policy. Value: \"friendly\". 'friendly' is not one \
         of affinity, anti-affinity, soft-affinity, soft-anti-affinity",
    );
}
