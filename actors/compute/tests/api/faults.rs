//! What becomes of a request when the store or a service fails in the middle of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use updraft_compute::rows::{ReservationRow, ServerRow};
use updraft_runtime::store::{CommitFate, StoreFaults};

use crate::{
    cloud::{Cloud, server_body},
    identity::Who::Member,
    peers::VOLUME,
};

/// Decides the fate of the next commit that writes a server.
#[derive(Default)]
struct Fate {
    unknown_applied: AtomicBool,
    unknown_lost: AtomicBool,
}

impl StoreFaults for Fate {
    fn on_commit(&self, keys: &[Arc<str>]) -> CommitFate {
        if !keys.iter().any(|key| key.starts_with("compute/server/")) {
            return CommitFate::Proceed;
        }
        if self.unknown_applied.swap(false, Ordering::Relaxed) {
            return CommitFate::UnknownApplied;
        }
        if self.unknown_lost.swap(false, Ordering::Relaxed) {
            return CommitFate::UnknownNotApplied;
        }
        CommitFate::Proceed
    }
}

async fn cloud() -> (Cloud, Arc<Fate>) {
    let fate = Arc::new(Fate::default());
    (Cloud::with_faults(fate.clone()).await, fate)
}

fn with_volume() -> Value {
    let mut body = server_body("web");
    body["server"]["block_device_mapping_v2"] = json!([{"uuid": VOLUME, "source_type": "volume"}]);
    body
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_took_effect_though_nobody_said_so_is_a_success() {
    let (cloud, fate) = cloud().await;
    fate.unknown_applied.store(true, Ordering::Relaxed);
    cloud.send(Member, "POST /servers", with_volume()).await.is(202);
    assert_eq!(cloud.rows::<ServerRow>()[0].volumes.len(), 1);
    assert!(cloud.rows::<ReservationRow>().is_empty(), "nothing is noted to be let go of");
    assert!(cloud.peers.attachment_of(VOLUME).is_some(), "the server keeps its volume");
    fate.unknown_applied.store(true, Ordering::Relaxed);
    let id = cloud.rows::<ServerRow>()[0].id;
    cloud.send(Member, &format!("DELETE /servers/{id}"), ()).await.is(204);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_may_be_lost_is_said_to_be_and_leaves_nothing_reserved() {
    let (cloud, fate) = cloud().await;
    cloud.compute.start();
    fate.unknown_lost.store(true, Ordering::Relaxed);
    let answer = cloud.send(Member, "POST /servers", with_volume()).await;
    answer.is_error(
        503,
        "It is not known whether the request was carried out. Look before you repeat it.",
    );
    cloud.until("the volume is free", |cloud| cloud.peers.attachment_of(VOLUME).is_none()).await;
    assert!(cloud.rows::<ServerRow>().is_empty());
    cloud.until("the notes are gone", |cloud| cloud.rows::<ReservationRow>().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_crashed_request_reserved_is_let_go_of_in_the_end() {
    let (cloud, _) = cloud().await;
    // A request that got as far as the reservation, and then was no more.
    let (store, rpc) = (cloud.store.clone(), cloud.rpc());
    let cx = updraft_runtime::rpc::Cx::new("compute.api", Default::default());
    let server = cloud.env.uuid();
    let held = updraft_compute::reservations::hold((&rpc, &store), &cx, server, &[VOLUME]).await;
    assert_eq!(held.expect("held").len(), 1);
    assert!(cloud.peers.attachment_of(VOLUME).is_some());
    cloud.compute.start();
    cloud.until("the volume is free", |cloud| cloud.peers.attachment_of(VOLUME).is_none()).await;
    cloud.until("the note is gone", |cloud| cloud.rows::<ReservationRow>().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_let_go_of_is_not_given() {
    let (cloud, _) = cloud().await;
    let (store, rpc) = (cloud.store.clone(), cloud.rpc());
    let cx = updraft_runtime::rpc::Cx::new("compute.api", Default::default());
    let server = cloud.env.uuid();
    let held = updraft_compute::reservations::hold((&rpc, &store), &cx, server, &[VOLUME]).await;
    let attachment = held.expect("held")[0].attachment;
    updraft_compute::reservations::let_go(&store, &[attachment]).await;
    let taken = store.transact(|txn| updraft_compute::reservations::take(txn, attachment)).await;
    assert_eq!(taken, Ok(false));
}
