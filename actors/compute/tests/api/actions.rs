//! What is done with servers, from the request to the guest and back.

use serde_json::{Value, json};
use updraft_compute::rows::{HostRow, UsageRow};
use updraft_protocol::hypervisor::PowerState;

use crate::{
    cloud::{Answer, Cloud},
    identity::Who::{self, Admin, Member},
};

async fn act(cloud: &Cloud, who: Who, id: &str, body: Value) -> Answer {
    cloud.send(who, &format!("POST /servers/{id}/action"), body).await
}

fn power(cloud: &Cloud) -> Vec<PowerState> {
    cloud.host.guests().iter().map(|guest| guest.power).collect()
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_and_starts() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    act(&cloud, Member, &id, json!({"os-stop": null})).await.is(202);
    cloud.until_status(&id, "SHUTOFF").await;
    assert_eq!(power(&cloud), [PowerState::Shutdown]);
    act(&cloud, Member, &id, json!({"os-start": null})).await.is(202);
    cloud.until_status(&id, "ACTIVE").await;
    assert_eq!(power(&cloud), [PowerState::Running]);
}

#[tokio::test(start_paused = true)]
async fn a_server_reboots_hard_and_soft() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    for kind in ["HARD", "SOFT"] {
        act(&cloud, Member, &id, json!({"reboot": {"type": kind}})).await.is(202);
        cloud.until_status(&id, "ACTIVE").await;
    }
    let answer = act(&cloud, Member, &id, json!({"os-getConsoleOutput": {}})).await;
    let output = answer.is(200).json()["output"].as_str().expect("text").to_owned();
    assert_eq!(output.lines().count(), 3, "one line for each boot: {output}");
    let answer = act(&cloud, Member, &id, json!({"os-getConsoleOutput": {"length": 1}})).await;
    assert_eq!(answer.json()["output"], "simulated guest web: boot 3\n");
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_confirmed() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    act(&cloud, Member, &id, json!({"resize": {"flavorRef": "2"}})).await.is(202);
    cloud.until_status(&id, "VERIFY_RESIZE").await;
    act(&cloud, Member, &id, json!({"confirmResize": null})).await.is(204);
    cloud.until_status(&id, "ACTIVE").await;
    let server = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(server["server"]["flavor"]["original_name"], "m1.small");
    let usage: Vec<UsageRow> = cloud.rows();
    assert_eq!((usage[0].instances, usage[0].ram_mib), (1, 2_048));
    let hosts: Vec<HostRow> = cloud.rows();
    assert_eq!(hosts[0].used(None).ram_mib, 2_048);
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_reverted() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    act(&cloud, Member, &id, json!({"resize": {"flavorRef": "2"}})).await.is(202);
    cloud.until_status(&id, "VERIFY_RESIZE").await;
    act(&cloud, Member, &id, json!({"revertResize": null})).await.is(202);
    let hosts: Vec<HostRow> = cloud.rows();
    assert_eq!(hosts[0].used(None).ram_mib, 2_048, "both sizes are claimed until it is done");
    cloud.until_status(&id, "ACTIVE").await;
    let server = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(server["server"]["flavor"]["original_name"], "m1.tiny");
    let hosts: Vec<HostRow> = cloud.rows();
    assert_eq!(hosts[0].used(None).ram_mib, 512);
    let usage: Vec<UsageRow> = cloud.rows();
    assert_eq!(usage[0].ram_mib, 512);
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_cannot_be_is_refused() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let resize = |flavor: &str| json!({"resize": {"flavorRef": flavor}});
    let answer = act(&cloud, Member, &id, resize("huge")).await;
    answer.is_error(400, "Flavor huge could not be found.");
    let answer = act(&cloud, Member, &id, resize("1")).await;
    answer.is_error(400, "When resizing, instances must change flavor!");
    let flavor = json!({"flavor": {
        "name": "giant", "id": "giant", "ram": 1_000_000, "disk": 1, "vcpus": 1,
    }});
    cloud.send(Admin, "POST /flavors", flavor).await.is(200);
    let answer = act(&cloud, Member, &id, resize("giant")).await;
    let words = "Quota exceeded for ram: Requested 999488, but already used 512 of 51200 ram";
    answer.is_error(403, words);
    cloud.quota(Member.project(), |quota| quota.ram_mib = -1).await;
    let answer = act(&cloud, Member, &id, resize("giant")).await;
    answer.is_error(
        400,
        "No valid host was found. host-1: needs 1000000 MiB of memory, 65536 free of 65536 (0 claimed)",
    );
    let server = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(server["server"]["status"], "ACTIVE", "nothing has begun");
}

