//! What users write on their servers: names, metadata, tags; and what they read of ports and addresses.

use serde_json::{Value, json};
use updraft_compute::rows::VmState;

use crate::{
    cloud::Cloud,
    identity::Who::{Member, Reader},
    peers::NETWORK,
};

/// A server that runs, as far as its row says.
async fn server(cloud: &Cloud) -> String {
    let id = cloud.server(Member, "web").await;
    cloud
        .change(&id, |row| {
            row.state = VmState::Active;
            row.action = None;
        })
        .await;
    id
}

#[tokio::test(start_paused = true)]
async fn a_server_is_renamed_and_described() {
    let cloud = Cloud::still().await;
    let id = server(&cloud).await;
    let body = json!({"server": {"name": "web2", "description": "mine", "accessIPv4": "10.1.1.1"}});
    let answer = cloud.send(Member, &format!("PUT /servers/{id}"), body).await;
    let server = answer.is(200).json()["server"].clone();
    assert_eq!(server["name"], "web2");
    assert_eq!(server["description"], "mine");
    assert_eq!(server["accessIPv4"], "10.1.1.1");
    let body = json!({"server": {"description": null}});
    let answer = cloud.send(Member, &format!("PUT /servers/{id}"), body.clone()).await;
    assert_eq!(answer.json()["server"]["description"], Value::Null);
    let early = cloud.send_at("2.18", Member, &format!("PUT /servers/{id}"), body.clone()).await;
    early.is(400);
    let denied = cloud.send(Reader, &format!("PUT /servers/{id}"), body).await;
    denied.is_error(403, "Policy doesn't allow os_compute_api:servers:update to be performed.");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_merged_replaced_and_deleted() {
    let cloud = Cloud::still().await;
    let id = server(&cloud).await;
    let path = format!("/servers/{id}/metadata");
    let send = |request: String, body: Value| {
        let cloud = &cloud;
        async move { cloud.send(Member, &request, body).await }
    };
    send(format!("PUT {path}"), json!({"metadata": {"a": "1"}})).await.is(200);
    let merged = send(format!("POST {path}"), json!({"metadata": {"b": "2"}})).await;
    assert_eq!(merged.is(200).json(), json!({"metadata": {"a": "1", "b": "2"}}));
    let set = send(format!("PUT {path}/a"), json!({"meta": {"a": "3"}})).await;
    assert_eq!(set.is(200).json(), json!({"meta": {"a": "3"}}));
    let wrong = send(format!("PUT {path}/a"), json!({"meta": {"b": "3"}})).await;
    wrong.is_error(400, "Request body and URI mismatch");
    cloud.send(Member, &format!("DELETE {path}/b"), ()).await.is(204);
    let missing = cloud.send(Member, &format!("GET {path}/b"), ()).await;
    missing.is_error(404, "Metadata item was not found");
    assert_eq!(cloud.get(Member, &path).await, json!({"metadata": {"a": "3"}}));
    cloud.quota(Member.project(), |quota| quota.metadata_items = 1).await;
    let many = send(format!("POST {path}"), json!({"metadata": {"b": "2"}})).await;
    many.is_error(403, "Maximum number of metadata items exceeds 1");
}

#[tokio::test(start_paused = true)]
async fn tags_are_set_one_by_one_and_all_together() {
    let cloud = Cloud::still().await;
    let id = server(&cloud).await;
    let path = format!("/servers/{id}/tags");
    let added = cloud.send(Member, &format!("PUT {path}/blue"), ()).await;
    assert_eq!(added.is(201).headers["location"], format!("http://cloud/v2.1{path}/blue").as_str());
    cloud.send(Member, &format!("PUT {path}/blue"), ()).await.is(204);
    cloud.send(Member, &format!("GET {path}/blue"), ()).await.is(204);
    let body = json!({"tags": ["red", "green"]});
    let all = cloud.send(Member, &format!("PUT {path}"), body).await;
    assert_eq!(all.is(200).json(), json!({"tags": ["green", "red"]}));
    let missing = cloud.send(Member, &format!("DELETE {path}/blue"), ()).await;
    missing.is_error(404, &format!("Server {id} has no tag 'blue'"));
    cloud.send(Member, &format!("DELETE {path}/red"), ()).await.is(204);
    cloud.send(Member, &format!("DELETE {path}"), ()).await.is(204);
    assert_eq!(cloud.get(Member, &path).await, json!({"tags": []}));
    let early = cloud.send_at("2.25", Member, &format!("GET {path}"), ()).await;
    early.is_error(404, "The resource could not be found.");
    let wrong = cloud.send(Member, &format!("PUT {path}"), json!({"tags": ["a,b"]})).await;
    wrong.is(400);
}

#[tokio::test(start_paused = true)]
async fn ports_and_addresses_are_shown() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let ports = cloud.send_at("2.70", Member, &format!("GET /servers/{id}/os-interface"), ()).await;
    let port = ports.is(200).json()["interfaceAttachments"][0].clone();
    let port_id = port["port_id"].as_str().expect("an id").to_owned();
    assert_eq!(
        port,
        json!({
            "net_id": NETWORK, "port_id": port_id, "mac_addr": "fa:16:3e:00:00:01",
            "port_state": "ACTIVE", "tag": null,
            "fixed_ips": [{
                "ip_address": "10.0.0.5", "subnet_id": "00000000-0000-0000-0000-000055550001",
            }],
        })
    );
    let one = cloud.get(Member, &format!("/servers/{id}/os-interface/{port_id}")).await;
    assert_eq!(one["interfaceAttachment"]["port_id"], port_id);
    let addresses = json!([{"version": 4, "addr": "10.0.0.5"}]);
    let ips = cloud.get(Member, &format!("/servers/{id}/ips")).await;
    assert_eq!(ips, json!({"addresses": {"net": addresses}}));
    let ips = cloud.get(Member, &format!("/servers/{id}/ips/net")).await;
    assert_eq!(ips, json!({"net": addresses}));
    let missing = cloud.send(Member, &format!("GET /servers/{id}/ips/other"), ()).await;
    missing.is_error(404, "Instance is not a member of specified network");
}
