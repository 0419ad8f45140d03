//! Which action is allowed in which state: nova's table, row by row.

use serde_json::{Value, json};
use updraft_compute::{
    Goal,
    rows::{Action, ActionKind, Placement, ServerRow, VmState},
};

use crate::{
    cloud::Cloud,
    identity::Who::{self, Admin, Member},
    peers::{HOST, VOLUME},
};
use VmState::{Active, Building, Error, Resized, Stopped};

const ALL: [VmState; 5] = [Building, Active, Stopped, Resized, Error];

struct Row {
    /// Nova's name of the action, in its refusals.
    name: &'static str,
    body: Option<Value>,
    path: &'static str,
    allowed: &'static [VmState],
}

fn table() -> Vec<Row> {
    let action =
        |name, body: Value, allowed| Row { name, body: Some(body), path: "action", allowed };
    let volume = format!("os-volume_attachments/{VOLUME}");
    vec![
        action("stop", json!({"os-stop": null}), &[Active, Error]),
        action("start", json!({"os-start": null}), &[Stopped]),
        action("reboot", json!({"reboot": {"type": "SOFT"}}), &[Active]),
        action("reboot", json!({"reboot": {"type": "HARD"}}), &[Active, Stopped, Error]),
        action("resize", json!({"resize": {"flavorRef": "2"}}), &[Active, Stopped]),
        action("migrate", json!({"migrate": null}), &[Active, Stopped]),
        action("confirmResize", json!({"confirmResize": null}), &[Resized]),
        action("revertResize", json!({"revertResize": null}), &[Resized]),
        Row {
            name: "attach_volume",
            body: Some(json!({"volumeAttachment": {"volumeId": VOLUME}})),
            path: "os-volume_attachments",
            allowed: &[Active, Stopped, Resized],
        },
        Row {
            name: "detach_volume",
            body: None,
            path: Box::leak(volume.into_boxed_str()),
            allowed: &[Active, Stopped, Resized],
        },
        Row {
            name: "update metadata",
            body: Some(json!({"metadata": {"a": "b"}})),
            path: "metadata",
            allowed: &[Active, Stopped],
        },
    ]
}

/// Who may do it in any case.
fn who(row: &Row) -> Who {
    if row.name == "migrate" { Admin } else { Member }
}

fn name(state: VmState) -> &'static str {
    updraft_compute::view::vm_state(state)
}

/// Puts a server into a state on the host, with nothing going on.
fn put(row: &mut ServerRow, state: VmState) {
    row.placement = Some(Placement { host: HOST.to_owned(), goal: Goal::Present });
    row.state = state;
    row.action = None;
    row.launched = Some(row.created);
}

#[tokio::test(start_paused = true)]
async fn an_action_that_the_state_does_not_allow_is_refused_by_name() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    for row in table() {
        for state in ALL.into_iter().filter(|state| !row.allowed.contains(state)) {
            cloud.change(&id, |server| put(server, state)).await;
            let method = if row.body.is_some() { "POST" } else { "DELETE" };
            let body = row.body.clone().unwrap_or_default();
            let path = format!("{method} /servers/{id}/{}", row.path);
            let words = format!(
                "Cannot '{}' instance {id} while it is in vm_state {}",
                row.name,
                name(state)
            );
            cloud.send(who(&row), &path, body).await.is_error(409, &words);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_that_the_state_allows_is_not_refused_for_it() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    for row in table() {
        for state in row.allowed {
            cloud.change(&id, |server| put(server, *state)).await;
            let method = if row.body.is_some() { "POST" } else { "DELETE" };
            let body = row.body.clone().unwrap_or_default();
            let path = format!("{method} /servers/{id}/{}", row.path);
            let answer = cloud.send(who(&row), &path, body).await;
            // The host is not really there, and neither is the volume attached; the state is no reason.
            let refused = answer.text.contains("while it is in");
            assert!(!refused, "{} in {}: {}", row.name, name(*state), answer.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_going_on_must_end_first() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let path = format!("POST /servers/{id}/action");
    let going_on = |kind: ActionKind| {
        move |row: &mut ServerRow| {
            put(row, Active);
            row.action = Some(Action { kind, request_id: "req-1".to_owned() });
        }
    };
    cloud.change(&id, going_on(ActionKind::SoftReboot)).await;
    let words = format!("Cannot 'stop' instance {id} while it is in task_state rebooting");
    cloud.send(Member, &path, json!({"os-stop": null})).await.is_error(409, &words);
    // A reboot that does not come to its end may be forced.
    cloud.send(Member, &path, json!({"reboot": {"type": "HARD"}})).await.is(202);
    cloud.change(&id, going_on(ActionKind::Stop)).await;
    let words = format!("Cannot 'reboot' instance {id} while it is in task_state powering-off");
    cloud.send(Member, &path, json!({"reboot": {"type": "HARD"}})).await.is_error(409, &words);
}

#[tokio::test(start_paused = true)]
async fn what_never_ran_or_has_no_host_is_not_stopped() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let path = format!("POST /servers/{id}/action");
    cloud
        .change(&id, |row| {
            put(row, Error);
            row.launched = None;
        })
        .await;
    let words = format!("Instance {id} is in an invalid state for 'stop'");
    cloud.send(Member, &path, json!({"os-stop": null})).await.is_error(409, &words);
    cloud
        .change(&id, |row| {
            put(row, Error);
            row.placement = None;
        })
        .await;
    let words = format!("Instance {id} is not ready");
    cloud.send(Member, &path, json!({"os-stop": null})).await.is_error(409, &words);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_deleted_in_any_state_and_twice() {
    let cloud = Cloud::still().await;
    for state in ALL {
        let id = cloud.server(Member, "web").await;
        cloud.change(&id, |row| put(row, state)).await;
        let path = format!("DELETE /servers/{id}");
        cloud.send(Member, &path, ()).await.is(204);
        cloud.send(Member, &path, ()).await.is(204);
        let server = cloud.get(Member, &format!("/servers/{id}")).await;
        assert_eq!(server["server"]["OS-EXT-STS:task_state"], "deleting");
    }
}