#[tokio::test(start_paused = true)]
async fn a_locked_server_is_its_administrators() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let lock = json!({"lock": {"locked_reason": "do not touch"}});
    act(&cloud, Member, &id, lock).await.is(202);
    let server = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(server["server"]["locked"], true);
    assert_eq!(server["server"]["locked_reason"], "do not touch");
    let words = format!("Instance {id} is locked");
    act(&cloud, Member, &id, json!({"os-stop": null})).await.is_error(409, &words);
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is_error(409, &words);
    act(&cloud, Admin, &id, json!({"os-stop": null})).await.is(202);
    act(&cloud, Member, &id, json!({"unlock": null})).await.is(202);
    cloud.until_status(&id, "SHUTOFF").await;
    act(&cloud, Member, &id, json!({"os-start": null})).await.is(202);
}

#[tokio::test(start_paused = true)]
async fn an_owner_does_not_lift_anothers_lock() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    cloud
        .change(&id, |row| {
            row.locked = Some(updraft_compute::rows::Lock { by_admin: true, reason: None });
        })
        .await;
    let rule = "os_compute_api:os-lock-server:unlock:unlock_override";
    let answer = act(&cloud, Member, &id, json!({"unlock": null})).await;
    answer.is_error(403, &format!("Policy doesn't allow {rule} to be performed."));
    act(&cloud, Admin, &id, json!({"unlock": null})).await.is(202);
}

#[tokio::test(start_paused = true)]
async fn a_state_is_reset_by_hand_and_stays() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let reset = |state: &str| json!({"os-resetState": {"state": state}});
    act(&cloud, Admin, &id, reset("error")).await.is(202);
    cloud.wait().await;
    cloud.until_status(&id, "ERROR").await;
    act(&cloud, Admin, &id, reset("active")).await.is(202);
    cloud.until_status(&id, "ACTIVE").await;
    let rule = "os_compute_api:os-admin-actions:reset_state";
    let answer = act(&cloud, Member, &id, reset("active")).await;
    answer.is_error(403, &format!("Policy doesn't allow {rule} to be performed."));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_action_is_refused() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let answer = act(&cloud, Member, &id, json!({"dance": null})).await;
    answer.is_error(400, "There is no such action: dance");
    let answer = act(&cloud, Member, &id, json!({"os-stop": null, "os-start": null})).await;
    answer.is_error(400, "Malformed request body: it must name exactly one action");
    let answer = act(&cloud, Member, &id, json!({"pause": null})).await;
    answer.is_error(501, "The requested functionality is not supported.");
    let answer = act(&cloud, Member, &id, json!({"resetNetwork": null})).await;
    answer.is_error(410, "This resource is gone.");
    let answer = act(&cloud, Member, &id, json!({"reboot": {"type": "SLOW"}})).await;
    answer.is_error(
        400,
        "Invalid input for field/attribute reboot.type. Value: \"SLOW\". 'SLOW' is not one of HARD, Hard, \
         hard, SOFT, Soft, soft",
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_told_also_when_the_server_is_gone() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    act(&cloud, Member, &id, json!({"os-stop": null})).await.is(202);
    cloud.until_status(&id, "SHUTOFF").await;
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
    cloud.until("it is gone", |cloud| cloud.host.guests().is_empty()).await;
    cloud.wait().await;
    let path = format!("/servers/{id}/os-instance-actions");
    let all = cloud.get(Member, &path).await;
    let actions = all["instanceActions"].as_array().expect("a list");
    let names: Vec<&Value> = actions.iter().map(|action| &action["action"]).collect();
    assert_eq!(names, ["delete", "stop", "create"]);
    let request = actions[1]["request_id"].as_str().expect("an id");
    let one = cloud.get(Member, &format!("{path}/{request}")).await;
    assert_eq!(one["instanceAction"]["events"][0]["event"], "compute_stop_instance");
    assert_eq!(one["instanceAction"]["events"][0]["result"], "Success");
    let unknown = cloud.send(Member, &format!("GET {path}/req-1"), ()).await;
    unknown.is_error(404, "Action for request_id req-1 not found");
}
