//! A volume node by itself: fencing, memory, restarts.

use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{FileSource, FileWant, Node, Realize, Realized, Survey},
};
use updraft_runtime::{
    rows::ASK_EVERY,
    rpc::{CallError, Cx, FaultKind, TraceContext},
};
use uuid::Uuid;

use crate::support::{Cloud, Settings, Wanted, id};

const FILE: Uuid = Uuid::from_u128(1);

fn want(generation: u64, present: bool) -> FileWant {
    FileWant {
        id: FILE,
        generation,
        present,
        size_gib: 1,
        format: DiskFormat::Qcow2,
        source: FileSource::Empty,
        export: None,
    }
}

/// A host with a node, and what is wanted of it.
async fn begun() -> (Cloud, Wanted) {
    let wanted = Wanted::default();
    let settings = Settings { wanted: Some(wanted.clone()), ..Settings::default() };
    (Cloud::with(settings).await, wanted)
}

/// Wants this and says so.
async fn realize((cloud, wanted): &(Cloud, Wanted), want: FileWant) -> Result<Realized, CallError> {
    wanted.lock().insert(want.id, want.clone());
    realize_late(cloud, want).await
}

/// Says that this was wanted once.
async fn realize_late(cloud: &Cloud, want: FileWant) -> Result<Realized, CallError> {
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.env));
    cloud.control.rpc().client::<Node>().on(&id("host1")).call(&Realize { want }, &cx).await
}

fn kind<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Option<FaultKind> {
    answer.expect_err("answered").fault().map(|fault| fault.kind)
}

#[tokio::test(start_paused = true)]
async fn an_older_want_is_refused_also_after_a_restart() {
    let mut cloud = begun().await;
    assert!(realize(&cloud, want(1, true)).await.expect("made").path.is_some());
    assert_eq!(realize(&cloud, want(2, false)).await.expect("gone").path, None);
    assert_eq!(kind(realize(&cloud, want(1, true)).await), Some(FaultKind::Stale));
    cloud.0.restart_host(0).await;
    assert_eq!(kind(realize(&cloud, want(1, true)).await), Some(FaultKind::Stale));
    assert!(cloud.0.hosts[0].files.simulated_files().is_empty(), "an old want was met");
}

#[tokio::test(start_paused = true)]
async fn what_comes_so_late_that_all_has_forgotten_it_makes_nothing() {
    let (cloud, wanted) = begun().await;
    assert_eq!(kind(realize_late(&cloud, want(1, true)).await), Some(FaultKind::Unavailable));
    assert!(cloud.hosts[0].files.newest().is_empty(), "the host was touched");
    wanted.lock().insert(FILE, want(7, false));
    assert_eq!(kind(realize_late(&cloud, want(1, true)).await), Some(FaultKind::Stale));
    assert!(cloud.hosts[0].files.simulated_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_nobody_knows_of_keeps_its_data() {
    let cloud = begun().await;
    realize(&cloud, want(1, true)).await.expect("made");
    let (cloud, wanted) = cloud;
    wanted.lock().clear();
    cloud.pass(ASK_EVERY * 3).await;
    assert_eq!(cloud.hosts[0].agent.held().await.expect("read"), [FILE]);
    assert_eq!(cloud.hosts[0].files.simulated_files().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_want_that_never_came_is_heard_of_by_asking() {
    let cloud = begun().await;
    realize(&cloud, want(1, true)).await.expect("made");
    cloud.1.lock().insert(FILE, FileWant { size_gib: 5, ..want(2, true) });
    cloud.0.pass(ASK_EVERY + ASK_EVERY).await;
    assert_eq!(cloud.0.hosts[0].files.simulated_files()[&FILE].size_gib, 5);
}

#[tokio::test(start_paused = true)]
async fn the_same_want_is_answered_the_same_and_another_of_its_generation_is_refused() {
    let cloud = begun().await;
    let first = realize(&cloud, want(1, true)).await.expect("made");
    assert_eq!(realize(&cloud, want(1, true)).await.expect("the same"), first);
    let other = FileWant { size_gib: 5, ..want(1, true) };
    assert_eq!(kind(realize(&cloud, other).await), Some(FaultKind::Invalid));
}

#[tokio::test(start_paused = true)]
async fn a_want_that_was_taken_is_met_though_the_node_dies() {
    let mut cloud = begun().await;
    cloud.1.lock().insert(FILE, want(1, true));
    let message = Realize { want: want(1, true) };
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.0.env));
    let host = cloud.0.control.rpc().client::<Node>().on(&id("host1"));
    let asked = host.call(&message, &cx);
    let _ = cloud.0.env.timeout(std::time::Duration::from_millis(15), asked).await;
    cloud.0.restart_host(0).await;
    cloud.0.pass(std::time::Duration::from_secs(1)).await;
    assert!(realize(&cloud, want(1, true)).await.expect("made").path.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_lost_is_not_made_anew() {
    let cloud = begun().await;
    realize(&cloud, want(1, true)).await.expect("made");
    cloud.0.hosts[0].files.lose_everything();
    let grown = FileWant { size_gib: 2, ..want(2, true) };
    let error = realize(&cloud, grown).await.expect_err("made anew");
    assert!(error.to_string().contains("is lost"), "{error}");
    assert!(cloud.0.hosts[0].files.simulated_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_its_room() {
    let cloud = begun().await;
    realize(&cloud, want(1, true)).await.expect("made");
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.0.env));
    let room = cloud.0.control.rpc().client::<Node>().on(&id("host1")).call(&Survey, &cx).await;
    let room = room.expect("told");
    assert_eq!((room.total_gib, room.free_gib), (2_000, 1_999));
    assert_eq!(cloud.0.hosts[0].agent.held().await.expect("read"), [FILE]);
}
