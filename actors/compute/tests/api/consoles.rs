//! Addresses of consoles: who gets one, and how long it opens something.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_compute::{
    consoles::{Admitted, Denied, TOKEN_TTL, TOKENS_MAX},
    rows::ConsoleRow,
};
use updraft_protocol::hypervisor::ConsoleKind;

use crate::{
    cloud::{Answer, Cloud},
    identity::Who::{self, Admin, Member, Other, Reader},
};

async fn ask(cloud: &Cloud, who: Who, id: &str, protocol: &str, kind: &str) -> Answer {
    let body = json!({"remote_console": {"protocol": protocol, "type": kind}});
    cloud.send(who, &format!("POST /servers/{id}/remote-consoles"), body).await
}

fn token(url: &Value) -> String {
    let url = url.as_str().expect("an address");
    let (_, token) = url.split_once("token%3D").or(url.split_once("token=")).expect("a token");
    token.to_owned()
}

/// A token for a server's screen.
async fn screen(cloud: &Cloud, id: &str) -> String {
    let answer = ask(cloud, Member, id, "vnc", "novnc").await;
    token(&answer.is(200).json()["remote_console"]["url"])
}

async fn admitted(cloud: &Cloud, token: &str) -> Option<Admitted> {
    match cloud.compute.consoles().admit(token).await {
        Ok(admitted) => Some(admitted),
        Err(Denied::Token) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn act(cloud: &Cloud, id: &str, body: Value) -> Answer {
    cloud.send(Member, &format!("POST /servers/{id}/action"), body).await
}

#[tokio::test(start_paused = true)]
async fn an_address_names_the_page_of_the_screen_and_the_line_of_the_serial_console() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let answer = ask(&cloud, Member, &id, "vnc", "novnc").await.is(200).json();
    let console = &answer["remote_console"];
    assert_eq!((&console["protocol"], &console["type"]), (&json!("vnc"), &json!("novnc")));
    let secret = token(&console["url"]);
    let page = "http://cloud/console/novnc/vnc_lite.html?path=console%2Fws%3Ftoken%3D";
    assert_eq!(console["url"], format!("{page}{secret}"));
    let found = admitted(&cloud, &secret).await.expect("it opens the screen");
    assert_eq!((found.server.to_string(), found.kind), (id.clone(), ConsoleKind::Screen));
    let answer = ask(&cloud, Member, &id, "serial", "serial").await.is(200).json();
    let secret = token(&answer["remote_console"]["url"]);
    let line = format!("ws://cloud/console/ws?token={secret}");
    assert_eq!(answer["remote_console"]["url"], line);
    let found = admitted(&cloud, &secret).await.expect("it opens the line");
    assert_eq!(found.kind, ConsoleKind::Serial);
}

#[tokio::test(start_paused = true)]
async fn older_versions_ask_by_an_action() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let path = format!("POST /servers/{id}/action");
    for (action, kind) in [("os-getVNCConsole", "novnc"), ("os-getSerialConsole", "serial")] {
        let body = json!({action: {"type": kind}});
        let answer = cloud.send_at("2.5", Member, &path, body.clone()).await;
        let answer = answer.is(200).json();
        assert_eq!(answer["console"]["type"], kind);
        assert!(admitted(&cloud, &token(&answer["console"]["url"])).await.is_some());
        cloud.send_at("2.6", Member, &path, body).await.is(404);
    }
    let body = json!({"os-getVNCConsole": {}});
    cloud.send_at("2.5", Member, &path, body).await.is(400);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_change_a_server_gets_none() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let rule = "os_compute_api:os-remote-consoles";
    let words = format!("Policy doesn't allow {rule} to be performed.");
    ask(&cloud, Reader, &id, "vnc", "novnc").await.is_error(403, &words);
    ask(&cloud, Other, &id, "vnc", "novnc").await.is(404);
    ask(&cloud, Admin, &id, "vnc", "novnc").await.is(200);
    assert_eq!(cloud.rows::<ConsoleRow>()[0].tokens.len(), 1, "only the administrator has one");
}

#[tokio::test(start_paused = true)]
async fn what_this_cloud_does_not_have_is_refused() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    for (protocol, kind) in [("spice", "spice-html5"), ("vnc", "xvpvnc"), ("serial", "novnc")] {
        let answer = ask(&cloud, Member, &id, protocol, kind).await;
        answer.is_error(400, &format!("Unavailable console type {kind}."));
    }
    ask(&cloud, Member, &id, "telepathy", "novnc").await.is(400);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_run_has_none() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    act(&cloud, &id, json!({"os-stop": null})).await.is(202);
    cloud.until_status(&id, "SHUTOFF").await;
    let answer = ask(&cloud, Member, &id, "vnc", "novnc").await;
    answer.is_error(409, &format!("Instance {id} is not ready"));
}

