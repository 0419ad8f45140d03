//! A volume node by itself: fencing, memory, restarts.

use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{FileSource, FileWant, Node, Realize, Realized, Survey},
};
use updraft_runtime::rpc::{CallError, Cx, FaultKind, TraceContext};
use uuid::Uuid;

use crate::support::{Cloud, id};

const FILE: Uuid = Uuid::from_u128(1);

fn want(generation: u64, present: bool) -> FileWant {
    FileWant {
        id: FILE,
        generation,
        present,
        size_gib: 1,
        format: DiskFormat::Qcow2,
        source: FileSource::Empty,
    }
}

async fn realize(cloud: &Cloud, want: FileWant) -> Result<Realized, CallError> {
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.env));
    cloud.control.rpc().client::<Node>().on(&id("host1")).call(&Realize { want }, &cx).await
}

fn kind<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Option<FaultKind> {
    answer.expect_err("answered").fault().map(|fault| fault.kind)
}

#[tokio::test(start_paused = true)]
async fn an_older_want_is_refused_also_after_a_restart() {
    let mut cloud = Cloud::new().await;
    assert!(realize(&cloud, want(1, true)).await.expect("made").path.is_some());
    assert_eq!(realize(&cloud, want(2, false)).await.expect("gone").path, None);
    assert_eq!(kind(realize(&cloud, want(1, true)).await), Some(FaultKind::Stale));
    cloud.restart_host(0).await;
    assert_eq!(kind(realize(&cloud, want(1, true)).await), Some(FaultKind::Stale));
    assert!(cloud.hosts[0].files.simulated_files().is_empty(), "an old want was met");
}

#[tokio::test(start_paused = true)]
async fn the_same_want_is_answered_the_same_and_another_of_its_generation_is_refused() {
    let cloud = Cloud::new().await;
    let first = realize(&cloud, want(1, true)).await.expect("made");
    assert_eq!(realize(&cloud, want(1, true)).await.expect("the same"), first);
    let other = FileWant { size_gib: 5, ..want(1, true) };
    assert_eq!(kind(realize(&cloud, other).await), Some(FaultKind::Invalid));
}

#[tokio::test(start_paused = true)]
async fn a_want_that_was_taken_is_met_though_the_node_dies() {
    let mut cloud = Cloud::new().await;
    let message = Realize { want: want(1, true) };
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.env));
    let host = cloud.control.rpc().client::<Node>().on(&id("host1"));
    let asked = host.call(&message, &cx);
    let _ = cloud.env.timeout(std::time::Duration::from_millis(15), asked).await;
    cloud.restart_host(0).await;
    cloud.pass(std::time::Duration::from_secs(1)).await;
    assert!(realize(&cloud, want(1, true)).await.expect("made").path.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_lost_is_not_made_anew() {
    let cloud = Cloud::new().await;
    realize(&cloud, want(1, true)).await.expect("made");
    cloud.hosts[0].files.lose_everything();
    let grown = FileWant { size_gib: 2, ..want(2, true) };
    let error = realize(&cloud, grown).await.expect_err("made anew");
    assert!(error.to_string().contains("is lost"), "{error}");
    assert!(cloud.hosts[0].files.simulated_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_its_room() {
    let cloud = Cloud::new().await;
    realize(&cloud, want(1, true)).await.expect("made");
    let cx = Cx::new("volume.api", TraceContext::fresh(&cloud.env));
    let room = cloud.control.rpc().client::<Node>().on(&id("host1")).call(&Survey, &cx).await;
    let room = room.expect("told");
    assert_eq!((room.total_gib, room.free_gib), (2_000, 1_999));
    assert_eq!(cloud.hosts[0].agent.held().await.expect("read"), [FILE]);
}
