//! Holding a volume for a server.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use updraft_protocol::{
    compute::Seal,
    volume::{Attached, Connect, Connection, ExportWant, Release, Reserve},
};
use updraft_runtime::rpc::{CallError, FaultKind};
use uuid::Uuid;

use crate::support::{A_WHILE, Cloud, Settings, Who};

const SERVER: Uuid = Uuid::from_u128(1);
const HELD: Uuid = Uuid::from_u128(2);
const OTHER: Uuid = Uuid::from_u128(3);

fn id(volume: &str) -> Uuid {
    volume.parse().expect("an id")
}

fn reserve(volume: &str, attachment: Uuid) -> Reserve {
    Reserve { volume: id(volume), server: SERVER, attachment }
}

fn connect(volume: &str, generation: u64) -> Connect {
    let host = "host1".to_owned();
    let seal = Cloud::seal(SERVER, &host, generation);
    Connect { volume: id(volume), attachment: HELD, server: SERVER, host, generation, seal }
}

fn attached(volume: &str) -> Attached {
    Attached { volume: id(volume), attachment: HELD, device: "/dev/vdb".to_owned() }
}

fn release(volume: &str, attachment: Uuid) -> Release {
    Release { volume: id(volume), attachment }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (FaultKind, String) {
    let error = answer.expect_err("answered");
    let fault = error.fault().unwrap_or_else(|| panic!("{error}"));
    (fault.kind, fault.message.clone())
}

#[tokio::test(start_paused = true)]
async fn a_volume_goes_through_the_hands_of_a_server() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let info = cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    assert_eq!((info.size_gib, info.host.as_str()), (1, "host1"));
    assert_eq!(cloud.shown(&volume).await["status"], "reserved");
    let connection = cloud.connect(connect(&volume, 1)).await.expect("connected");
    assert!(connection.path.ends_with(&volume));
    assert_eq!(cloud.shown(&volume).await["status"], "attaching");
    cloud.attached(attached(&volume)).await.expect("attached");
    let shown = cloud.shown(&volume).await;
    assert_eq!(shown["status"], "in-use");
    assert_eq!(shown["attachments"][0]["server_id"], json!(SERVER));
    assert_eq!(shown["attachments"][0]["device"], "/dev/vdb");
    cloud.release(release(&volume, HELD)).await.expect("released");
    let shown = cloud.shown(&volume).await;
    assert_eq!((&shown["status"], &shown["attachments"]), (&json!("available"), &json!([])));
    let verified = cloud.control.tracer().take(10_000);
    assert!(verified.iter().filter(|step| step.name == "identity/verify").count() == 2);
}

/// A question of any host.
fn connect_from(host: &str, volume: &str, generation: u64) -> Connect {
    let seal = Cloud::seal(SERVER, host, generation);
    Connect { host: host.to_owned(), seal, ..connect(volume, generation) }
}

/// Asks until the way to the volume is made.
async fn connected(cloud: &Cloud, message: Connect) -> Connection {
    let by = cloud.hosts.iter().position(|host| host.node.rpc().local().as_str() == message.host);
    for _ in 0..100 {
        match cloud.connect_by(by.expect("a host"), message.clone()).await {
            Ok(connection) => return connection,
            Err(error) => {
                let kind = error.fault().map(|fault| fault.kind);
                assert_eq!(kind, Some(FaultKind::Unavailable), "{error}");
            }
        }
        cloud.pass(Duration::from_millis(100)).await;
    }
    panic!("there is no way to the volume after 10 seconds");
}

