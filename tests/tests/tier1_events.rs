//! What happens in the cloud is told in OpenStack's words, once each and in order, and a client that was away goes on
//! where it stopped.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_cloud::events::Happened;
use updraft_harness::world::Tier;
use updraft_runtime::notify::{Feed, PAGE_MAX, Published};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow::{self, Prepared},
};
use uuid::Uuid;

fn cloud(controls: usize) -> SimCloud {
    let size = Size { controls, hosts: 1, ..Size::default() };
    SimCloud::start(1, Tier::Memory, size, &Menu::default())
}

/// All that a service has told.
fn told(cloud: &mut SimCloud, service: &str) -> Vec<Published> {
    let feed = Feed::new(&cloud.database().unwrap(), service);
    let node = cloud.serving().unwrap();
    let read = async move { feed.read(0, PAGE_MAX).await.unwrap().notices };
    cloud.world.on(&node, Duration::from_secs(5), read).unwrap()
}

/// The names of the events of an object, without the updates between them.
fn names(notices: &[Published], object: &str) -> Vec<String> {
    let of_it = notices.iter().filter(|notice| notice.object == object);
    let names = of_it.map(|notice| notice.event.clone());
    names.filter(|name| !name.contains(".update")).collect()
}

fn active(cloud: &mut SimCloud, client: &Client, have: &Prepared) -> String {
    let server = client.server(cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(client.wait_for(cloud, &server, Some("ACTIVE")));
    server
}

fn act(cloud: &mut SimCloud, client: &Client, server: &str, action: Value, then: &str) {
    let path = format!("/compute/v2.1/servers/{server}/action");
    client.must(cloud, "POST", &path, action);
    assert!(client.wait_for(cloud, server, Some(then)));
}

#[test]
fn the_life_of_a_server_is_told_in_novas_words() {
    let mut cloud = cloud(3);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let server = active(&mut cloud, &client, &have);
    act(&mut cloud, &client, &server, json!({"os-stop": null}), "SHUTOFF");
    act(&mut cloud, &client, &server, json!({"os-start": null}), "ACTIVE");
    act(&mut cloud, &client, &server, json!({"reboot": {"type": "HARD"}}), "ACTIVE");
    cloud.world.run_for(Duration::from_secs(5));
    client.must(&mut cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(&mut cloud, &server, None));
    let notices = told(&mut cloud, "compute");
    let expected = [
        "create.start",
        "create.end",
        "power_off.start",
        "power_off.end",
        "power_on.start",
        "power_on.end",
        "reboot.start",
        "reboot.end",
        "delete.start",
        "delete.end",
    ];
    assert_eq!(names(&notices, &server), expected.map(|name| format!("instance.{name}")));
    let created = notices.iter().find(|notice| notice.event == "instance.create.end").unwrap();
    assert_eq!(created.payload["nova_object.name"], "InstanceCreatePayload");
    let data = &created.payload["nova_object.data"];
    assert_eq!((&data["uuid"], &data["state"]), (&json!(server), &json!("active")));
    assert!(created.publisher.starts_with("nova-compute:"), "{}", created.publisher);
    let id = Uuid::parse_str(&server).unwrap();
    assert_eq!(Happened::of(created), Some(Happened::ServerReady(id)));
}

#[test]
fn a_server_that_no_host_takes_is_told_to_be_in_error() {
    let mut cloud = cloud(1);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let huge = json!({"flavor": {"name": "huge", "ram": 64, "vcpus": 1, "disk": 1_000_000}});
    let huge = client.must(&mut cloud, "POST", "/compute/v2.1/flavors", huge);
    let huge = huge["flavor"]["id"].as_str().unwrap();
    let server = client.server(&mut cloud, &have.image, huge, None);
    assert!(client.wait_for(&mut cloud, &server, Some("ERROR")));
    let notices = told(&mut cloud, "compute");
    assert_eq!(names(&notices, &server), ["instance.create.start", "instance.create.error"]);
    let id = Uuid::parse_str(&server).unwrap();
    let happened: Vec<_> = notices.iter().filter_map(Happened::of).collect();
    assert!(happened.contains(&Happened::ServerCrashed(id)), "{happened:?}");
}

#[test]
fn ports_volumes_and_images_are_told_too() {
    let mut cloud = cloud(1);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let server = active(&mut cloud, &client, &have);
    let images = told(&mut cloud, "image");
    let expected = ["image.create", "image.upload", "image.activate"];
    assert_eq!(names(&images, &have.image)[..3], expected);
    let ports = told(&mut cloud, "network");
    let up = ports.iter().filter_map(Happened::of).find_map(|happened| match happened {
        Happened::NetworkUp { network, port } if network.to_string() == have.network => Some(port),
        _ => None,
    });
    let port = up.unwrap().to_string();
    let told_of_it = names(&ports, &port);
    assert_eq!(told_of_it[..2], ["port.create.start", "port.create.end"]);
    let volume = json!({"volume": {"size": 1}});
    let volume = client.must(&mut cloud, "POST", "/volume/v3/volumes", volume);
    let volume = volume["volume"]["id"].as_str().unwrap().to_owned();
    cloud.world.run_for(Duration::from_secs(5));
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    client.must(&mut cloud, "POST", &path, attach);
    cloud.world.run_for(Duration::from_secs(10));
    client.must(&mut cloud, "DELETE", &format!("{path}/{volume}"), Value::Null);
    cloud.world.run_for(Duration::from_secs(10));
    client.must(&mut cloud, "DELETE", &format!("/volume/v3/volumes/{volume}"), Value::Null);
    cloud.world.run_for(Duration::from_secs(10));
    let expected = [
        "create.start",
        "create.end",
        "attach.start",
        "attach.end",
        "detach.start",
        "detach.end",
        "delete.start",
        "delete.end",
    ];
    let volumes = told(&mut cloud, "volume");
    assert_eq!(names(&volumes, &volume), expected.map(|name| format!("volume.{name}")));
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_stopped() {
    let mut cloud = cloud(1);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let server = active(&mut cloud, &client, &have);
    let query = format!("?after=0&services=compute&events=instance.create&object={server}");
    let first = client.listen(&mut cloud, &query, None, 1).unwrap();
    assert_eq!(first[0].event, "instance.create.start");
    let again = client.listen(&mut cloud, &query, Some(&first[0].id), 1).unwrap();
    assert_eq!(again[0].event, "instance.create.end");
    let data = &again[0].data;
    assert_eq!(
        (&data["event_type"], &data["priority"]),
        (&json!("instance.create.end"), &json!("INFO"))
    );
    let fresh = client.listen(&mut cloud, &query, None, 2).unwrap();
    assert_eq!(fresh[1], again[0], "the same notice is told in the same words");
}

#[test]
fn a_user_hears_of_nothing_that_belongs_to_others() {
    let mut cloud = cloud(1);
    let admin = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &admin);
    active(&mut cloud, &admin, &have);
    let demo = flow::member(&mut cloud, &admin, "demo");
    assert!(demo.listen(&mut cloud, "?after=0", None, 1).is_none());
    let volume = json!({"volume": {"size": 1}});
    demo.must(&mut cloud, "POST", "/volume/v3/volumes", volume);
    let heard = demo.listen(&mut cloud, "?after=0", None, 1).unwrap();
    assert_eq!(heard[0].event, "volume.create.start");
}

#[test]
fn a_stream_ends_with_its_token_and_tells_nothing_more() {
    let mut cloud = cloud(1);
    let admin = Client::log_in(&mut cloud);
    let demo = flow::member(&mut cloud, &admin, "demo");
    let volume = json!({"volume": {"size": 1}});
    let volume = demo.must(&mut cloud, "POST", "/volume/v3/volumes", volume);
    cloud.world.run_for(Duration::from_secs(5));
    let mut heard = demo.begin_to_listen(&mut cloud, "", None, 1).unwrap();
    let users = admin.must(&mut cloud, "GET", "/identity/v3/users?name=demo", Value::Null);
    let user = format!("/identity/v3/users/{}", users["users"][0]["id"].as_str().unwrap());
    admin.must(&mut cloud, "PATCH", &user, json!({"user": {"enabled": false}}));
    let volume = volume["volume"]["id"].as_str().unwrap();
    admin.must(&mut cloud, "DELETE", &format!("/volume/v3/volumes/{volume}"), Value::Null);
    cloud.world.run_for(Duration::from_secs(5));
    assert_eq!(heard.try_recv(), Ok(None), "the stream has ended without a word of the volume");
}

#[test]
fn what_is_wrong_with_a_subscription_is_said() {
    let mut cloud = cloud(1);
    let client = Client::log_in(&mut cloud);
    for (query, word) in [("?services=moon", "compute, image"), ("?after=yesterday", "no place")] {
        let path = format!("/updraft/v1/events{query}");
        let answer = client.send(&mut cloud, "GET", &path, Value::Null).unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.to_string().contains(word), "{answer:?}");
    }
    let answer = Client::nobody().send(&mut cloud, "GET", "/updraft/v1/events", Value::Null);
    assert_eq!(answer.unwrap().status, 401);
}
