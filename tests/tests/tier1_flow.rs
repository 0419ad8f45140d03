//! The provisioning flow on a simulated cloud over in-memory links.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_harness::world::Tier;
use updraft_tests::cloud::{Client, Menu, SimCloud, Size};

#[test]
fn a_server_with_a_port_is_built_and_leaves_nothing_behind() {
    let mut cloud = SimCloud::start(1, Tier::Memory, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let image = client.image(&mut cloud, b"not much of a disk");
    let flavor = client.flavor(&mut cloud, 64);
    let network = client.network(&mut cloud, "10.1.0.0/24");
    let server = client.server(&mut cloud, &image, &flavor, Some(&network));
    let built = client.wait_for(&mut cloud, &server, Some("ACTIVE"));
    let shown = client.show(&mut cloud, &server);
    assert!(built, "{shown:#?}");
    let guests: usize = guests(&cloud);
    assert_eq!(guests, 1);

    client.must(&mut cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(&mut cloud, &server, None));
    cloud.world.run_for(Duration::from_secs(5));
    assert_eq!(self::guests(&cloud), 0);
    for host in cloud.hosts() {
        let machine = cloud.machine(host).unwrap();
        assert!(machine.disks.servers().is_empty());
        assert!(machine.network.state().taps.is_empty(), "{:?}", machine.network.state());
    }
    let ports = client.must(&mut cloud, "GET", "/networking/v2.0/ports", Value::Null);
    let owned = |port: &&Value| port["device_id"] == json!(server);
    assert_eq!(ports["ports"].as_array().unwrap().iter().filter(owned).count(), 0);
}

fn guests(cloud: &SimCloud) -> usize {
    cloud.hosts().iter().map(|host| cloud.machine(host).unwrap().guests.guests().len()).sum()
}
