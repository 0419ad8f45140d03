//! What sweeps and random workloads have found, a named case each.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_harness::{
    fault::{DriverTrouble, FaultPlan, Target},
    world::{Tier, Verdict},
};
use updraft_tests::{
    census,
    cloud::{Client, Fault, Menu, Point, SimCloud, Size},
    flow, life, points,
};

/// The host used to ask its hypervisor for ever to remove what it had removed, of an older generation.
#[test]
fn a_late_word_of_a_server_that_is_gone_leaves_nothing_on_its_host() {
    let mut cloud = SimCloud::start(1, Tier::Memory, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let before = flow::inventory(&cloud);
    let mut first = true;
    cloud.world.network().intercept(move |_, _, frame| {
        let late = frame.header.method == "compute.node/converge" && std::mem::take(&mut first);
        if late { Verdict::Delay(points::DELAY) } else { Verdict::Pass }
    });
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")), "it is not built");
    client.must(&mut cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(&mut cloud, &server, None), "it does not go");
    cloud.world.run_for(points::DELAY);
    life::leaves_nothing(&mut cloud, &before);
}

/// A scheduler that had just started used to find no host, since it had heard of none yet.
#[test]
fn a_build_goes_on_when_the_only_control_node_crashes_and_comes_back() {
    let size = Size { controls: 1, hosts: 2, ..Size::default() };
    let mut cloud = SimCloud::start(2, Tier::Memory, size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    // The crash comes before any scheduler has heard of the server.
    cloud.world.network().intercept(|_, _, frame| {
        let asks = frame.header.method.starts_with("compute.scheduler/");
        if asks { Verdict::Drop } else { Verdict::Pass }
    });
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    let control = cloud.controls()[0].clone();
    cloud.world.crash(&control);
    cloud.world.network().leave_alone();
    cloud.world.run_for(Duration::from_secs(2));
    cloud.world.start(&control);
    let built = client.wait_for(&mut cloud, &server, Some("ACTIVE"));
    let shown = client.show(&mut cloud, &server);
    assert!(built, "{shown:#?}");
}

/// A file system that never answered used to hold a server between two states for ever.
#[test]
fn a_server_is_deleted_though_its_files_do_not_answer() {
    updraft_tests::scenario::replay(
        r#"{
            "scenario": "life", "seed": 3, "tier": "Memory",
            "case": {
                "seed": 3,
                "steps": [
                    { "Wait": 1036 },
                    { "Ask": [2, { "MakeServer": { "image": null, "key_pair": 0, "network": 0, "port": null,
                        "volume": null } }] },
                    { "Ask": [0, { "DeleteServer": 4 }] }
                ],
                "faults": { "seed": 3, "steps": [{
                    "from_ms": 572, "until_ms": 1208,
                    "fault": { "driver": { "nodes": "all", "operation": "disks/", "percent": 72,
                        "trouble": "hangs" } }
                }] }
            }
        }"#,
    );
}

/// The guest used to keep the interface of a port that is not there any more.
#[test]
fn a_port_that_is_deleted_is_unplugged_from_its_server() {
    let mut cloud = SimCloud::start(3, Tier::Memory, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")), "it is not built");
    let known = census::take(&cloud);
    let (port, _) = known.ports.iter().find(|(_, port)| port.nic.is_some()).unwrap();
    let path = format!("/networking/v2.0/ports/{port}");
    client.must(&mut cloud, "DELETE", &path, Value::Null);
    life::rest(&mut cloud);
    let known = census::take(&cloud);
    let row = &known.servers[&server.parse().unwrap()];
    assert_eq!((row.state.as_str(), row.nics.len()), ("active", 0));
    let guest = &known.machines[row.host().unwrap()].guests[&server.parse().unwrap()];
    assert!(guest.running && guest.macs.is_empty(), "{guest:?}");
    let path = format!("/compute/v2.1/servers/{server}/os-interface");
    let listed = client.must(&mut cloud, "GET", &path, Value::Null);
    assert_eq!(listed["interfaceAttachments"], serde_json::json!([]));
}

/// A build that was deleted while its image was on the way used to leave a root disk on its host.
#[test]
fn a_server_that_is_deleted_while_its_image_comes_leaves_no_files() {
    let late = Fault::Driver(DriverTrouble::Late { by: Duration::from_secs(4) });
    let menu = Menu::new(move |point| match point {
        Point::Driver { name, .. } if name == "disks/Keep" => Some(late),
        _ => None,
    });
    let mut cloud = SimCloud::start(4, Tier::Memory, Size::default(), &menu);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let before = flow::inventory(&cloud);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    cloud.world.run_for(Duration::from_secs(2));
    client.must(&mut cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(&mut cloud, &server, None), "it does not go");
    life::leaves_nothing(&mut cloud, &before);
}

/// A server whose host failed to attach a volume, and then to take it back, used to keep it for ever.
#[test]
fn a_volume_that_is_neither_attached_nor_detached_is_free_again_once_its_host_works() {
    let size = Size { hosts: 1, ..Size::default() };
    let mut cloud = SimCloud::start(3, Tier::Memory, size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let volume = flow::volume(&mut cloud, &client);
    let server = client.server(&mut cloud, &have.image, &have.flavor, None);
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")), "it is not built");
    let begins = cloud.world.now();
    let fault = updraft_harness::fault::Fault::Driver {
        nodes: Target::All,
        operation: "hypervisor/".to_owned(),
        percent: 100,
        trouble: DriverTrouble::Fails,
    };
    cloud.world.follow(FaultPlan::new(1).with(begins, begins + Duration::from_secs(20), fault));
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    client.must(&mut cloud, "POST", &path, body);
    assert!(client.wait_for(&mut cloud, &server, Some("ERROR")), "nothing went wrong");
    let path = format!("/volume/v3/volumes/{volume}");
    let free = cloud.world.now() + Duration::from_secs(60);
    while client.must(&mut cloud, "GET", &path, Value::Null)["volume"]["status"] != "available" {
        assert!(cloud.world.now() < free, "nobody gets the volume");
        cloud.world.run_for(Duration::from_millis(500));
    }
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")), "the server is not well again");
}
