//! Volumes of servers.

use serde_json::{Value, json};
use updraft_compute::rows::ReservationRow;
use uuid::Uuid;

use crate::{cloud::Cloud, identity::Who::Member, peers::VOLUME};

fn wanted() -> Value {
    json!({"volumeAttachment": {"device": null, "volumeId": VOLUME}})
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_attached_seen_and_detached() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let path = format!("/servers/{id}/os-volume_attachments");
    let answer = cloud.send_at("2.89", Member, &format!("POST {path}"), wanted()).await;
    assert_eq!(
        answer.is(200).json(),
        json!({"volumeAttachment": {
            "id": VOLUME, "volumeId": VOLUME, "serverId": id, "device": "/dev/vdb", "tag": null,
            "delete_on_termination": false,
        }})
    );
    cloud.until("the guest sees it", |cloud| cloud.host.guests()[0].disks.len() == 2).await;
    let attachment = cloud.peers.attachment_of(VOLUME).expect("attached");
    let answer = cloud.send_at("2.89", Member, &format!("GET {path}/{VOLUME}"), ()).await;
    assert_eq!(
        answer.is(200).json(),
        json!({"volumeAttachment": {
            "volumeId": VOLUME, "serverId": id, "device": "/dev/vdb", "tag": null,
            "delete_on_termination": false, "attachment_id": attachment, "bdm_uuid": attachment,
        }})
    );
    let listed = cloud.send_at("2.1", Member, &format!("GET {path}"), ()).await;
    assert_eq!(
        listed.is(200).json(),
        json!({"volumeAttachments": [
            {"id": VOLUME, "volumeId": VOLUME, "serverId": id, "device": "/dev/vdb"},
        ]})
    );
    cloud.send_at("2.89", Member, &format!("DELETE {path}/{VOLUME}"), ()).await.is(202);
    cloud.until("it is free", |cloud| cloud.peers.attachment_of(VOLUME).is_none()).await;
    assert_eq!(cloud.host.guests()[0].disks.len(), 1);
    assert!(cloud.rows::<ReservationRow>().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_had_is_refused() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let path = format!("POST /servers/{id}/os-volume_attachments");
    let nowhere = Uuid::from_u128(77);
    let answer =
        cloud.send(Member, &path, json!({"volumeAttachment": {"volumeId": nowhere}})).await;
    answer.is_error(404, &format!("Volume {nowhere} could not be found."));
    let held = Some(Uuid::from_u128(9));
    cloud.peers.change(|state| {
        state.volumes.insert(VOLUME, held);
    });
    let words = "Invalid volume: Volume status must be available to reserve, but the status is \
                 in-use.";
    cloud.send(Member, &path, wanted()).await.is_error(400, words);
    let missing = format!("DELETE /servers/{id}/os-volume_attachments/{nowhere}");
    let words = format!("Instance {id} is not attached to volume {nowhere}");
    cloud.send(Member, &missing, ()).await.is_error(404, &words);
    cloud.until("the notes are gone", |cloud| cloud.rows::<ReservationRow>().is_empty()).await;
    assert_eq!(cloud.peers.attachment_of(VOLUME), held, "whoever has it keeps it");
}

#[tokio::test(start_paused = true)]
async fn a_volume_on_another_host_is_reached_where_it_is_served() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    cloud.peers.change(|state| state.volume_host = "host-2".to_owned());
    let path = format!("POST /servers/{id}/os-volume_attachments");
    cloud.send(Member, &path, wanted()).await.is(200);
    cloud.until("the guest sees it", |cloud| cloud.host.guests()[0].disks.len() == 2).await;
    let attachment = cloud.peers.attachment_of(VOLUME).expect("attached");
    let remote: Vec<_> = cloud.host.remote_disks().into_iter().map(|(_, _, name)| name).collect();
    assert_eq!(remote, [attachment.to_string()]);
    let path = format!("DELETE /servers/{id}/os-volume_attachments/{VOLUME}");
    cloud.send(Member, &path, ()).await.is(202);
    cloud.until("it is free", |cloud| cloud.peers.attachment_of(VOLUME).is_none()).await;
    assert!(cloud.host.remote_disks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_root_volume_stays() {
    let cloud = Cloud::running().await;
    let body = json!({"server": {
        "name": "web", "flavorRef": "1", "networks": "none",
        "block_device_mapping_v2": [{"uuid": VOLUME, "boot_index": 0, "source_type": "volume"}],
    }});
    let answer = cloud.send(Member, "POST /servers", body).await;
    let id = answer.is(202).json()["server"]["id"].as_str().expect("an id").to_owned();
    cloud.until_status(&id, "ACTIVE").await;
    let path = format!("DELETE /servers/{id}/os-volume_attachments/{VOLUME}");
    let answer = cloud.send(Member, &path, ()).await;
    answer.is_error(403, "Cannot detach a root device volume");
}
