//! Hosts that an operator says are down, and servers that are taken from them.

use serde_json::{Value, json};
use updraft_compute::rows::{HostRow, ServerRow};
use updraft_protocol::compute::Goal;

use crate::{
    cloud::{Answer, Cloud},
    identity::Who::{Admin, Member},
    peers::HOST,
};

async fn evacuate(cloud: &Cloud, version: &str, id: &str, argument: Value) -> Answer {
    let body = json!({"evacuate": argument});
    cloud.send_at(version, Admin, &format!("POST /servers/{id}/action"), body).await
}

async fn force_down(cloud: &Cloud, forced_down: bool) {
    let body = json!({"host": HOST, "binary": "nova-compute", "forced_down": forced_down});
    let answer = cloud.send_at("2.11", Admin, "PUT /os-services/force-down", body.clone()).await;
    assert_eq!(answer.is(200).json(), json!({"service": body}));
}

fn row(cloud: &Cloud) -> ServerRow {
    cloud.rows::<ServerRow>().pop().expect("there is one")
}

#[tokio::test(start_paused = true)]
async fn a_host_is_down_when_an_operator_says_so() {
    let cloud = Cloud::running().await;
    let shown = |listed: Answer| listed.is(200).json()["services"][2].clone();
    let before = shown(cloud.send_at("2.69", Admin, "GET /os-services", ()).await);
    assert_eq!((&before["state"], &before["forced_down"]), (&json!("up"), &json!(false)));
    let path = format!("PUT /os-services/{}", before["id"].as_str().expect("an id"));
    let answer = cloud.send_at("2.69", Admin, &path, json!({"forced_down": true})).await;
    let service = answer.is(200).json()["service"].clone();
    assert_eq!((&service["state"], &service["forced_down"]), (&json!("down"), &json!(true)));
    let server = cloud.server(Member, "web").await;
    cloud.until_status(&server, "ERROR").await;
    let shown = cloud.get(Member, &format!("/servers/{server}")).await;
    assert_eq!(
        shown["server"]["fault"]["message"],
        "No valid host was found. ComputeFilter: an operator said that the host is down (1 host: \
         host-1)"
    );
    let answer = cloud.send_at("2.69", Admin, &path, json!({"forced_down": false})).await;
    assert_eq!(answer.is(200).json()["service"]["state"], "up");
    let old = cloud.send_at(
        "2.10",
        Admin,
        "PUT /os-services/force-down",
        json!({
            "host": HOST, "binary": "nova-compute", "forced_down": true,
        }),
    );
    old.await.is_error(404, "The resource could not be found.");
}

#[tokio::test(start_paused = true)]
async fn who_is_on_a_host_that_lives_stays() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let words = format!("Compute service of {HOST} is still in use.");
    evacuate(&cloud, "2.100", &id, json!({})).await.is_error(400, &words);
    let body = json!({"evacuate": {}});
    let denied = cloud.send(Member, &format!("POST /servers/{id}/action"), body).await;
    denied.is_error(403, "Policy doesn't allow os_compute_api:os-evacuate to be performed.");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_checked_as_its_version_says() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    force_down(&cloud, true).await;
    let refused = [
        ("2.1", json!({})),
        ("2.13", json!({"onSharedStorage": true})),
        ("2.14", json!({"onSharedStorage": false})),
        ("2.28", json!({"force": false})),
        ("2.29", json!({"force": true})),
        ("2.68", json!({"force": false})),
        ("2.100", json!({"host": HOST})),
        ("2.100", json!({"where": "else"})),
    ];
    for (version, argument) in refused {
        let answer = evacuate(&cloud, version, &id, argument.clone()).await;
        assert_eq!(answer.status, 400, "{version}: {argument}: {}", answer.text);
    }
    let answer = evacuate(&cloud, "2.100", &id, json!({"host": "host-9"})).await;
    answer.is_error(404, "Compute host host-9 could not be found.");
    assert!(row(&cloud).evacuation.is_none(), "nothing has begun");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_volumes_on_the_host_is_refused() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let body = json!({"volumeAttachment": {"volumeId": crate::peers::VOLUME}});
    let path = format!("POST /servers/{id}/os-volume_attachments");
    cloud.send(Member, &path, body).await.is(200);
    cloud.until("it is attached", |cloud| row(cloud).action.is_none()).await;
    force_down(&cloud, true).await;
    let answer = evacuate(&cloud, "2.100", &id, json!({})).await;
    let words = format!(
        "Instance {id} has volumes, which the host that is down has not let go of: it cannot be made elsewhere."
    );
    answer.is_error(400, &words);
}

/// The host of this test lives, whatever was said of it: so it is asked, and says that it has nothing.
#[tokio::test(start_paused = true)]
async fn a_host_that_is_heard_is_asked_whatever_was_said_of_it() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    force_down(&cloud, true).await;
    let answer = evacuate(&cloud, "2.13", &id, json!({"onSharedStorage": false})).await;
    assert!(answer.is(200).json()["adminPass"].is_string());
    assert_eq!(row(&cloud).placement.map(|placement| placement.goal), Some(Goal::Absent));
    let shown = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(shown["server"]["status"], "REBUILD");
    evacuate(&cloud, "2.100", &id, json!({})).await.is_error(
        409,
        &format!("Cannot 'evacuate' instance {id} while it is in task_state rebuilding"),
    );
    cloud.until_status(&id, "ERROR").await;
    assert!(cloud.host.guests().is_empty());
    assert!(cloud.rows::<updraft_compute::rows::LeftRow>().is_empty());
    let hosts: Vec<HostRow> = cloud.rows();
    assert!(hosts[0].claims.is_empty(), "nothing of it is there");
    let shown = cloud.get(Member, &format!("/servers/{id}")).await;
    let words = "No valid host was found. ComputeFilter: an operator said that the host is down \
                 (1 host: host-1)";
    assert_eq!(shown["server"]["fault"]["message"], words);
    let actions = cloud.get(Member, &format!("/servers/{id}/os-instance-actions")).await;
    assert_eq!(actions["instanceActions"][0]["action"], "evacuate");
}
