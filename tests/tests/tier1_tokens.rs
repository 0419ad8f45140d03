//! A token that expires on the way does not fail the request that was accepted with it.

use std::time::Duration;

use serde_json::Value;
use updraft_harness::world::{Tier, Verdict};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow,
};

const LIFETIME: Duration = Duration::from_secs(30);

#[test]
fn a_build_outlives_its_token_and_the_edge_refuses_the_token_then() {
    let size = Size { token_lifetime: LIFETIME, ..Size::default() };
    let mut cloud = SimCloud::start(5, Tier::Memory, size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    // No other node's scheduler hears of the server, and no host learns what is wanted.
    cloud.world.network().intercept(|_, _, frame| {
        let method = &frame.header.method;
        let cut = ["compute.scheduler/", "compute.node/", "compute.conductor/get_server"];
        let is_cut = cut.iter().any(|start| method.starts_with(start));
        if is_cut { Verdict::Drop } else { Verdict::Pass }
    });
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    cloud.world.run_for(LIFETIME + Duration::from_secs(2));
    let answer = client.send(&mut cloud, "GET", "/compute/v2.1/servers", Value::Null);
    assert_eq!(answer.map(|answer| answer.status), Some(401), "the token has expired");
    let again = Client::log_in(&mut cloud);
    let shown = again.show(&mut cloud, &server).unwrap_or_default();
    assert_eq!(shown["status"], "BUILD", "it waits: {shown:#?}");

    cloud.world.network().leave_alone();
    assert!(again.wait_for(&mut cloud, &server, Some("ACTIVE")), "the build did not go on");
}