#[tokio::test(start_paused = true)]
async fn the_store_has_no_token_and_no_other_token_opens_anything() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let good = screen(&cloud, &id).await;
    let row = cloud.rows::<ConsoleRow>().pop().expect("a row");
    let stored = serde_json::to_string(&row).expect("JSON");
    assert!(!stored.contains(&good[24..]), "the secret is in the store");
    assert_eq!(row.tokens[0].sha256.len(), 64);
    let last = if good.ends_with('A') { "Q" } else { "A" };
    let changed = format!("{}{last}", &good[..good.len() - 1]);
    let elsewhere = cloud.active_server(Member, "other").await;
    let other = screen(&cloud, &elsewhere).await;
    // The secret of the one with the name of the other.
    let mixed = format!("{}{}", &other[..20], &good[20..]);
    for wrong in ["", "x", &changed, &mixed, &format!("{good}A"), &row.tokens[0].sha256] {
        assert_eq!(admitted(&cloud, wrong).await, None, "{wrong}");
    }
    assert!(admitted(&cloud, &good).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_nothing_after_its_time() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    cloud.env.sleep(TOKEN_TTL - Duration::from_secs(1)).await;
    assert!(admitted(&cloud, &token).await.is_some());
    cloud.env.sleep(Duration::from_secs(2)).await;
    assert_eq!(admitted(&cloud, &token).await, None);
    screen(&cloud, &id).await;
    assert_eq!(cloud.rows::<ConsoleRow>()[0].tokens.len(), 1, "the old one is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_further_token_than_there_may_be_takes_the_place_of_the_oldest() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let mut tokens = Vec::new();
    for _ in 0..=TOKENS_MAX {
        tokens.push(screen(&cloud, &id).await);
    }
    assert_eq!(cloud.rows::<ConsoleRow>()[0].tokens.len(), TOKENS_MAX);
    assert_eq!(admitted(&cloud, &tokens[0]).await, None);
    assert!(admitted(&cloud, &tokens[1]).await.is_some());
    assert!(admitted(&cloud, &tokens[TOKENS_MAX]).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn tokens_end_when_the_server_is_stopped_and_do_not_come_back_with_it() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    act(&cloud, &id, json!({"os-stop": null})).await.is(202);
    assert_eq!(admitted(&cloud, &token).await, None, "at once");
    cloud.until_status(&id, "SHUTOFF").await;
    act(&cloud, &id, json!({"os-start": null})).await.is(202);
    cloud.until_status(&id, "ACTIVE").await;
    assert_eq!(admitted(&cloud, &token).await, None);
    assert!(admitted(&cloud, &screen(&cloud, &id).await).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn tokens_end_when_the_server_is_deleted_and_nothing_is_left() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
    assert_eq!(admitted(&cloud, &token).await, None, "at once");
    cloud.until("it is gone", |cloud| cloud.host.guests().is_empty()).await;
    assert!(cloud.rows::<ConsoleRow>().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_open_is_told_of_the_end_at_once() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    let open = admitted(&cloud, &token).await.expect("it opens the screen");
    let consoles = cloud.compute.consoles().clone();
    let stays = cloud.env.timeout(2 * TOKEN_TTL, consoles.ended(&open)).await;
    assert_eq!(stays, None, "a token's time is for opening; what is open stays");
    let (before, ended) = (cloud.env.now(), consoles.ended(&open));
    let stop = async {
        cloud.env.sleep(Duration::from_secs(1)).await;
        act(&cloud, &id, json!({"os-stop": null})).await.is(202);
    };
    tokio::join!(ended, stop);
    assert!(cloud.env.now() - before < Duration::from_secs(2), "{:?}", cloud.env.now() - before);
}

#[tokio::test(start_paused = true)]
async fn what_is_open_ends_when_the_server_is_another_hosts_whoever_says_so() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    let open = admitted(&cloud, &token).await.expect("it opens the screen");
    cloud
        .change(&id, |row| {
            row.placement.as_mut().expect("it is placed").host = "elsewhere".to_owned();
        })
        .await;
    let ended = cloud.env.timeout(Duration::from_secs(11), cloud.compute.consoles().ended(&open));
    assert_eq!(ended.await, Some(()));
    assert_eq!(admitted(&cloud, &token).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_simulated_screen_answers_and_ends_with_its_guest() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let token = screen(&cloud, &id).await;
    let open = admitted(&cloud, &token).await.expect("it opens the screen");
    let mut tunnel = cloud.compute.consoles().open(&open).await.expect("a tunnel");
    let mut said = Vec::new();
    while said.len() < 12 {
        said.extend(tunnel.reader.next().await.expect("it stands").expect("more"));
    }
    assert_eq!(said, b"RFB 003.008\n");
    act(&cloud, &id, json!({"os-stop": null})).await.is(202);
    let ended = cloud.env.timeout(Duration::from_secs(30), tunnel.reader.next()).await;
    assert_eq!(ended, Some(Ok(None)), "the guest's end is the console's");
}

#[tokio::test(start_paused = true)]
async fn a_host_gives_no_console_of_a_guest_that_is_not_to_run_there() {
    let cloud = Cloud::running().await;
    let id = cloud.active_server(Member, "web").await;
    let open = admitted(&cloud, &screen(&cloud, &id).await).await.expect("it opens the screen");
    act(&cloud, &id, json!({"os-stop": null})).await.is(202);
    cloud.until_status(&id, "SHUTOFF").await;
    // A guest that runs all the same: somebody started it by hand.
    let guest = cloud.host.guests()[0].guest;
    cloud.host.carry_out(&updraft_protocol::hypervisor::Op::Start(guest)).expect("it starts");
    let refused = cloud.compute.consoles().open(&open).await.expect_err("no console");
    assert!(refused.to_string().contains("does not know guest"), "{refused}");
}
