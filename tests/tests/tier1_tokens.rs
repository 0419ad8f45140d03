//! A token that expires on the way does not fail the request that was accepted with it; and what tokens promise holds,
//! whatever goes wrong.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use updraft_cloud::flow::lines;
use updraft_harness::{
    fault::{ClockTrouble, Fault, FaultPlan, FaultStep, Target},
    world::{EPOCH, TICK, Tier, Verdict},
};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow, same,
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

/// The line of the flow at which the edge has judged the token: from then on the request is accepted.
const ACCEPTED: u8 = 5;

/// The flow's last step.
const LAST: u8 = 29;

/// Longer than any build here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds a server with all that the flow has to do with, by a token that expires at this moment of the world if at any.
/// Returns the moments of the numbered lines.
fn flow_whose_token_expires(at: Option<Duration>) -> Vec<(u8, Duration)> {
    let size = Size { token_lifetime: PATIENCE, ..Size::default() };
    let mut cloud = SimCloud::start(11, Tier::Memory, size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let volume = flow::volume(&mut cloud, &client);
    let before = flow::steps(&mut cloud).len();
    let client = Client::log_in(&mut cloud);
    if let Some(at) = at {
        // Everybody's clock is set: so the token's time is over for all.
        let trouble = ClockTrouble::Skew { ms: i64::try_from(PATIENCE.as_millis()).unwrap() };
        let fault = Fault::Clock { nodes: Target::All, trouble };
        let until = at + PATIENCE * 10;
        let steps = vec![FaultStep { from: at, until, fault }];
        cloud.world.follow(FaultPlan { steps, ..FaultPlan::new(1) });
    }
    let body = flow::server_with_all(&have, &volume);
    client.must(&mut cloud, "POST", "/compute/v2.1/servers", body);
    cloud.world.run_for(at.unwrap_or_default().saturating_sub(cloud.world.now()) + TICK * 2);
    if at.is_some() {
        let answer = client.send(&mut cloud, "GET", "/compute/v2.1/servers", Value::Null);
        assert_eq!(answer.map(|answer| answer.status), Some(401), "the token has not expired");
    }
    let again = Client::log_in(&mut cloud);
    let server = flow::active(&mut cloud, &again, PATIENCE).unwrap();
    let shown = again.show(&mut cloud, &server).unwrap_or_default();
    assert_eq!(shown["status"], "ACTIVE", "its token expired at {at:?}: {shown:#?}");
    cloud.world.run_for(Duration::from_secs(2));
    let lines = lines(flow::steps(&mut cloud).split_off(before)).into_iter();
    lines.filter_map(|line| Some((line.number?, line.step.at.since(EPOCH)))).collect()
}

#[test]
fn a_token_may_expire_at_every_step_after_its_request_was_accepted() {
    let usual = same::seeded(1, || flow_whose_token_expires(None));
    let moments: BTreeSet<Duration> = usual
        .iter()
        .filter(|(number, _)| (ACCEPTED..LAST).contains(number))
        // When the world has taken this step, and before it takes the next.
        .map(|(_, at)| TICK * u32::try_from(at.as_millis() + 1).unwrap())
        .collect();
    assert!(moments.len() > 10, "the steps are not told apart: {usual:?}");
    for moment in moments {
        same::seeded(1, || flow_whose_token_expires(Some(moment)));
    }
}

#[test]
fn what_must_pass_does_and_what_must_not_does_not_whatever_goes_wrong() {
    let test = "what_must_pass_does_and_what_must_not_does_not_whatever_goes_wrong";
    if let Some(summary) = campaigns::holds(test, "tokens", Tier::Memory, 12) {
        let marks = [
            "passed after a rotation of the keys",
            "refused because it was revoked",
            "refused after another password",
            "refused because it is old",
        ];
        campaigns::must_have_met(&summary, &marks);
    }
}
