//! Lists of servers: what is in them, in which order, and how much of it.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_compute::rows::VmState;
use updraft_edge::rest::time;

use crate::{
    cloud::{Cloud, server_body},
    identity::{
        OTHER, START,
        Who::{self, Admin, Member, Other, Reader},
    },
};

async fn names(cloud: &Cloud, who: Who, path: &str) -> Vec<String> {
    let listed = cloud.get(who, path).await;
    let servers = listed["servers"].as_array().expect("a list").clone();
    servers.iter().map(|server| server["name"].as_str().expect("a name").to_owned()).collect()
}

/// Three servers, a second apart.
async fn three() -> Cloud {
    let cloud = Cloud::still().await;
    for name in ["alpha", "beta", "gamma"] {
        cloud.server(Member, name).await;
        cloud.env.sleep(Duration::from_secs(1)).await;
    }
    cloud
}

#[tokio::test(start_paused = true)]
async fn the_newest_comes_first_unless_asked_otherwise() {
    let cloud = three().await;
    assert_eq!(names(&cloud, Member, "/servers").await, ["gamma", "beta", "alpha"]);
    let by_name = "/servers?sort_key=display_name&sort_dir=asc";
    assert_eq!(names(&cloud, Member, by_name).await, ["alpha", "beta", "gamma"]);
    let wrong = cloud.send(Member, "GET /servers?sort_key=colour", ()).await;
    wrong.is_error(
        400,
        "Invalid input for query parameters sort_key. Value: colour. 'colour' is not one of the keys that \
         servers can be sorted by",
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_in_pages() {
    let cloud = three().await;
    let first = cloud.get(Member, "/servers?limit=2").await;
    assert_eq!(first["servers"].as_array().map(Vec::len), Some(2));
    let next = first["servers_links"][0]["href"].as_str().expect("a link").to_owned();
    assert!(next.starts_with("http://cloud/v2.1/servers?limit=2&marker="), "{next}");
    let path = next.strip_prefix("http://cloud/v2.1").expect("this cloud");
    let second = cloud.get(Member, path).await;
    assert_eq!(second["servers"][0]["name"], "alpha");
    assert_eq!(second.get("servers_links"), None);
    let lost = cloud.send(Member, "GET /servers?marker=nothing", ()).await;
    lost.is_error(400, "marker [nothing] not found");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_a_pattern() {
    let cloud = three().await;
    assert_eq!(names(&cloud, Member, "/servers?name=eta").await, ["beta"]);
    assert_eq!(names(&cloud, Member, "/servers?name=%5E.%7B5%7D%24").await, ["gamma", "alpha"]);
    assert!(names(&cloud, Member, "/servers?name=%28").await.is_empty(), "no pattern is a text");
}

#[tokio::test(start_paused = true)]
async fn filters_leave_what_fits() {
    let cloud = three().await;
    let id = cloud.get(Member, "/servers?name=beta").await["servers"][0]["id"].clone();
    cloud
        .change(id.as_str().expect("an id"), |row| {
            row.state = VmState::Active;
            row.action = None;
            row.tags = vec!["blue".to_owned()];
            row.updated = START.plus(Duration::from_secs(60));
        })
        .await;
    let since = time::iso_secs_z(START.plus(Duration::from_secs(30)));
    let table = [
        "/servers?status=active".to_owned(),
        "/servers?tags=blue".to_owned(),
        format!("/servers?changes-since={since}"),
        "/servers?name=beta&deleted=False&flavor=1".to_owned(),
    ];
    for path in table {
        assert_eq!(names(&cloud, Member, &path).await, ["beta"], "{path}");
    }
    assert!(names(&cloud, Admin, "/servers?deleted=True").await.is_empty());
    let unknown = cloud.send(Member, "GET /servers?colour=red", ()).await;
    let words = "Additional properties are not allowed ('colour' was unexpected)";
    unknown.is_error(400, words);
    let passed_over = cloud.send_at("2.1", Member, "GET /servers?colour=red", ()).await;
    passed_over.is(200);
    let status = cloud.send(Member, "GET /servers?status=happy", ()).await;
    status.is_error(400, "Invalid status value");
}

#[tokio::test(start_paused = true)]
async fn only_an_administrator_lists_every_projects_servers() {
    let cloud = three().await;
    cloud.server(Other, "theirs").await;
    assert_eq!(names(&cloud, Other, "/servers").await, ["theirs"]);
    assert_eq!(names(&cloud, Reader, "/servers").await.len(), 3);
    assert_eq!(names(&cloud, Admin, "/servers?all_tenants=1").await.len(), 4);
    let theirs = format!("/servers?all_tenants=1&project_id={OTHER}");
    assert_eq!(names(&cloud, Admin, &theirs).await, ["theirs"]);
    let denied = cloud.send(Member, "GET /servers/detail?all_tenants=1", ()).await;
    let rule = "os_compute_api:servers:detail:get_all_tenants";
    denied.is_error(403, &format!("Policy doesn't allow {rule} to be performed."));
}

#[tokio::test(start_paused = true)]
async fn a_detailed_list_says_of_each_what_its_own_document_says() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    for version in ["2.1", "2.9", "2.47", "2.73", "2.100"] {
        let listed = cloud.send_at(version, Admin, "GET /servers/detail", ()).await;
        let listed = listed.is(200).json()["servers"][0].clone();
        let shown = cloud.send_at(version, Admin, &format!("GET /servers/{id}"), ()).await;
        let mut shown = shown.is(200).json()["server"].clone();
        // The one thing that a list leaves out.
        shown.as_object_mut().expect("an object").remove("server_groups");
        assert_eq!(listed, shown, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_servers_are_made_at_once_and_numbered() {
    let cloud = Cloud::still().await;
    let mut body = server_body("web");
    body["server"]["min_count"] = json!(2);
    body["server"]["return_reservation_id"] = Value::Bool(true);
    let answer = cloud.send(Member, "POST /servers", body).await;
    let reservation = answer.is(202).json()["reservation_id"].clone();
    let path = format!("/servers?reservation_id={}", reservation.as_str().expect("an id"));
    let mut listed = names(&cloud, Member, &path).await;
    listed.sort();
    assert_eq!(listed, ["web-1", "web-2"]);
}
