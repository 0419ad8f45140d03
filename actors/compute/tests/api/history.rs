//! How long it is told what was done with a server.

use std::time::Duration;

use updraft_compute::actions::ActionRow;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use crate::{
    cloud::{Cloud, server_body},
    identity::{START, Who::Member},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Within this time it is looked for what may be forgotten.
const ROUND: Duration = Duration::from_secs(61 * 60);

/// An action that ended so long before the test began.
fn action(server: Uuid, name: &str, days_ago: u32) -> ActionRow {
    let ended = UnixMicros(START.0 - (DAY * days_ago).as_micros() as u64);
    ActionRow {
        server,
        request_id: format!("req-{name}"),
        action: name.to_owned(),
        user_id: "u".to_owned(),
        project_id: "p".to_owned(),
        started: ended,
        finished: Some(ended),
        message: None,
        host: None,
    }
}

async fn names(cloud: &Cloud, server: &str) -> Vec<String> {
    let path = format!("/servers/{server}/os-instance-actions");
    let told = cloud.get(Member, &path).await;
    let actions = told["instanceActions"].as_array().expect("a list").iter();
    actions.map(|action| action["action"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_done_with_a_deleted_server_is_told_for_a_while() {
    let cloud = Cloud::running().await;
    let server = cloud.active_server(Member, "web").await;
    cloud.send(Member, &format!("DELETE /servers/{server}"), ()).await.is(204);
    cloud.wait().await;
    assert_eq!(names(&cloud, &server).await, ["delete", "create"]);
    cloud.env.sleep(ROUND).await;
    assert_eq!(cloud.rows::<ActionRow>().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_is_forgotten_a_week_after_the_last_of_it() {
    let cloud = Cloud::running().await;
    let there = cloud.send(Member, "POST /servers", server_body("web")).await.json();
    let there: Uuid = there["server"]["id"].as_str().expect("an id").parse().expect("an id");
    let [long_gone, gone] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let rows = [
        action(there, "stop", 300),
        action(long_gone, "create", 300),
        action(long_gone, "delete", 8),
        action(gone, "create", 300),
        action(gone, "delete", 6),
    ];
    cloud.write(|txn| rows.iter().try_for_each(|row| txn.put(row))).await;
    cloud.env.sleep(ROUND).await;
    let mut kept: Vec<_> =
        cloud.rows::<ActionRow>().into_iter().map(|row| (row.server, row.action)).collect();
    kept.sort();
    let mut expected: Vec<_> =
        [(there, "create"), (there, "stop"), (gone, "create"), (gone, "delete")]
            .map(|(server, name)| (server, name.to_owned()))
            .to_vec();
    expected.sort();
    assert_eq!(kept, expected);
}
