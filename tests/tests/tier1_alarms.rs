//! What does not get done in the cloud is told to its operator, with what it waits for, until it is done.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::Value;
use updraft_harness::world::Tier;
use updraft_runtime::{
    notify::{Feed, PAGE_MAX},
    rows::{SETTLED, UNSETTLED},
    transport::NodeId,
};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow,
};

/// Longer than a server may take.
const TOO_LONG: Duration = Duration::from_secs(16 * 60);

/// The alarms of servers that a node shows: the key, and what it waits for.
fn alarms(cloud: &mut SimCloud, admin: &Client) -> Vec<(String, String)> {
    let nodes = admin.must(cloud, "GET", "/updraft/v1/vitals", Value::Null);
    let kinds =
        nodes.as_array().unwrap().iter().flat_map(|node| node["alarms"].as_array().unwrap());
    let servers = kinds.filter(|kind| kind["table"] == "compute/server");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = |alarm: &Value| (text(&alarm["key"]), text(&alarm["waits_for"]));
    servers.flat_map(|kind| kind["oldest"].as_array().unwrap().iter().map(told)).collect()
}

/// What is told of rows of compute.
fn told(cloud: &mut SimCloud) -> Vec<(String, String)> {
    let feed = Feed::new(&cloud.database().unwrap(), "compute");
    let node = cloud.serving().unwrap();
    let read = async move { feed.read(0, PAGE_MAX).await.unwrap().notices };
    let notices = cloud.world.on(&node, Duration::from_secs(5), read).unwrap();
    let of_rows = notices.into_iter().filter(|notice| notice.event.starts_with("row."));
    of_rows.map(|notice| (notice.event, notice.object)).collect()
}

#[test]
fn a_server_whose_host_is_dead_is_reported_while_it_is_to_go() {
    let size = Size { controls: 1, hosts: 1, ..Size::default() };
    let mut cloud = SimCloud::start(1, Tier::Memory, size, &Menu::default());
    let admin = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &admin);
    let server = admin.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(admin.wait_for(&mut cloud, &server, Some("ACTIVE")));
    assert_eq!(alarms(&mut cloud, &admin), []);
    let host = NodeId::new("compute-1").unwrap();
    cloud.world.crash(&host);
    admin.must(&mut cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    cloud.world.run_for(TOO_LONG);
    let reported = alarms(&mut cloud, &admin);
    let [(key, waits_for)] = &reported[..] else { panic!("{reported:?}") };
    assert!(*key == server && waits_for.contains("compute-1"), "{reported:?}");
    cloud.world.start(&host);
    assert!(admin.wait_for(&mut cloud, &server, None));
    cloud.world.run_for(Duration::from_secs(5));
    assert_eq!(alarms(&mut cloud, &admin), []);
    let both = [UNSETTLED, SETTLED].map(|event| (event.to_owned(), server.clone()));
    assert_eq!(told(&mut cloud), both);
}
