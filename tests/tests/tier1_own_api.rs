//! The cloud's own API, below `/updraft/v1`, stands behind the same edge as the services do.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Answer, Client, Menu, SimCloud, Size},
    flow,
};

const API: &str = "/updraft/v1";

fn cloud() -> SimCloud {
    let size = Size { controls: 1, hosts: 1, joins: true, ..Size::default() };
    SimCloud::start(1, Tier::Memory, size, &Menu::default())
}

fn ask(cloud: &mut SimCloud, who: &Client, request: &str, body: Value) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let answer = who.send(cloud, method, &format!("{API}{path}"), body).unwrap();
    let request_id = answer.request_id.as_deref().unwrap_or_default();
    assert!(request_id.starts_with("req-"), "{request} has no request id: {answer:?}");
    answer
}

#[track_caller]
fn is_error(answer: &Answer, status: u16, words: &str) {
    let said = answer.body["error"]["message"].as_str().unwrap_or_default();
    assert_eq!((answer.status, said), (status, words), "{answer:?}");
}

#[test]
fn who_has_no_token_is_refused_in_json() {
    let mut cloud = cloud();
    for request in
        ["GET /nodes", "DELETE /nodes/compute-1", "POST /join-tokens", "GET /servers/x/trace"]
    {
        let answer = ask(&mut cloud, &Client::nobody(), request, Value::Null);
        is_error(&answer, 401, "The request you have made requires authentication.");
    }
}

#[test]
fn who_may_not_hears_which_rule_says_so() {
    let mut cloud = cloud();
    let admin = Client::log_in(&mut cloud);
    let demo = flow::member(&mut cloud, &admin, "demo");
    let answer = ask(&mut cloud, &demo, "GET /nodes", Value::Null);
    is_error(&answer, 403, "Policy doesn't allow updraft:nodes:list to be performed.");
    let answer = ask(&mut cloud, &demo, "DELETE /nodes/compute-1", Value::Null);
    is_error(&answer, 403, "Policy doesn't allow updraft:nodes:delete to be performed.");
    let answer = ask(&mut cloud, &demo, "POST /join-tokens", json!({}));
    is_error(&answer, 403, "Policy doesn't allow updraft:join_tokens:create to be performed.");
}

#[test]
fn an_administrator_lists_nodes_and_gives_out_tokens() {
    let mut cloud = cloud();
    let admin = Client::log_in(&mut cloud);
    let answer = ask(&mut cloud, &admin, "GET /nodes", Value::Null);
    let nodes = answer.body.as_array().unwrap().iter();
    let names: Vec<_> = nodes.map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!((answer.status, names), (200, vec!["compute-1", "control-1"]));
    let answer = ask(&mut cloud, &admin, "POST /join-tokens", json!({"lasts_minutes": 5}));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body["token"].is_string());
}

#[test]
fn what_is_wrong_with_a_request_is_named_in_json() {
    let mut cloud = cloud();
    let admin = Client::log_in(&mut cloud);
    for (request, body, status, word) in [
        ("POST /join-tokens", json!({"lasts_minutes": "long"}), 400, "lasts_minutes"),
        ("POST /join-tokens", json!({"minutes": 5}), 400, "minutes"),
        ("POST /join-tokens", json!({"lasts_minutes": 0}), 400, "minute"),
        ("POST /join-tokens", Value::Null, 400, "empty"),
        ("DELETE /nodes", Value::Null, 405, "DELETE"),
        ("DELETE /nodes/rack-9", Value::Null, 404, "no host named rack-9 has joined"),
        ("DELETE /nodes/Rack%209", Value::Null, 404, "no host named Rack 9 has joined"),
        ("DELETE /nodes/control-1", Value::Null, 409, "runs on the control host itself"),
        ("GET /nothing", Value::Null, 404, "could not be found"),
        ("GET /servers/x/trace", Value::Null, 404, "Server x could not be found."),
    ] {
        let answer = ask(&mut cloud, &admin, request, body);
        let said = answer.body["error"]["message"].as_str().unwrap_or_default();
        assert!(answer.status == status && said.contains(word), "{request}: {answer:?}");
    }
}

#[test]
fn a_servers_steps_are_for_its_project_and_administrators() {
    let mut cloud = cloud();
    let admin = Client::log_in(&mut cloud);
    let (demo, other) =
        (flow::member(&mut cloud, &admin, "demo"), flow::member(&mut cloud, &admin, "other"));
    let flavor = admin.flavor(&mut cloud, 64);
    let image = demo.image(&mut cloud, b"not much of a disk");
    let server = demo.server(&mut cloud, &image, &flavor, None);
    assert!(demo.wait_for(&mut cloud, &server, Some("ACTIVE")));
    let request = format!("GET /servers/{server}/trace");
    for who in [&admin, &demo] {
        let answer = ask(&mut cloud, who, &request, Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        let steps = answer.body.as_array().unwrap();
        assert!(steps.iter().any(|line| line["step"]["name"] == "compute/placed"), "{steps:?}");
    }
    let answer = ask(&mut cloud, &other, &request, Value::Null);
    is_error(&answer, 404, &format!("Server {server} could not be found."));
}

#[test]
fn a_servers_screen_is_for_its_project_and_administrators() {
    let mut cloud = cloud();
    let admin = Client::log_in(&mut cloud);
    let (demo, other) =
        (flow::member(&mut cloud, &admin, "demo"), flow::member(&mut cloud, &admin, "other"));
    let flavor = admin.flavor(&mut cloud, 64);
    let image = demo.image(&mut cloud, b"not much of a disk");
    let server = demo.server(&mut cloud, &image, &flavor, None);
    assert!(demo.wait_for(&mut cloud, &server, Some("ACTIVE")));
    let request = format!("GET /servers/{server}/screenshot");
    for who in [&admin, &demo] {
        let answer = ask(&mut cloud, who, &request, Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let answer = ask(&mut cloud, &other, &request, Value::Null);
    is_error(&answer, 404, &format!("Server {server} could not be found."));
    let host = cloud.hosts()[0].clone();
    cloud.world.crash(&host);
    let answer = ask(&mut cloud, &demo, &request, Value::Null);
    let said = answer.body["error"]["message"].as_str().unwrap_or_default();
    assert!(answer.status == 503 && said.contains("gives no picture"), "{answer:?}");
}