/// Whom host 1 serves the volume to.
fn served(cloud: &Cloud, volume: &str) -> Option<ExportWant> {
    let files = cloud.hosts[0].files.simulated_files();
    Some(files[&id(volume)].export.as_ref()?.to.clone())
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_served_to_another_host_until_its_attachment_is_over() {
    let cloud = Cloud::with(Settings { hosts: 3, ..Settings::default() }).await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let connection = connected(&cloud, connect_from("host2", &volume, 1)).await;
    let remote = connection.remote.expect("served");
    assert_eq!(remote.name, HELD.to_string());
    let to = ExportWant { attachment: HELD, host: "host2".to_owned() };
    assert_eq!(served(&cloud, &volume), Some(to));
    cloud.attached(attached(&volume)).await.expect("attached");
    assert_eq!(cloud.shown(&volume).await["status"], "in-use");
    let larger = json!({"os-extend": {"new_size": 2}});
    let words = "is served to host host2 over NBD, which cannot make larger what is attached";
    let refused = cloud.post(Who::Member, &format!("/v3/volumes/{volume}/action"), larger).await;
    refused.says(400, words);
    cloud.release(release(&volume, HELD)).await.expect("released");
    assert_eq!(cloud.shown(&volume).await["status"], "detaching");
    cloud.settled().await;
    assert_eq!(cloud.shown(&volume).await["status"], "available");
    assert_eq!(served(&cloud, &volume), None);
    cloud.reserve(Who::Member, reserve(&volume, OTHER)).await.expect("reserved");
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_not_free_as_long_as_its_host_does_not_say_that_it_is_served_no_longer() {
    let mut cloud = Cloud::with(Settings { hosts: 3, ..Settings::default() }).await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    connected(&cloud, connect_from("host2", &volume, 1)).await;
    cloud.crash_host(0);
    cloud.release(release(&volume, HELD)).await.expect("released");
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.shown(&volume).await["status"], "detaching");
    let taken = cloud.reserve(Who::Member, reserve(&volume, OTHER)).await;
    assert_eq!(refusal(taken).0, FaultKind::Conflict, "given on while it is still served");
    cloud.restart_host(0).await;
    cloud.pass(A_WHILE).await;
    assert_eq!(cloud.shown(&volume).await["status"], "available");
    assert_eq!(served(&cloud, &volume), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_moves_takes_its_volume_along_and_its_old_host_is_served_no_longer() {
    let cloud = Cloud::with(Settings { hosts: 3, ..Settings::default() }).await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    for (generation, host) in [(1, "host2"), (2, "host3"), (3, "host1")] {
        let connection = connected(&cloud, connect_from(host, &volume, generation)).await;
        let to = (host != "host1").then(|| ExportWant { attachment: HELD, host: host.to_owned() });
        assert_eq!(connection.remote.is_some(), to.is_some());
        assert_eq!(served(&cloud, &volume), to);
        // The same again is no other export: what a guest writes to stays.
        connected(&cloud, connect_from(host, &volume, generation)).await;
        assert_eq!(served(&cloud, &volume), to);
    }
}

#[tokio::test(start_paused = true)]
async fn what_serves_a_volume_is_begun_again_when_it_dies() {
    let mut cloud = Cloud::with(Settings { hosts: 3, ..Settings::default() }).await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let before = connected(&cloud, connect_from("host2", &volume, 1)).await;
    let alive = |cloud: &Cloud| {
        let files = cloud.hosts[0].files.simulated_files();
        files[&id(&volume)].export.as_ref().is_some_and(|export| export.alive)
    };
    cloud.hosts[0].files.export_dies(id(&volume));
    assert!(!alive(&cloud));
    cloud.pass(Duration::from_secs(10)).await;
    assert!(alive(&cloud), "nobody looked after it");
    cloud.hosts[0].files.export_dies(id(&volume));
    cloud.restart_host(0).await;
    cloud.pass(Duration::from_secs(10)).await;
    assert!(alive(&cloud), "nobody looked after it in the node's next life");
    let after = connected(&cloud, connect_from("host2", &volume, 1)).await;
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn everything_may_be_asked_twice() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    for _ in 0..2 {
        cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    }
    for _ in 0..2 {
        cloud.connect(connect(&volume, 1)).await.expect("connected");
    }
    for _ in 0..2 {
        cloud.attached(attached(&volume)).await.expect("attached");
    }
    for _ in 0..2 {
        cloud.release(release(&volume, HELD)).await.expect("released");
    }
    assert!(cloud.settled().await.attachments.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_kept_for_one_server_alone() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let (kind, words) = refusal(cloud.reserve(Who::Member, reserve(&volume, OTHER)).await);
    assert_eq!(kind, FaultKind::Conflict);
    let wanted = format!(
        "Invalid volume: Volume {volume} status must be available or downloading to reserve, but the \
         current status is reserved."
    );
    assert_eq!(words, wanted);
    let foreign = refusal(cloud.reserve(Who::Other, reserve(&volume, OTHER)).await);
    assert_eq!(foreign.0, FaultKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_is_refused() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    cloud.connect(connect(&volume, 2)).await.expect("connected");
    assert_eq!(refusal(cloud.connect(connect(&volume, 1)).await).0, FaultKind::Stale);
    cloud.connect(connect(&volume, 2)).await.expect("the same again");
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_release_does_not_bring_the_attachment_back() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.release(release(&volume, HELD)).await.expect("released before it was reserved");
    let late = cloud.reserve(Who::Member, reserve(&volume, HELD)).await;
    assert_eq!(refusal(late).0, FaultKind::Stale);
    assert_eq!(refusal(cloud.attached(attached(&volume)).await).0, FaultKind::Stale);
    assert_eq!(refusal(cloud.connect(connect(&volume, 1)).await).0, FaultKind::Stale);
    assert!(cloud.settled().await.attachments.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_held_is_not_deleted_grown_or_copied() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    cloud.connect(connect(&volume, 1)).await.expect("connected");
    cloud.attached(attached(&volume)).await.expect("attached");
    let path = format!("/v3/volumes/{volume}");
    let words = "Invalid volume: Volume status must be available or error";
    cloud.delete(Who::Member, &path).await.says(400, words);
    let extend = json!({"os-extend": {"new_size": 2}});
    let words = "status must be 'available' to extend, currently in-use.";
    cloud.post(Who::Member, &format!("{path}/action"), extend).await.says(400, words);
    let snapshot = json!({"snapshot": {"volume_id": volume, "force": true}});
    let words = "status must be available, but current status is: in-use.";
    cloud.post(Who::Member, "/v3/snapshots", snapshot).await.says(400, words);
    let copy = json!({"volume": {"source_volid": volume}});
    let words = "Originating volume status must be one of 'available' values";
    cloud.post(Who::Member, "/v3/volumes", copy).await.says(400, words);
    let force = cloud.delete(Who::Admin, &format!("{path}?force=True")).await;
    force.says(400, "must not be migrating, attached");
}

#[tokio::test(start_paused = true)]
async fn attachments_are_shown_and_listed() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let path = format!("/v3/attachments/{HELD}");
    let shown = cloud.get(Who::Member, &path).await.json();
    assert_eq!(shown["attachment"]["status"], "reserved");
    assert_eq!(shown["attachment"]["volume_id"], volume);
    let list = cloud.get(Who::Member, &format!("/v3/attachments?volume_id={volume}")).await.json();
    assert_eq!(list["attachments"][0]["instance"], json!(SERVER));
    cloud.get(Who::Other, &path).await.says(404, "Volume attachment could not be found");
    let none = cloud.get(Who::Member, "/v3/attachments/detail?instance_id=x").await;
    assert_eq!((none.status, none.json()), (StatusCode::OK, json!({"attachments": []})));
}

#[tokio::test(start_paused = true)]
async fn a_host_reaches_volumes_for_itself_alone() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let seal = Cloud::seal(SERVER, "host2", 1);
    let message = Connect { host: "host2".to_owned(), seal, ..connect(&volume, 1) };
    let (kind, words) = refusal(cloud.connect(message).await);
    assert_eq!(kind, FaultKind::Forbidden);
    assert_eq!(words, "node host1 may not act for host host2");
    assert_eq!(cloud.shown(&volume).await["status"], "reserved");
}

#[tokio::test(start_paused = true)]
async fn a_host_reaches_volumes_of_servers_placed_on_it_alone() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.reserve(Who::Member, reserve(&volume, HELD)).await.expect("reserved");
    let seals = [Seal::default(), Cloud::seal(OTHER, "host1", 1), Cloud::seal(SERVER, "host1", 2)];
    for seal in seals {
        let message = Connect { seal, ..connect(&volume, 1) };
        assert_eq!(refusal(cloud.connect(message).await).0, FaultKind::Forbidden);
    }
    assert_eq!(cloud.shown(&volume).await["status"], "reserved");
    cloud.connect(connect(&volume, 1)).await.expect("connected");
}
