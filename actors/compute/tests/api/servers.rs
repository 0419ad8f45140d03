//! Making, showing and deleting servers.

use serde_json::json;

use crate::{
    cloud::{Cloud, server_body},
    identity::Who::{Admin, Member, Other},
    peers::{IMAGE, VOLUME},
};

#[tokio::test(start_paused = true)]
async fn a_server_is_accepted_shown_while_it_builds_and_active_in_the_end() {
    let cloud = Cloud::running().await;
    let answer = cloud.send(Member, "POST /servers", server_body("web")).await;
    answer.is(202);
    let body = answer.json();
    let id = body["server"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.headers["location"], format!("http://cloud/v2.1/servers/{id}").as_str());
    assert_eq!(body["server"]["OS-DCF:diskConfig"], "MANUAL");
    assert_eq!(body["server"]["security_groups"], json!([{"name": "default"}]));
    assert_eq!(body["server"]["adminPass"].as_str().map(str::len), Some(12));
    let building = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(building["server"]["status"], "BUILD");
    cloud.until_status(&id, "ACTIVE").await;
    let active = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(active["server"]["addresses"]["net"][0]["addr"], "10.0.0.5");
    assert_eq!(active["server"]["OS-EXT-STS:power_state"], 1);
    assert_eq!(active["server"]["image"]["id"], IMAGE.to_string());
    assert_eq!(cloud.host.guests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_shows_its_security_groups_as_the_network_calls_them() {
    let cloud = Cloud::running().await;
    let mut body = server_body("web");
    body["server"]["security_groups"] = json!([{"name": "1"}]);
    let made = cloud.send(Member, "POST /servers", body).await;
    made.is(202);
    let id = made.json()["server"]["id"].as_str().expect("an id").to_owned();
    let shown = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(shown["server"]["security_groups"], json!([{"name": "the group 1"}]));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_server_is_gone_with_all_it_had() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
    cloud.until("the guest is gone", |cloud| cloud.host.guests().is_empty()).await;
    cloud.wait().await;
    cloud
        .send(Member, &format!("GET /servers/{id}"), ())
        .await
        .is_error(404, &format!("Instance {id} could not be found."));
    assert_eq!(cloud.peers.servers_with_ports(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_fetches_an_image_once_for_all_servers_that_want_it() {
    let cloud = Cloud::running().await;
    let mut many = server_body("web");
    many["server"]["min_count"] = json!(8);
    cloud.send(Member, "POST /servers", many).await.is(202);
    cloud.until("all have their guests", |cloud| cloud.host.guests().len() == 8).await;
    assert_eq!(cloud.peers.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_turns_out_too_large_is_the_servers_fault_and_no_hosts() {
    let cloud = Cloud::running().await;
    let id = cloud.server(Member, "web").await;
    cloud.peers.change(|state| {
        state.images.get_mut(&IMAGE).expect("the image").virtual_size_bytes = Some(1 << 31);
    });
    cloud.until_status(&id, "ERROR").await;
    let shown = cloud.get(Member, &format!("/servers/{id}")).await;
    // A fault that another host might not have would end with no host left to try.
    let words = "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, image is \
                 2147483648 bytes.";
    assert_eq!(shown["server"]["fault"]["message"], words);
}

#[tokio::test(start_paused = true)]
async fn a_server_boots_from_a_volume_that_is_let_go_of_with_it() {
    let cloud = Cloud::running().await;
    let body = json!({"server": {
        "name": "web", "flavorRef": "1", "networks": "none", "imageRef": "",
        "block_device_mapping_v2": [{
            "uuid": VOLUME, "boot_index": 0, "source_type": "volume", "destination_type": "volume",
        }],
    }});
    let answer = cloud.send(Member, "POST /servers", body).await;
    let id = answer.is(202).json()["server"]["id"].as_str().expect("an id").to_owned();
    cloud.until_status(&id, "ACTIVE").await;
    let shown = cloud.get(Member, &format!("/servers/{id}")).await;
    assert_eq!(shown["server"]["image"], "");
    assert_eq!(
        shown["server"]["os-extended-volumes:volumes_attached"][0]["id"],
        VOLUME.to_string()
    );
    assert!(cloud.peers.attachment_of(VOLUME).is_some());
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
    cloud.until("the volume is free", |cloud| cloud.peers.attachment_of(VOLUME).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn servers_of_other_projects_do_not_exist() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let missing = format!("Instance {id} could not be found.");
    for request in ["GET", "DELETE"] {
        let answer = cloud.send(Other, &format!("{request} /servers/{id}"), ()).await;
        answer.is_error(404, &missing);
    }
    let shown = cloud.get(Admin, &format!("/servers/{id}")).await;
    assert_eq!(shown["server"]["name"], "web");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_id_is_the_id_of_nothing() {
    let cloud = Cloud::still().await;
    let answer = cloud.send(Member, "GET /servers/web", ()).await;
    answer.is_error(404, "Instance web could not be found.");
}
