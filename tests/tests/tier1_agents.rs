//! A compute service or network agent that an operator deletes is forgotten only as long as it does not run.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use updraft_harness::world::Tier;
use updraft_runtime::transport::NodeId;
use updraft_tests::cloud::{Client, Menu, SimCloud, Size};

const SERVICES: &str = "/compute/v2.1/os-services";
const AGENTS: &str = "/networking/v2.0/agents";

/// Longer than a compute host waits between two reports, and than it takes to be taken for dead.
const A_WHILE: Duration = Duration::from_secs(8);

fn cloud() -> (SimCloud, Client, NodeId) {
    let size = Size { controls: 2, hosts: 2, ..Size::default() };
    let mut cloud = SimCloud::start(1, Tier::Memory, size, &Menu::default());
    let admin = Client::log_in(&mut cloud);
    (cloud, admin, NodeId::new("compute-2").unwrap())
}

/// What the API lists of the host.
fn listed(cloud: &mut SimCloud, admin: &Client, path: &str, host: &NodeId) -> Vec<Value> {
    let all = admin.must(cloud, "GET", path, Value::Null);
    let all = all["services"].as_array().or(all["agents"].as_array()).unwrap();
    all.iter().filter(|one| one["host"] == host.as_str()).cloned().collect()
}

fn services(cloud: &mut SimCloud, admin: &Client, host: &NodeId) -> Vec<Value> {
    listed(cloud, admin, SERVICES, host)
}

fn agents(cloud: &mut SimCloud, admin: &Client, host: &NodeId) -> Vec<Value> {
    listed(cloud, admin, AGENTS, host)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Deletes all that there is of the host; what was there.
fn delete(cloud: &mut SimCloud, admin: &Client, host: &NodeId) -> (Vec<Value>, Vec<Value>) {
    let (services, agents) = (services(cloud, admin, host), agents(cloud, admin, host));
    for (path, all) in [(SERVICES, &services), (AGENTS, &agents)] {
        for one in all {
            let path = format!("{path}/{}", text(&one["id"]));
            admin.must(cloud, "DELETE", &path, Value::Null);
        }
    }
    assert_eq!((services.len(), agents.len()), (1, 2), "{services:?} {agents:?}");
    (services, agents)
}

#[test]
fn what_does_not_run_stays_forgotten_until_it_starts_again() {
    let (mut cloud, admin, host) = cloud();
    cloud.world.crash(&host);
    cloud.world.run_for(A_WHILE);
    delete(&mut cloud, &admin, &host);
    // A control node that starts anew has heard nothing either.
    let control = cloud.controls()[1].clone();
    cloud.world.crash(&control);
    cloud.world.start(&control);
    cloud.world.run_for(A_WHILE);
    assert_eq!(services(&mut cloud, &admin, &host), Vec::<Value>::new());
    assert_eq!(agents(&mut cloud, &admin, &host), Vec::<Value>::new());
    cloud.world.start(&host);
    cloud.world.run_for(A_WHILE);
    assert_eq!(services(&mut cloud, &admin, &host).len(), 1);
    assert_eq!(agents(&mut cloud, &admin, &host).len(), 2);
}

#[test]
fn what_runs_is_there_again_and_what_operators_had_said_of_it_is_forgotten() {
    let (mut cloud, admin, host) = cloud();
    let service = services(&mut cloud, &admin, &host).remove(0);
    let disabled = json!({"status": "disabled", "disabled_reason": "its fan is loud"});
    admin.must(&mut cloud, "PUT", &format!("{SERVICES}/{}", text(&service["id"])), disabled);
    for agent in agents(&mut cloud, &admin, &host) {
        let spoken = json!({"agent": {"admin_state_up": false, "description": "its fan is loud"}});
        admin.must(&mut cloud, "PUT", &format!("{AGENTS}/{}", text(&agent["id"])), spoken);
    }
    let (former, _) = delete(&mut cloud, &admin, &host);
    assert_eq!(former[0]["status"], "disabled");
    cloud.world.run_for(A_WHILE);
    let now = services(&mut cloud, &admin, &host);
    assert_eq!((&now[0]["status"], &now[0]["state"]), (&json!("enabled"), &json!("up")), "{now:?}");
    assert_ne!(now[0]["id"], former[0]["id"], "it is another one");
    let now = agents(&mut cloud, &admin, &host);
    assert_eq!(now.len(), 2, "{now:?}");
    for agent in now {
        assert_eq!((&agent["alive"], &agent["admin_state_up"]), (&json!(true), &json!(true)));
        assert_eq!(agent["description"], Value::Null);
    }
}
