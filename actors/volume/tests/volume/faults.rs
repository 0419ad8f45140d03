//! Things go wrong: drivers, commits, nodes. Afterwards rows and files agree.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use updraft_runtime::store::{CommitFate, StoreFaults};
use updraft_volume::driver::{Fault, Faults, Operation, Verb};

use crate::support::{Cloud, IMAGE, Settings, Who};

/// One operation, by its number, has this fault; what happened is kept.
struct OneOperation {
    at: u64,
    fault: Option<Fault>,
    seen: Mutex<Vec<Operation>>,
}

impl Faults for OneOperation {
    fn decide(&self, operation: &Operation) -> Option<Fault> {
        self.seen.lock().push(*operation);
        self.fault.filter(|_| operation.number == self.at)
    }
}

/// Makes a volume of an image, snapshots it, grows it and deletes all; the operations of the driver.
async fn whole_life(at: u64, fault: Option<Fault>) -> Vec<Operation> {
    let faults = Arc::new(OneOperation { at, fault, seen: Mutex::default() });
    let settings = Settings { driver_faults: faults.clone(), ..Settings::default() };
    let cloud = Cloud::with(settings).await;
    let volume = cloud.made(json!({"size": 1, "imageRef": IMAGE})).await;
    cloud.settled_for(&volume).await;
    let snapshot = json!({"snapshot": {"volume_id": volume}});
    let snapshot = cloud.post(Who::Member, "/v3/snapshots", snapshot).await;
    cloud.settled_for(&volume).await;
    let extend = json!({"os-extend": {"new_size": 2}});
    cloud.post(Who::Member, &format!("/v3/volumes/{volume}/action"), extend).await;
    cloud.settled_for(&volume).await;
    if snapshot.status == StatusCode::ACCEPTED {
        let id = snapshot.json()["snapshot"]["id"].as_str().expect("an id").to_owned();
        let deleted = cloud.delete(Who::Member, &format!("/v3/snapshots/{id}")).await;
        assert_eq!(deleted.status, StatusCode::ACCEPTED, "{at} {fault:?}: {}", deleted.text());
        cloud.settled_for(&volume).await;
    }
    let deleted = cloud.delete(Who::Member, &format!("/v3/volumes/{volume}")).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{at} {fault:?}: {}", deleted.text());
    cloud.settled_for(&volume).await;
    if let Some(Fault::Late(delay)) = fault {
        cloud.pass(delay).await;
    }
    let usage = cloud.volume.usage().await.expect("read");
    assert_eq!(usage, updraft_volume::Usage::default(), "{at} {fault:?}");
    let files = cloud.hosts[0].files.simulated_files();
    assert!(files.is_empty(), "{at} {fault:?} leaks {files:?}");
    let seen = faults.seen.lock().clone();
    assert!(fault.is_none() || seen.iter().any(|operation| operation.number == at));
    seen
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_a_driver_leaks_a_file_or_hangs_a_row() {
    let operations = whole_life(u64::MAX, None).await;
    let verbs: std::collections::BTreeSet<Verb> =
        operations.iter().map(|operation| operation.verb).collect();
    assert_eq!(verbs.len(), 5, "find, import, copy, grow and delete were not all seen: {verbs:?}");
    for operation in &operations {
        for fault in [
            Fault::Fails,
            Fault::Hangs,
            Fault::SucceedsButSaysFailure,
            Fault::Twice,
            Fault::Late(Duration::from_secs(45)),
            Fault::LosesState,
        ] {
            whole_life(operation.number, Some(fault)).await;
        }
    }
}

/// One commit, by its number, has this fate.
struct OneCommit {
    number: AtomicUsize,
    at: usize,
    fate: CommitFate,
}

impl StoreFaults for OneCommit {
    fn on_commit(&self, _keys: &[Arc<str>]) -> CommitFate {
        if self.number.fetch_add(1, Ordering::SeqCst) == self.at {
            self.fate
        } else {
            CommitFate::Proceed
        }
    }
}

async fn through_commits(at: usize, fate: CommitFate) -> usize {
    let faults = Arc::new(OneCommit { number: AtomicUsize::new(0), at, fate });
    let settings = Settings { store_faults: Some(faults.clone()), ..Settings::default() };
    let cloud = Cloud::with(settings).await;
    let volume = cloud.available().await;
    let deleted = cloud.delete(Who::Member, &format!("/v3/volumes/{volume}")).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{at} {fate:?}");
    assert!(cloud.settled().await.files.is_empty(), "{at} {fate:?}");
    faults.number.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn no_commit_of_unknown_outcome_leaks_a_file_or_makes_a_second_volume() {
    let commits = through_commits(usize::MAX, CommitFate::Proceed).await;
    assert!(commits >= 5, "only {commits} commits were seen");
    for at in 0..commits {
        for fate in [
            CommitFate::UnknownApplied,
            CommitFate::UnknownNotApplied,
            CommitFate::Conflict,
            CommitFate::Delay(Duration::from_secs(1)),
        ] {
            through_commits(at, fate).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_while_it_makes_a_volume_makes_it_when_it_is_back() {
    let faults = OneOperation { at: 1, fault: Some(Fault::Hangs), seen: Mutex::default() };
    let settings = Settings { driver_faults: Arc::new(faults), ..Settings::default() };
    let mut cloud = Cloud::with(settings).await;
    let volume = cloud.made(json!({"size": 1})).await;
    cloud.pass(Duration::from_secs(2)).await;
    cloud.crash_host(0);
    cloud.pass(Duration::from_secs(20)).await;
    assert_eq!(cloud.shown(&volume).await["status"], "creating");
    cloud.restart_host(0).await;
    cloud.until(&volume, "available").await;
    assert_eq!(cloud.settled().await.files.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_volume_being_deleted_waits_for_its_host_to_say_that_it_is_gone() {
    let mut cloud = Cloud::new().await;
    let volume = cloud.available().await;
    cloud.crash_host(0);
    cloud.delete(Who::Member, &format!("/v3/volumes/{volume}")).await;
    cloud.pass(Duration::from_secs(3_600)).await;
    assert_eq!(cloud.shown(&volume).await["status"], "deleting");
    cloud.restart_host(0).await;
    assert!(cloud.settled().await.files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_volume_whose_host_stays_away_ends_in_error() {
    let faults = OneOperation { at: 1, fault: Some(Fault::Hangs), seen: Mutex::default() };
    let settings = Settings { driver_faults: Arc::new(faults), ..Settings::default() };
    let mut cloud = Cloud::with(settings).await;
    let volume = cloud.made(json!({"size": 1})).await;
    cloud.pass(Duration::from_secs(2)).await;
    cloud.crash_host(0);
    cloud.pass(Duration::from_secs(700)).await;
    assert_eq!(cloud.shown(&volume).await["status"], "error");
}

#[tokio::test(start_paused = true)]
async fn without_any_volume_node_a_volume_ends_in_error() {
    let cloud = Cloud::with(Settings { hosts: 0, ..Settings::default() }).await;
    let volume = cloud.made(json!({"size": 1})).await;
    cloud.pass(Duration::from_secs(90)).await;
    assert_eq!(cloud.shown(&volume).await["status"], "error");
    cloud.delete(Who::Member, &format!("/v3/volumes/{volume}")).await;
    assert!(cloud.settled().await.files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_control_node_that_dies_finishes_when_it_is_back() {
    let mut cloud = Cloud::new().await;
    let volume = cloud.made(json!({"size": 1, "imageRef": IMAGE})).await;
    cloud.restart_control().await;
    cloud.pass(Duration::from_secs(5)).await;
    cloud.until(&volume, "available").await;
    assert_eq!(cloud.settled().await.files.len(), 1);
}
