//! Who may move a server, and what is said of it in which version.

use serde_json::{Value, json};

use crate::{
    cloud::{Answer, Cloud},
    identity::Who::{Admin, Member},
    peers::HOST,
};

async fn migrate(cloud: &Cloud, version: &str, id: &str, argument: Value) -> Answer {
    let body = json!({"migrate": argument});
    cloud.send_at(version, Admin, &format!("POST /servers/{id}/action"), body).await
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_checked_before_anything_is_stopped() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let path = format!("POST /servers/{id}/action");
    let rule = "os_compute_api:os-migrate-server:migrate";
    let answer = cloud.send(Member, &path, json!({"migrate": null})).await;
    answer.is_error(403, &format!("Policy doesn't allow {rule} to be performed."));
    let answer = migrate(&cloud, "2.55", &id, json!({"host": "host-2"})).await;
    assert!(answer.is(400).text.contains("Additional properties are not allowed"));
    let answer = migrate(&cloud, "2.56", &id, json!({"host": "host-2"})).await;
    answer.is_error(400, "Compute host host-2 could not be found.");
    let answer = migrate(&cloud, "2.56", &id, json!({"host": HOST})).await;
    answer.is_error(400, &format!("Cannot migrate instance {id} to host {HOST}: it is there."));
    for version in ["2.1", "2.56"] {
        let answer = migrate(&cloud, version, &id, Value::Null).await;
        answer.is_error(400, "No valid host was found. There is no other compute host.");
    }
    let server = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(server["server"]["status"], "ACTIVE", "nothing has begun");
}
